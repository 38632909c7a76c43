"""What leaves the process: events with a schema and a footer, and one renderer per medium."""
