"""What the programs need from the kernel and systemd: clocks, timers, timestamps of packets, sockets, notifications."""
