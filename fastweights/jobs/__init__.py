"""Jobs: one run in a process of its own, and many of them, on this machine or over a cluster."""
