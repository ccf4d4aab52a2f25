"""What the engine tells of itself, in shared memory."""
