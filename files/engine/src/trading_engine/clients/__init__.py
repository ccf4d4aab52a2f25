"""Order entry: the connections of clients, their logins and their sessions."""
