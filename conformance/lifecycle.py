"""Saving and loading as the clauses of the chapter of that name do it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file

from conformance.isolated import ANSWER_FILE, ChildDied, Generate, loader
from conformance.lab import guarded
from conformance.signals import Violation
from conformance.trace import Trace
from conformance.verdict import Difference, How

if TYPE_CHECKING:
    from conformance.case import Case
    from conformance.lab import Lab
    from conformance.subject import Subject


@contextmanager
def saved(subject: Subject) -> Iterator[Path]:
    """A folder that holds the saved adapter, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        guarded("save_pretrained", lambda: subject.save(folder))
        yield folder


def loaded(lab: Lab, case: Case, folder: Path) -> Subject:
    """A fresh base model with the adapter in ``folder``, in this process."""
    return guarded("from_pretrained", lambda: lab.maker.load(case, folder))


def generated_afresh(lab: Lab, case: Case, folder: Path) -> Trace:
    """What generate answers in a fresh process that loads the adapter in ``folder``."""
    answer = loader().ask(Generate(maker=lab.maker.maker, case=case, folder=str(folder)))
    if answer.error:
        told = Difference(what="a fresh process that loads the adapter raised", got=answer.error, expected="an answer")
        raise Violation(told, How.CRASH)
    found = load_file(folder / ANSWER_FILE)
    return Trace(case, found["tokens"], found["logits"], lambda: lab.error(case, found["tokens"]))


__all__ = ["ChildDied", "generated_afresh", "loaded", "saved"]
