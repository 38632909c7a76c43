"""What a night found in each stack, as a plain record that the next night reads; and how two nights differ."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
from msgspec import Struct, field

from conformance.core.errors import UserError
from conformance.core.outcome import Outcome, State
from conformance.report import finding as findings
from conformance.session.events import Run, read
from conformance.session.exit_codes import MEANING

NOT_RUN = State.NOT_RUN.value
UNJUDGED = (None, Outcome.BROKEN.value, NOT_RUN)
"""Words for an item of which tonight says nothing; ``None`` for one that was not reached."""


TOLD = (0, 1)
"""Exit codes of a run that tells no more than whether there are violations."""


class Violation(Struct, frozen=True, kw_only=True):
    """How an item is violated, and the line that repeats it."""

    how: str
    repeat: str


class Stack(Struct, frozen=True, kw_only=True):
    """One stack's night: ``code`` if it finished, else ``why`` it did not. ``words`` has every judged item.

    ``settled`` are two releases that nobody can change any more: a violation there is told once, when it is ``new``.
    ``open`` are violations of earlier nights on which this one had no word, or all of them where it is settled.
    """

    name: str
    settled: bool = False
    new: int = 0
    pair: str = ""
    code: int | None = None
    why: str = ""
    words: dict[str, str] = field(default_factory=dict)
    violations: dict[str, Violation] = field(default_factory=dict)
    open: dict[str, Violation] = field(default_factory=dict)

    @property
    def red(self) -> bool:
        """Anything but a finished run that conforms or, where it is settled, tells nothing new."""
        return self.code not in TOLD if self.settled and not self.new else self.code != 0

    @property
    def left(self) -> int:
        """How many items were not run, for want of time."""
        return sum(word == NOT_RUN for word in self.words.values())

    @property
    def said(self) -> str:
        """The result in words."""
        if self.code is None:
            return self.why
        return MEANING[self.code] + (f"; {self.left} of {len(self.words)} items were not run" if self.left else "")


class Night(Struct, frozen=True, kw_only=True):
    """All planned stacks; ``run`` is the number of the workflow's run, ``link`` its address."""

    run: str
    link: str
    stacks: tuple[Stack, ...]

    @property
    def red(self) -> bool:
        """Whether somebody has to look. A night in which nothing was planned is no green one."""
        return not self.stacks or any(stack.red for stack in self.stacks)


class Item(Struct, frozen=True):
    """A violation in its stack; ``word`` is what the item is tonight."""

    stack: str
    name: str
    violation: Violation
    word: str | None


class Changes(Struct, frozen=True, kw_only=True):
    """Tonight's violations and those of the night before."""

    new: tuple[Item, ...] = ()
    still: tuple[Item, ...] = ()
    gone: tuple[Item, ...] = ()
    unjudged: tuple[Item, ...] = ()


def stack(name: str, folder: Path, *, settled: bool = False) -> Stack:
    """What the events of ``name`` say, which lie anywhere below ``folder``; no events are no success."""
    files = sorted(folder.rglob(f"{name}.events.jsonl"))
    if not files:
        why = "left no events: it could not be installed, or its machine was lost"
        return Stack(name=name, settled=settled, why=why)
    try:
        run = read(files[0])
    except UserError as error:
        return Stack(name=name, settled=settled, why=f"its events cannot be read: {error.message}")
    return _of(name, run, settled)


def _of(name: str, run: Run, settled: bool) -> Stack:
    violated = {str(cell.item): cell.verdict.finding for cell in run.cells if cell.verdict and cell.verdict.finding}
    where = f", in {', '.join(run.running)}" if run.running else ""
    return Stack(
        name=name,
        settled=settled,
        pair=" x ".join(f"{judged} {run.header.versions.get(judged, '?')}" for judged in ("peft", "transformers")),
        code=run.footer.exit_code if run.footer else None,
        why="" if run.footer else f"did not finish: it stopped after {len(run.cells)} items{where}",
        words={str(cell.item): cell.word for cell in run.cells},
        violations={
            item: Violation(how=found.how.value, repeat=findings.repeat(found)) for item, found in violated.items()
        },
    )


def after(previous: Night | None, tonight: Night) -> tuple[Night, Changes]:
    """How ``tonight`` differs from ``previous``, and ``tonight`` with what stays open written into it.

    Only an item that was judged can be repaired, and none of a settled stack, where another seed may have missed it. A stack
    that is no longer planned is forgotten.
    """
    before = {stack.name: {**stack.open, **stack.violations} for stack in previous.stacks} if previous else {}
    pairs = [(stack, before.get(stack.name, {})) for stack in tonight.stacks]
    kept = [_kept(stack, old) for stack, old in pairs]
    current = [(stack, old) for stack, old in pairs if not stack.settled]
    left = [(stack, old, {item for item in old if stack.words.get(item) in UNJUDGED}) for stack, old in current]
    changes = Changes(
        new=_items((stack, stack.violations, stack.violations.keys() - old.keys()) for stack, old in pairs),
        still=_items((stack, stack.violations, stack.violations.keys() & old.keys()) for stack, old in current),
        gone=_items((stack, old, old.keys() - stack.violations.keys() - lost) for stack, old, lost in left),
        unjudged=_items((stack, old, lost) for stack, old, lost in left),
    )
    return msgspec.structs.replace(tonight, stacks=tuple(kept)), changes


def _kept(stack: Stack, old: dict[str, Violation]) -> Stack:
    """``stack`` with what the next night has to know."""
    left = {item: old[item] for item in old if stack.settled or stack.words.get(item) in UNJUDGED}
    return msgspec.structs.replace(stack, open=left, new=len(stack.violations.keys() - old.keys()))


def _items(found: Iterable[tuple[Stack, dict[str, Violation], set[str]]]) -> tuple[Item, ...]:
    def each() -> Iterator[Item]:
        for stack, violations, items in found:
            yield from (Item(stack.name, item, violations[item], stack.words.get(item)) for item in sorted(items))

    return tuple(each())


def load(path: Path) -> Night | None:
    """The night that was kept at ``path``; nothing if there is none, or one of another shape."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Night)
    except (OSError, msgspec.MsgspecError):
        return None


def keep(night: Night, path: Path) -> None:
    """Write ``night`` for the next one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.encode(night))
