"""What every process of this library does first: leave the current folder off the path, take signals, mind streams."""
