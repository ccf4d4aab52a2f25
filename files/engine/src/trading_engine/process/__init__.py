"""The engine as a process: its start, its duties in each second, and the operators' tools."""
