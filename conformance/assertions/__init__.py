"""What clauses assert about runs. Each raises a violation, or returns nothing."""
