"""Checks that one might have written instead of a clause, each plausible, none sharp enough for the fault it is named with.

Each is a claim like a clause's, passes on what is healthy, and finds gross faults: a test holds that it is a real check.
"""
