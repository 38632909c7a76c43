"""Faults of PEFT and transformers, one file for each chapter of clauses: patches at run time."""
