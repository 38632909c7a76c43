"""Known failures: violations that are understood, and must not hide others.

A violation *resembles* an entry by clause, method, how, where it crashed, the features its Case and its model need, and the
versions. That only nominates the entry: :mod:`conformance.engine.explain` asks whether the same Case conforms with the entry's
mend in force. An entry speaks of families only where one class is at fault, so that a model which nobody here has seen inherits
it. Whether an entry still fails is decided by replaying its minimal Case, never by the search.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from msgspec import Struct
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.core.features import FEATURES
from conformance.core.finding import DEFAULT_METHOD, Finding
from conformance.core.outcome import How
from conformance.core.toml import MalformedTomlError, read_toml
from conformance.families.traits import TRAITS

Severity = Literal["silent", "crash", "refusal in wrong words"]
"""What the user of a model meets: a wrong answer without an error, an exception, or one that names the wrong reason."""


class KnownFailure(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One understood violation.

    ``clauses``, ``families`` and ``methods`` are names or globs; ``features``, those of the Case and the traits of its model
    (:mod:`conformance.families.traits`), must all be present, ``without`` all absent; ``where`` is a glob of the innermost
    line of judged code, as a crash tells it (``peft/peft_model.py:916 get_prompt``), and ``words`` one of what it says;
    ``peft`` and ``transformers`` are version ranges; ``reason`` names the function at fault; ``case`` is the minimal Case.

    ``severity`` is what its user meets, ``objection`` what a sceptical maintainer would say against the entry, and ``answer``
    what can be said to that. ``lane`` is where the minimal Case shows it, if not on simulated devices.

    ``mend`` is the context manager, ``module:function``, that patches the function at fault. Where that is impossible
    ``unmendable`` says why; then only a crash can be known, and only by its ``words``.
    """

    id: str
    clauses: tuple[str, ...]
    families: tuple[str, ...] = ("*",)
    methods: tuple[str, ...] = (DEFAULT_METHOD,)
    how: How | None = None
    features: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    where: str = "*"
    words: str = "*"
    peft: str
    transformers: str
    function: str
    reason: str
    links: tuple[str, ...] = ()
    mend: str = ""
    unmendable: str = ""
    severity: Severity | None = None
    objection: str = ""
    answer: str = ""
    clause: str
    case: Case
    lane: Literal["", "labelled", "offload"] = ""

    def applies(self, versions: dict[str, str]) -> bool:
        """Whether the installed ``versions`` are in the entry's ranges."""
        return all(
            SpecifierSet(spec, prereleases=True).contains(versions[name])
            for name, spec in (("peft", self.peft), ("transformers", self.transformers))
        )

    def resembles(self, finding: Finding) -> bool:
        """Whether ``finding`` looks like this failure."""
        return self.concerns(finding) and self._ended_so(finding)

    def concerns(self, finding: Finding) -> bool:
        """Whether the Case of ``finding`` has what this failure needs, however it ended."""
        return self._needs_met(finding) and self.applies(finding.versions)

    def would_resemble(self, finding: Finding) -> bool:
        """Whether ``finding`` looks like this failure, in versions for which the entry says nothing."""
        return not self.applies(finding.versions) and self._needs_met(finding) and self._ended_so(finding)

    def _needs_met(self, finding: Finding) -> bool:
        return (
            any(fnmatchcase(finding.clause, glob) for glob in self.clauses)
            and any(fnmatchcase(finding.family, glob) for glob in self.families)
            and any(fnmatchcase(finding.case.method, glob) for glob in self.methods)
            and set(self.features) <= set(finding.features)
            and not set(self.without) & set(finding.features)
        )

    def _ended_so(self, finding: Finding) -> bool:
        return (
            self.how in (None, finding.how)
            and fnmatchcase(finding.where, self.where)
            and fnmatchcase(finding.difference.got, self.words)
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
        entries = read_toml(path, _File, "known-failures file").failure
        problems = list(_problems(entries))
    except MalformedTomlError as error:
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
        yield from _without_proof(entry)
        for feature in {*entry.features, *entry.without} - {*FEATURES, *TRAITS}:
            yield f"{entry.id}: no feature {feature!r}"
        for spec in (entry.peft, entry.transformers):
            try:
                SpecifierSet(spec)
            except InvalidSpecifier:
                yield f"{entry.id}: {spec!r} is not a version range"


def _without_proof(entry: KnownFailure) -> Iterable[str]:
    """What keeps an entry from telling its own bug from another."""
    if bool(entry.mend) == bool(entry.unmendable):
        yield f"{entry.id}: it needs a `mend`, or says in `unmendable` why there can be none"
    elif entry.mend and not re.fullmatch(r"[\w.]+:\w+", entry.mend):
        yield f"{entry.id}: {entry.mend!r} does not name a mend as module:function"
    elif entry.unmendable and (entry.how is not How.CRASH or entry.words == "*"):
        yield f"{entry.id}: without a mend only a crash can be known, and only by its `words`"
