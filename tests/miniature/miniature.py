"""Miniatures: clauses with one behaviour each, and a lab that runs nothing.

The engine, the plugin and the command are the real ones; only torch, PEFT and transformers are left out, so that a run
takes a second. Clauses are called ``miniature.<behaviour>``.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

from conformance.clauses import registry
from conformance.core.case import Case
from conformance.core.finding import DEFAULT_METHOD, Difference
from conformance.core.signals import NotApplicable, RunFailed, Undecided, Violation
from conformance.families import presence as families_presence
from conformance.methods import METHODS, presence
from conformance.runs.judged_code import guarded

Check = Callable[["Lab", Case], None]


class Nobody:
    """Stands in for a maker of subjects."""

    maker, found_by, mended = "nobody", "", ()


class Lab:
    """Runs nothing; a ``healthy`` one is the reference's, on which every miniature holds."""

    def __init__(self, healthy: bool = False, maker: Any = Nobody) -> None:
        self.healthy, self.maker = healthy, maker

    @property
    def mended(self) -> tuple[str, ...]:
        """What is mended in what it runs."""
        return tuple(self.maker.mended)

    def beside(self, maker: Any) -> Lab:
        """A lab for another maker."""
        return Lab(self.healthy, maker)

    def fresh(self) -> Lab:
        return self

    def reference(self) -> Lab:
        return Lab(healthy=True)

    def some_tokens(self, case: Case) -> None:
        """Nothing reads them."""

    def predict(self, case: Case, *rest: object, **named: object) -> None:
        raise NotApplicable("there is no model")

    def unrepeatable(self, case: Case) -> str:
        """The base model of a miniature repeats itself."""
        return ""

    def generate(self, case: Case) -> None:
        """The control of a miniature always runs."""

    def repeats_itself(self, case: Case) -> bool:
        """Nothing is run, so nothing differs."""
        return True

    def new_subject(self, case: Case) -> None:
        """Whatever is installed can wrap a model."""


def spares_the_reference(check: Check) -> Check:
    """``check``, which holds on a healthy lab."""

    @functools.wraps(check)
    def spares(lab: Lab, case: Case) -> None:
        if not lab.healthy:
            check(lab, case)

    return spares


_mended: list[bool] = []


@contextmanager
def mended() -> Iterator[None]:
    """The mend of the one known failure: as many virtual tokens as text tokens do no harm."""
    _mended.append(True)
    try:
        yield
    finally:
        _mended.pop()


@contextmanager
def spared() -> Iterator[None]:
    """The mend of something else."""
    yield


def holds(lab: Lab, case: Case) -> None:
    """It holds."""
    if told := os.environ.get("MINIATURE_PARENTS"):
        with open(told, "a", encoding="utf-8") as file:
            file.write(f"{os.getppid()}\n")


def wrong(lab: Lab, case: Case) -> None:
    """It holds unless there are as many virtual tokens as text tokens.

    More is to be said of it.
    """
    if case.prefix.length == case.longest and not _mended:
        got = Difference(what="logits differ", got="0.5", expected="0.25", row=0, step=1, margin=0.25, error=1e-5)
        raise Violation(got, where="peft/peft_model.py:1 generate")


def crashes(lab: Lab, case: Case) -> None:
    """It does not crash with projection."""
    if case.prefix.projection:
        raise RunFailed("generate", KeyError("layers"), "peft/utils.py:2 pad", refused=False)


def refused(lab: Lab, case: Case) -> None:
    """It is refused."""
    raise RunFailed("generate", ValueError("prefix tuning needs a cache"), "peft/peft_model.py:3", refused=True)


def undecided(lab: Lab, case: Case) -> None:
    """It is too close to call."""
    raise Undecided("closer than 10 times the error")


def beside_the_point(lab: Lab, case: Case) -> None:
    """It says nothing about these Cases."""
    raise NotApplicable("nothing slides")


def broken(lab: Lab, case: Case) -> None:
    """It is badly written."""
    raise ZeroDivisionError("a bug of ours")


def dies(lab: Lab, case: Case) -> None:
    """It takes its process down."""
    os._exit(9)


def leaves(lab: Lab, case: Case) -> None:
    """It ends its process as if all were well."""
    os._exit(0)


def leaves_at_exit(lab: Lab, case: Case) -> None:
    """It is wrong, and sees to it that its process ends as if all were well."""
    atexit.register(os._exit, 0)
    raise Violation(Difference(what="logits differ", got="0.5", expected="0.25"), where="peft/peft_model.py:1 generate")


def saves(lab: Lab, case: Case) -> None:
    """What it saves it reads back."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        file = Path(folder) / "adapter"
        guarded("save_pretrained", lambda: _write(file, case.id))
        read = guarded("from_pretrained", lambda: file.read_text("utf-8"))
    if read != case.id:
        raise Violation(Difference(what="the adapter differs", got=read, expected=case.id))


def _write(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as opened:
        opened.write(text)


def warns(lab: Lab, case: Case) -> None:
    """It warns."""
    warnings.warn("what a library says", stacklevel=1)


def by_pair(lab: Lab, case: Case) -> None:
    """It holds but for the pairs of releases that are named in MINIATURE_BAD, and crashes on those in MINIATURE_CRASHES."""
    pair = f"{version('peft')}x{version('transformers')}"
    if pair in os.environ.get("MINIATURE_CRASHES", "").split():
        raise RunFailed("generate", KeyError("layers"), "peft/utils.py:2 pad", refused=False)
    if pair in os.environ.get("MINIATURE_BAD", "").split():
        raise Violation(Difference(what="logits differ", got="0.5", expected="0.25"))


def slow(lab: Lab, case: Case) -> None:
    """It takes its time."""
    time.sleep(0.5)


def sharp(lab: Lab, case: Case) -> None:
    """It holds, and finds much elsewhere."""


@registry.precondition(otherwise="There is no prefix")
def _runs_alone(case: Case) -> bool:
    """A prefix."""
    return case.prefix.length > 0


def install() -> None:
    """Put the miniatures in the place of lab and builder, and for the catalogue."""
    lab = ModuleType("conformance.runs.lab")
    lab.Lab = Lab  # type: ignore[attr-defined]
    build = ModuleType("conformance.families.build")
    # Nothing is asked of the installed releases: a family of the host need not be in transformers, nor a method in PEFT.
    families_presence.absent = lambda family: "no such class" if family.name == "t5" else ""
    presence.lacking = lambda family, method: families_presence.absent(family)
    sys.modules |= {"conformance.runs.lab": lab, "conformance.families.build": build}
    registry._load_chapters = lambda: None  # type: ignore[assignment]
    for other in [name for name in METHODS if name != DEFAULT_METHOD]:
        del METHODS[other]  # that a family has an item for each method says nothing new of what is tested here
    checks = (
        holds,
        wrong,
        crashes,
        refused,
        undecided,
        beside_the_point,
        broken,
        dies,
        leaves,
        leaves_at_exit,
        saves,
        warns,
        by_pair,
        slow,
        sharp,
    )
    for check in checks:
        sources = ["huggingface/peft#2134"] if check is wrong else []
        registry.clause(sources=sources, requires=[_runs_alone], control="runs", priority=check is sharp)(
            spares_the_reference(check)  # type: ignore[arg-type]
        )
