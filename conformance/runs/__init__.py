"""Running a Case: subjects, what was seen of them, and the lab that remembers."""
