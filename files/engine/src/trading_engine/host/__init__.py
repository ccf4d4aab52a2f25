"""What the programs ask of the kernel and of systemd: clocks, timers, timestamps of packets, sockets, notifications."""
