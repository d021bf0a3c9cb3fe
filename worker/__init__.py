"""The worker: takes commands, executes them on containers, observes and heals."""
