"""What a user gives to ``replay`` and ``bisect``: a file, an id, or text; JSON, or a Case's repr as a report printed it."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from errno import ENOENT
from os import strerror
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from conformance.core.case import Case, Placement, Prefix, Roles, Row, from_json
from conformance.core.errors import UserError, unreadable
from conformance.core.story import Act
from conformance.engine.known import KnownFailure
from conformance.session.events import Run

if TYPE_CHECKING:
    from conformance.clauses.registry import Clause

PARTS = {part.__name__: part for part in (Case, Placement, Prefix, Roles, Row, Act)}
FoundCase = tuple[Case, str | None]
"""A Case, and the clause that it was reported for, if that is known."""


def find_case(text: str, entries: tuple[KnownFailure, ...], run: Run | None) -> FoundCase:
    """The Case that ``text`` means. Raises :class:`~conformance.core.errors.UserError` if it means none."""
    text = text.strip()
    if text.startswith(("{", "Case(")):
        return parse_case(text), None
    for names, case, clause in [*(((e.id, e.case.id), e.case, e.clause) for e in entries), *_reported(run)]:
        if text in names:
            return case, clause
    if Path(text).is_file():
        return _read(Path(text)), None
    if Path(text).suffix == ".json":
        raise unreadable("Case", Path(text), FileNotFoundError(ENOENT, strerror(ENOENT)))
    raise UserError(
        "unknown-case",
        f"{text[:80]!r} is no Case",
        "a Case is given as JSON or as its repr, in a file or as text, or by an id in the known-failures file "
        "or in the events file that --events names",
        "paste what the report printed after `repeat`",
    )


def clause_for(named: str | None, reported: str | None) -> Clause:
    """The clause to hold a Case against: the ``named`` one, else the one that it was ``reported`` for."""
    from conformance.clauses.registry import clause_named

    name = named or reported
    if name is None:
        raise UserError(
            "missing-clause",
            "no clause is given to hold this Case against",
            "a Case says what to run, not what to claim of it",
            "add --clause, for instance --clause equivalence.step_logits",
        )
    return clause_named(name)


def _reported(run: Run | None) -> list[tuple[tuple[str, ...], Case, str]]:
    if run is None:
        return []
    verdicts = [cell.verdict for cell in run.cells if cell.verdict]
    findings = [finding for verdict in verdicts for finding in (verdict.finding, *verdict.evidence) if finding]
    return [((finding.case.id,), finding.case, finding.clause) for finding in findings]


def _read(path: Path) -> Case:
    try:
        return parse_case(path.read_text("utf-8").strip(), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise _malformed(str(path), str(error)) from error


def parse_case(text: str, source: str = "the given text") -> Case:
    """A Case from its JSON or its repr; the latter is read, never run."""
    if not text.startswith("Case("):
        return from_json(text, source)
    try:
        return msgspec.convert(_plain(ast.parse(text, mode="eval").body), Case)
    except (SyntaxError, ValueError, RecursionError, MemoryError, msgspec.ValidationError) as error:
        raise _malformed(source, str(error)) from error


def _plain(node: ast.expr) -> Any:
    """``Part(name=value, ...)`` as a dictionary; tuples and constants as they are; anything else is refused."""
    match node:
        case ast.Call(func=ast.Name(id=name), args=[], keywords=keywords) if name in PARTS:
            return _once((str(keyword.arg), _plain(keyword.value)) for keyword in keywords)
        case ast.Tuple(elts=values):
            return tuple(_plain(value) for value in values)
        case ast.Constant(value=value):
            return value
    raise ValueError(f"{ast.unparse(node)[:80]} is not part of a Case")


def _once(fields: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The fields of a part by name; a name that is given twice is refused, as Python would."""
    found: dict[str, Any] = {}
    for name, value in fields:
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = value
    return found


def _malformed(source: str, problem: str) -> UserError:
    return UserError(
        "malformed-case",
        f"{source} is not a Case: {problem}",
        "the repr of a Case is Case(...) with Roles, Prefix, Row, Placement and Act inside, and plain values",
        "paste the whole of it, exactly as a report printed it",
    )
