"""What every CPU kernel shares: lanes, buffers, threads, compilation."""
