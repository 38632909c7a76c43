"""What the command, the pytest plugin and the matrix share: what is selected, judged and recorded. Knows no pytest."""
