"""Known failures: violations that are understood, and must not hide others.

An entry matches a violation by clause, method, how, where it crashed, the features its Case and its model need, and the
versions; the search goes on past a match. It speaks of families only where one class is at fault, so that a model which
nobody here has seen inherits it. Whether an entry still fails is decided by replaying its minimal Case, never by the search.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from conformance.core.case import Case
from conformance.core.errors import UserError, unreadable
from conformance.core.features import FEATURES
from conformance.core.finding import DEFAULT_METHOD, Finding
from conformance.core.outcome import How
from conformance.families.traits import TRAITS

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


class KnownFailure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One understood violation.

    ``clauses``, ``families`` and ``methods`` are names or globs; ``features``, those of the Case and the traits of its model
    (:mod:`conformance.families.traits`), must all be present, ``without`` all absent; ``where`` is a glob of the innermost
    line of judged code, as a crash tells it (``peft/peft_model.py:916 get_prompt``); ``peft`` and ``transformers`` are version
    ranges; ``reason`` names the function at fault; ``case`` is the minimal Case.
    """

    id: str
    clauses: tuple[str, ...]
    families: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = (DEFAULT_METHOD,)
    how: How
    features: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    where: str = "*"
    peft: str
    transformers: str
    function: str
    reason: str
    links: tuple[str, ...] = ()
    clause: str
    case: Case

    def applies(self, versions: dict[str, str]) -> bool:
        """Whether the installed ``versions`` are in the entry's ranges."""
        return all(
            SpecifierSet(spec, prereleases=True).contains(versions[name])
            for name, spec in (("peft", self.peft), ("transformers", self.transformers))
        )

    def matches(self, finding: Finding) -> bool:
        """Whether ``finding`` is this failure."""
        return (
            any(fnmatchcase(finding.clause, glob) for glob in self.clauses)
            and any(fnmatchcase(finding.family, glob) for glob in self.families)
            and any(fnmatchcase(finding.case.method, glob) for glob in self.methods)
            and finding.how is self.how
            and set(self.features) <= set(finding.features)
            and not set(self.without) & set(finding.features)
            and fnmatchcase(finding.where, self.where)
            and self.applies(finding.versions)
        )


class _File(Struct, forbid_unknown_fields=True):
    schema: Literal[1]
    failure: tuple[KnownFailure, ...] = ()


def shipped() -> Path:
    """The known failures of released versions, filled by this project."""
    return Path(__file__).parents[1] / "known_failures.toml"


def load(path: Path) -> tuple[KnownFailure, ...]:
    """Read a known-failures file. Raises :class:`~conformance.core.errors.UserError` for anything malformed."""
    try:
        entries = msgspec.convert(tomllib.loads(path.read_text("utf-8")), _File, strict=False).failure
        problems = list(_problems(entries))
    except OSError as error:
        raise unreadable("known-failures file", path, error) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        problems = [str(error)]
    if problems:
        raise UserError(
            "malformed-known-failures",
            f"{path.name}: {problems[0]}",
            "a known-failures file is TOML with `schema = 1` and one [[failure]] per entry; unknown keys are refused",
            "mend the entry, or start from one that `peft-conformance known list --format toml` prints",
        )
    return entries


def _problems(entries: Iterable[KnownFailure]) -> Iterable[str]:
    seen: set[str] = set()
    for entry in entries:
        if entry.id in seen:
            yield f"two entries are called {entry.id!r}"
        seen.add(entry.id)
        for feature in {*entry.features, *entry.without} - {*FEATURES, *TRAITS}:
            yield f"{entry.id}: no feature {feature!r}"
        for spec in (entry.peft, entry.transformers):
            try:
                SpecifierSet(spec)
            except InvalidSpecifier:
                yield f"{entry.id}: {spec!r} is not a version range"
