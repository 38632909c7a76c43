"""What a night found in each stack, as a plain record that the next night reads; and how two nights differ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from conformance.core.errors import UserError
from conformance.core.finding import Finding
from conformance.core.outcome import BROKEN, NOT_RUN
from conformance.report.failures import Key
from conformance.report.finding import repeat
from conformance.session.events import Run
from conformance.session.exit_codes import meaning_of
from conformance.session.reader import read_events
from conformance.soak import tally as tallies

LESS = 5
"""The exit code of a run in which less was tested than expected."""
UNJUDGED = (None, BROKEN, NOT_RUN)
"""Words for an item of which tonight says nothing; ``None`` for one that was not reached."""
SOUND_CODES = (0, 1)
"""Exit codes of a run that tells no more than whether there are violations."""
SETTLED_CODES = (*SOUND_CODES, LESS)
"""Those of two releases that nobody can change: what they refuse or lack, they refuse or lack for ever."""


class NightlyViolation(Struct, frozen=True, kw_only=True):
    """How an item is violated, and the line that repeats it.

    ``keys`` are the violations that were seen in the item (``Finding.key``): tonight's, then those of earlier nights, which
    may be hidden behind it. Nights that were kept before there were keys have none.
    """

    how: str
    repeat: str
    keys: tuple[Key, ...] = ()

    @classmethod
    def of(cls, finding: Finding) -> NightlyViolation:
        """What a night keeps of ``finding``."""
        return cls(how=finding.how.value, repeat=repeat(finding), keys=(finding.key,))

    def is_new(self, before: NightlyViolation | None) -> bool:
        """Whether it was not seen in the item ``before``."""
        return before is None or bool(before.keys and set(self.keys[:1]) - set(before.keys))

    def after(self, before: NightlyViolation | None) -> NightlyViolation:
        """It, with what was seen in the item before."""
        return replace(self, keys=tuple(dict.fromkeys((*self.keys, *(before.keys if before else ())))))


class Stack(Struct, frozen=True, kw_only=True):
    """One stack's night: ``code`` if it finished, else ``why`` it did not. ``words`` has every judged item.

    ``settled`` are two releases that nobody can change any more: a violation there is reported once, when it is ``new``.
    ``open`` are violations of earlier nights on which this one had no word, or all of them where it is settled.
    """

    name: str
    settled: bool = False
    new: int = 0
    pair: str = ""
    code: int | None = None
    short: tuple[str, ...] = ()
    partial: bool = False
    why: str = ""
    words: dict[str, str] = field(default_factory=dict)
    violations: dict[str, NightlyViolation] = field(default_factory=dict)
    open: dict[str, NightlyViolation] = field(default_factory=dict)

    @property
    def red(self) -> bool:
        """Anything but a finished run that conforms or, where it is settled, tells nothing new.

        The time that a night has is a limit, not a fault: what was judged until then may be all right, and is called partial.
        """
        if self.settled and not self.new:
            return self.code not in SETTLED_CODES
        return self.code != 0 and not self.in_time

    @property
    def in_time(self) -> bool:
        """Whether nothing is wrong but that the time was spent before all was judged."""
        return self.code == LESS and self.partial and not self.short

    @property
    def left(self) -> int:
        """How many items were not run, for want of time."""
        return sum(word == NOT_RUN for word in self.words.values())

    @property
    def result(self) -> str:
        """The result in words."""
        if self.code is None:
            return self.why
        left = f"{self.left} of {len(self.words)} items were not run" if self.left else ""
        if self.in_time:
            return f"partial: {left or 'known failures were not replayed'}"
        return "; ".join([meaning_of(self.code, self.words.values()), *self.short[:1], *[left] * bool(left)])


class Soaked(Struct, frozen=True, kw_only=True):
    """What the night's soak judged; ``earlier`` is the sum of the nights before.

    ``code`` is its exit code; ``alarms`` are the lines that repeat them, and ``why`` says why it cannot be read.
    """

    judged: int = 0
    earlier: int = 0
    undecided: float = 0.0
    code: int = 3
    alarms: tuple[str, ...] = ()
    why: str = ""

    @property
    def total(self) -> int:
        """How many examples all nights have judged."""
        return self.judged + self.earlier


class Night(Struct, frozen=True, kw_only=True):
    """All planned stacks, and the soak of healthy subjects; ``run`` is the number of the workflow's run, ``link`` its address."""

    run: str
    link: str
    stacks: tuple[Stack, ...]
    soaked: Soaked | None = None

    @property
    def red(self) -> bool:
        """Whether somebody has to look. A night in which nothing was planned is no green one."""
        return not self.stacks or any(stack.red for stack in self.stacks) or self.soak_is_red

    @property
    def soak_is_red(self) -> bool:
        """Whether the soak, if there was one, did not end well."""
        return self.soaked is not None and self.soaked.code != 0


