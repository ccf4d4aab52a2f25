"""What the engine asks of the kernel: clocks, timers, timestamps of packets, the service manager."""
