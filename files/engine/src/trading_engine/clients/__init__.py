"""Order entry: connections, sessions and their login."""