class ChangedItem(Struct, frozen=True):
    """A violation in its stack; ``word`` is what the item is tonight."""

    stack: str
    name: str
    violation: NightlyViolation
    word: str | None


class Changes(Struct, frozen=True, kw_only=True):
    """Tonight's violations and those of the night before."""

    new: tuple[ChangedItem, ...] = ()
    still: tuple[ChangedItem, ...] = ()
    gone: tuple[ChangedItem, ...] = ()
    unjudged: tuple[ChangedItem, ...] = ()


def read_stack(name: str, folder: Path, *, settled: bool = False) -> Stack:
    """What the events of ``name`` say, which lie anywhere below ``folder``; no events are no success."""
    files = sorted(folder.rglob(f"{name}.events.jsonl"))
    if not files:
        why = "left no events: it could not be installed, or its machine was lost"
        return Stack(name=name, settled=settled, why=why)
    try:
        run = read_events(files[0])
    except UserError as error:
        return Stack(name=name, settled=settled, why=f"its events cannot be read: {error.message}")
    return _stack(name, run, settled)


def _stack(name: str, run: Run, settled: bool) -> Stack:
    findings = {str(cell.item): cell.verdict.finding for cell in run.cells if cell.verdict and cell.verdict.finding}
    where = f", in {', '.join(run.running)}" if run.running else ""
    return Stack(
        name=name,
        settled=settled,
        pair=str(run.pair),
        code=run.footer.exit_code if run.footer else None,
        short=run.footer.short if run.footer else (),
        partial=run.footer is not None and run.footer.partial,
        why="" if run.footer else f"did not finish: it stopped after {len(run.cells)} items{where}",
        words={str(cell.item): cell.word for cell in run.cells},
        violations={item: NightlyViolation.of(finding) for item, finding in findings.items()},
    )


def read_soak(folder: Path) -> Soaked:
    """What the file of the soak says, which lies anywhere below ``folder``; no file is no success."""
    files = sorted(folder.rglob("soak.json"))
    if not files:
        return Soaked(why="left nothing: it could not be installed, or its machine was lost")
    try:
        tally = tallies.read(files[0])
    except UserError as error:
        return Soaked(why=error.message)
    return Soaked(
        judged=tally.judged,
        undecided=tally.undecided,
        code=tally.exit_code,
        alarms=tuple(alarm.repeat for alarm in tally.alarms),
    )


def after(previous: Night | None, tonight: Night) -> tuple[Night, Changes]:
    """How ``tonight`` differs from ``previous``, and ``tonight`` with what stays open written into it.

    Only an item that was judged can be repaired, and none of a settled stack, where another seed may have missed it. A stack
    that is no longer planned is forgotten.
    """
    before = {stack.name: {**stack.open, **stack.violations} for stack in previous.stacks} if previous else {}
    compared = [_compared(stack, before.get(stack.name, {})) for stack in tonight.stacks]
    changes = {
        kind: tuple(item for _, changed in compared for item in getattr(changed, kind))
        for kind in Changes.__struct_fields__
    }
    stacks, soaked = tuple(stack for stack, _ in compared), tonight.soaked
    if soaked and previous and previous.soaked:
        soaked = replace(soaked, earlier=previous.soaked.total)
    return replace(tonight, stacks=stacks, soaked=soaked), Changes(**changes)


def _compared(stack: Stack, old: dict[str, NightlyViolation]) -> tuple[Stack, Changes]:
    """``stack`` with what the next night has to know, and what changed since ``old`` violations were open in it."""
    violations = {item: violation.after(old.get(item)) for item, violation in stack.violations.items()}
    new = {item for item, violation in violations.items() if violation.is_new(old.get(item))}
    silent = {item for item in old if stack.words.get(item) in UNJUDGED}

    def changed(items: Iterable[str]) -> tuple[ChangedItem, ...]:
        every = {**old, **violations}
        return tuple(ChangedItem(stack.name, item, every[item], stack.words.get(item)) for item in sorted(items))

    changes = Changes(new=changed(new))
    if not stack.settled:
        gone = old.keys() - violations.keys() - silent
        changes = replace(changes, still=changed(violations.keys() - new), gone=changed(gone), unjudged=changed(silent))
    open = {item: old[item] for item in (old if stack.settled else silent)}
    return replace(stack, violations=violations, open=open, new=len(new)), changes


def load_night(path: Path) -> Night | None:
    """The night that was kept at ``path``; nothing if there is none, or one of another shape."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Night)
    except (OSError, msgspec.MsgspecError):
        return None


def keep_night(night: Night, path: Path) -> None:
    """Write ``night`` for the next one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(night))
