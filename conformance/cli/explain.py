"""``peft-conformance explain NAME``: a clause, a chapter, a known failure, a feature, or a trait."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from conformance.cli.common import KnownOption, say

if TYPE_CHECKING:
    from conformance.clauses.registry import Clause
    from conformance.engine.known import KnownFailure


def explain(
    name: Annotated[
        str, typer.Argument(help="a clause, a chapter, a known failure, a feature of Cases, or a trait of models")
    ],
    known: KnownOption = None,
) -> None:
    """Explain a clause (what it claims, of what, where it comes from), a chapter, a known failure, a feature, or a trait."""
    from conformance.clauses.registry import clauses
    from conformance.cli.known import known_lines
    from conformance.core.errors import unknown
    from conformance.core.features import FEATURES
    from conformance.families.traits import TRAITS
    from conformance.session.selection import read_known

    entries = {entry.id: entry for entry in read_known(known)[1]}
    chapters = {clause.chapter for clause in clauses().values()}
    if name in clauses():
        say("\n".join(_clause_lines(clauses()[name])))
    elif name in chapters:
        say("\n".join(_chapter_lines(name)))
    elif name in entries:
        say("\n".join([*known_lines(entries[name]), *_case_lines(entries[name])]))
    elif name in FEATURES or name in TRAITS:
        told = _feature_lines(name) if name in FEATURES else [name, f"  {TRAITS[name].statement}"]
        say("\n".join([*told, *_needing(name, entries.values())]))
    else:
        raise unknown("name", name, [*clauses(), *chapters, *entries, *FEATURES, *TRAITS])


def _feature_lines(name: str) -> Iterator[str]:
    from conformance.core.dimensions import DIMENSIONS

    yield name
    own = next((dimension for dimension in DIMENSIONS if name in dimension.classes), None)
    if own is None:
        yield "  a feature of a Case beside those of its dimensions"
        return
    others = ", ".join(other for other in own.classes if other != name)
    yield f"  a feature of a Case: what it is in the dimension {own.name!r}; else it is {others}"


def _needing(name: str, entries: Iterable[KnownFailure]) -> Iterator[str]:
    yield from (f"  needed by the known failure {entry.id}" for entry in entries if name in entry.features)


def _case_lines(entry: KnownFailure) -> Iterator[str]:
    from shlex import join

    from conformance.devices.lanes import FORCED

    yield f"  needs     {', '.join(entry.features) or 'no feature of the Case or trait of the model'}"
    yield f"  mend      {entry.mend or entry.unmendable}"
    yield f"  case      {entry.case!r}"
    on = f"{FORCED}={entry.lane} " if entry.lane else ""
    yield f"  repeat    {on}{join(['peft-conformance', 'replay', '--clause', entry.clause, entry.case.to_json()])}"


def _chapter_lines(chapter: str) -> Iterator[str]:
    from conformance.clauses.registry import clauses

    yield chapter
    for clause in clauses().values():
        if clause.chapter == chapter:
            yield f"  {clause.id.partition('.')[2]:<28} {clause.statement}"
    yield f"  judge it  peft-conformance run --clauses '{chapter}.*'"


def _clause_lines(clause: Clause) -> Iterator[str]:
    from conformance.report.finding import link

    yield f"{clause.id}\n  {clause.statement}"
    if clause.explanation:
        yield "\n" + "\n".join(f"  {line}".rstrip() for line in clause.explanation.splitlines())
    yield ""
    if clause.one_in > 1:
        yield f"  judges    one Case of {clause.one_in}, as its seeds decide"
    yield from (f"  needs     {needed.need}" for needed in clause.requires)
    control = {
        "same": "the same claim about the base model without a prefix",
        "runs": "the base model runs without a prefix",
        "learns": "the base model's training forward runs without a prefix",
    }
    yield f"  control   {control[clause.control]}"
    yield f"  conforms  takes at least {clause.decisive} decisive examples in the quick profile"
    yield from (f"  source    {link(source)}" for source in clause.sources)
    yield f"  judge it  peft-conformance run --clauses {clause.id}"
