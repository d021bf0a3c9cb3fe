"""Pure decisions of a worker: no I/O, and time is passed in."""
