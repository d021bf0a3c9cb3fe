"""The demo: a room on this machine that is made, shown at work, crashed, checked and taken away again."""
