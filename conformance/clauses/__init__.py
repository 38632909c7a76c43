"""The clauses, one file per chapter. ``clauses()`` is the catalogue."""

from conformance.clauses.registry import Clause, clause, clauses, select

__all__ = ["Clause", "clause", "clauses", "select"]
