"""Our own small, correct wrappers, one for each place where a method acts. Every clause must pass on them."""
