"""``peft-conformance coverage``."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice, product
from typing import TYPE_CHECKING, Annotated

import typer
from msgspec import Struct

from conformance.cli.common import FamilyFileOption, Format, FormatOption, print_json, register_files

if TYPE_CHECKING:
    from conformance.engine.search import Budget
    from conformance.strategies.coverage import Coverage

UNION = "all together"
WHERE = {False: "models in one place", True: "models that a device map places"}


class Line(Struct, frozen=True, kw_only=True):
    """What the drawn Cases of a family reach, of classes (``size`` 1), pairs or triples of them."""

    family: str
    placed: bool
    size: int
    cases: int
    reached: int
    possible: int
    missing: tuple[tuple[str, ...], ...]
    impossible: dict[str, int]
    promised: float = 0.0
    """The share of those possible that the profile promises to reach."""

    @property
    def short(self) -> bool:
        """Whether fewer are reached than promised."""
        return self.reached < self.promised * self.possible


def count_coverage(
    profile: Annotated[str, typer.Option(metavar="NAME", help="quick, standard or thorough")] = "quick",
    families: Annotated[
        list[str] | None, typer.Option(metavar="NAMES", help="families (default: all), separated by commas or repeated")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the draws.")] = 0,
    format: FormatOption = Format.TEXT,
    family_file: FamilyFileOption = None,
) -> None:
    """Count which classes of Cases, pairs and triples of them a profile draws; exit 1 if fewer than it promises.

    Every profile promises all possible classes of each family. Of the pairs quick promises nine tenths in each family, and all in
    the union of the families of models/; a profile of several arrays all in each family.
    """
    from conformance.session.selection import resolve

    register_files(family_file)
    given = {"profile": (profile,), "seed": (str(seed),)} | ({"families": (",".join(families),)} if families else {})
    chosen = resolve(given)
    lines = []
    for placed, where in WHERE.items():
        for line in _lines(tuple(chosen.families), chosen.budget.examples, seed, placed):
            lines.append(line)
            if format is Format.TEXT and line.size == 1:
                typer.echo(f"{line.family}: {line.cases} Cases of {where}", err=True)
    if format is Format.JSON:
        print_json(lines)
    else:
        _print(lines, profile)
        _print_stories(tuple(chosen.families), chosen.budget)
    raise typer.Exit(1 if any(line.short for line in lines) else 0)


def _lines(names: tuple[str, ...], examples: int, seed: int, placed: bool) -> Iterator[Line]:
    from conformance.engine.search import drawn
    from conformance.families import families, family_named, is_shipped
    from conformance.strategies import strata
    from conformance.strategies.coverage import COMBINATIONS, cover, promised, promised_of_union, union
    from conformance.strategies.impossible import Kind

    total = 0
    whole: dict[int, Coverage] = {}
    for name in names:
        family = family_named(name)
        cases = [drawn(name, stratum, seed) for stratum in strata(family, examples, seed, placed)]
        total += len(cases)
        for size in COMBINATIONS:
            found = cover(cases, Kind(family, placed), size)
            whole[size] = union([whole[size], found]) if size in whole else found
            yield _line(name, placed, len(cases), found, promised(size, examples))
    if len(names) > 1:
        every = all(name in names for name in families() if is_shipped(name))
        yield from (
            _line(UNION, placed, total, found, promised_of_union(found.size, every)) for found in whole.values()
        )


def _line(family: str, placed: bool, cases: int, found: Coverage, promised: float) -> Line:
    return Line(
        family=family,
        placed=placed,
        size=found.size,
        cases=cases,
        reached=len(found.reached),
        possible=found.possible,
        missing=tuple(sorted(found.missing)),
        impossible=found.impossible,
        promised=promised,
    )


def _print(lines: list[Line], profile: str) -> None:
    from conformance.strategies.coverage import COMBINATIONS

    for placed, where in WHERE.items():
        here = [line for line in lines if line.placed is placed]
        typer.echo(f"\n{profile}, {where}{'':<6}" + "".join(f"{words:>18}" for words in COMBINATIONS.values()))
        for one in (line for line in here if line.size == 1):
            shown = [_share(line) for line in here if line.family == one.family]
            typer.echo(f"  {one.family:<14} {one.cases:>4} Cases" + "".join(f"{text:>18}" for text in shown))
        _print_missing(here)
    _print_impossible(lines)


def _share(line: Line) -> str:
    return f"{line.reached} of {line.possible}"


def _print_stories(names: tuple[str, ...], budget: Budget) -> None:
    """Which step follows which in the stories of all methods."""
    from conformance.clauses.registry import clauses
    from conformance.engine.search import drawn, with_story
    from conformance.families import family_named
    from conformance.methods import METHODS
    from conformance.strategies import strata
    from conformance.strategies.coverage import successions

    wanted, seed = max(clause.stories for clause in clauses().values()) * budget.examples, budget.seed
    cases = [
        with_story(drawn(name, stratum, seed, method), number, budget)
        for name, method in product(names, METHODS)
        for number, stratum in enumerate(
            islice(strata(family_named(name), budget.examples, seed, False, method), wanted)
        )
    ]
    reached, missing = successions(cases)
    typer.echo(f"\n{len(cases)} stories: {len(reached)} of {len(reached | missing)} successions of two kinds of steps")
    if missing:
        typer.echo(f"  never told: {'; '.join(f'{one}, then {other}' for one, other in sorted(missing))}")


def _print_missing(lines: list[Line]) -> None:
    for line in lines:
        for classes in line.missing if line.short else ():
            typer.echo(f"  missing in {line.family}: {' with '.join(classes)}")


def _print_impossible(lines: list[Line]) -> None:
    """Each reason with the families that have it: not the reasons that hold for everybody."""
    typer.echo("\nimpossible")
    found: dict[str, dict[str, None]] = {}
    for line in lines:
        for words in line.impossible:
            found.setdefault(words, {}).setdefault(line.family)
    every = {line.family for line in lines} - {UNION}
    for words, families in found.items():
        typer.echo(f"  {words}: {'every family' if families.keys() == every else ', '.join(families)}")
