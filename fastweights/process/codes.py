"""The exit codes of commands and workers; docs/promises.md says what each means."""

DONE = 0  # all that was asked
OURS = 1  # a fault of this library
NOT_DONE = 2  # bad input, or the system refused
LOCKED = 75  # of a worker: another process has the run folder
STOPPED = 130  # by Ctrl-C or a signal
