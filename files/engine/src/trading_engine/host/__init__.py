"""The engine's interface to the kernel: clocks, timers, timestamps of packets, the service manager."""
