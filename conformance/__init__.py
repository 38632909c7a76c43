"""Does prompt learning really work in these versions? A conformance suite for PEFT prefix tuning.

The public names are loaded when they are first used: importing the package imports neither torch nor Hypothesis.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from conformance.clauses.registry import clause
    from conformance.core.case import Case, Placement, Prefix, Roles, Row
    from conformance.core.finding import Finding, Verdict
    from conformance.engine.search import Budget, judge, search
    from conformance.families import family_named as family
    from conformance.families import register
    from conformance.runs.lab import Lab

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
    "Budget": "engine.search",
    "Case": "core.case",
    "Finding": "core.finding",
    "Lab": "runs.lab",
    "Placement": "core.case",
    "Prefix": "core.case",
    "Roles": "core.case",
    "Row": "core.case",
    "Verdict": "core.finding",
    "clause": "clauses.registry",
    "family": "families",
    "judge": "engine.search",
    "register": "families",
    "search": "engine.search",
}
_CALLED = {"family": "family_named"}
"""Names that differ where they are defined."""


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), _CALLED.get(name, name))
