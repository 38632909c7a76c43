"""What the pytest plugin does once ``--conformance`` is given. Private."""
