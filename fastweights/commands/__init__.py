"""The commands of the command line, one a file; each `main` takes the arguments after its name."""
