"""What people read of one run, or of many: a file per output."""
