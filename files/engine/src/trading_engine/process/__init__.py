"""The engine as a process: its start, its duties of each second, and the operators' tools."""
