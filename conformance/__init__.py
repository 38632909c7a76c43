"""Does prompt learning really work in these versions? A conformance suite for PEFT prefix tuning.

The public names are loaded when they are first used: importing the package imports neither torch nor Hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.case import Case, Placement, Prefix, Roles, Row
    from conformance.clauses.registry import clause
    from conformance.engine import Budget, judge, search
    from conformance.families import family, register
    from conformance.lab import Lab
    from conformance.verdict import Finding, Verdict

__all__ = [
    "Budget",
    "Case",
    "Finding",
    "Lab",
    "Placement",
    "Prefix",
    "Roles",
    "Row",
    "Verdict",
    "clause",
    "family",
    "judge",
    "register",
    "search",
]

_HOME = {
    "Budget": "engine",
    "Case": "case",
    "Finding": "verdict",
    "Lab": "lab",
    "Placement": "case",
    "Prefix": "case",
    "Roles": "case",
    "Row": "case",
    "Verdict": "verdict",
    "clause": "clauses.registry",
    "family": "families",
    "judge": "engine",
    "register": "families",
    "search": "engine",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
