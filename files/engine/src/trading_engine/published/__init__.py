"""The engine's published state, in shared memory."""
