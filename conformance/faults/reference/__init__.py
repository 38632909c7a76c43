"""Faults of the reference wrapper, one file for each chapter of clauses: subclasses that do one thing wrong."""
