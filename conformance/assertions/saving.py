"""Saving and loading as the clauses of the chapter of that name do it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from safetensors.torch import load_file

from conformance.core.finding import Difference, How
from conformance.core.signals import Violation
from conformance.runs.lab import guarded, model_of
from conformance.runs.trace import Trace
from conformance.worker.isolated import ANSWER_FILE, Generate, brought, loader

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject


@contextmanager
def saved(subject: Subject) -> Iterator[Path]:
    """A folder that holds the saved adapter, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        guarded("save_pretrained", lambda: subject.save(folder))
        yield folder


def kept(lab: Lab, case: Case) -> Path:
    """A folder that holds the saved adapter of the shared subject, for as long as the lab lives."""
    made = lab.once(("saved", model_of(case)), lambda: _kept(lab, case))
    return Path(made.name)


def _kept(lab: Lab, case: Case) -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="conformance-")
    subject = lab.subject(case)
    guarded("save_pretrained", lambda: subject.save(Path(folder.name)))
    return folder


def reloaded(lab: Lab, case: Case) -> Subject:
    """A fresh base model with the adapter loaded in this process, shared by those who do not change it."""
    folder = kept(lab, case)
    return lab.once(
        ("loaded", model_of(case)), lambda: guarded("from_pretrained", lambda: lab.maker.load(case, folder))
    )


def generated_afresh(lab: Lab, case: Case, folder: Path) -> Trace:
    """What generate answers in a fresh process that loads the adapter in ``folder``."""
    request = Generate(maker=lab.maker.maker, case=case, folder=str(folder), kind=brought(case.family))
    answer = loader().ask(request)
    if answer.ours:
        raise RuntimeError(f"the child process failed: {answer.error}")
    if answer.error:
        told = Difference(what="a fresh process that loads the adapter raised", got=answer.error, expected="an answer")
        raise Violation(told, How.CRASH)
    found = load_file(folder / ANSWER_FILE)
    return Trace(case, found["tokens"], found["logits"], lambda: lab.error(case, found["tokens"]))
