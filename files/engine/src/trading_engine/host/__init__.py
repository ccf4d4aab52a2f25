"""Functions of the kernel and systemd that the programs need: clocks, timers, packet times, sockets, notifications."""
