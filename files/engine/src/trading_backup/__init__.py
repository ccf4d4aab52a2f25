"""Ships the journal, the snapshots and the configuration of a host to its environment's bucket."""
