"""Child processes of our own: a pipe that knows no message, with limits of time and memory."""
