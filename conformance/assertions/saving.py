"""Saving and loading as the clauses of the chapter of that name do it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

from msgspec import Struct
from safetensors.torch import load_file, save_file

from conformance.core.case import Case
from conformance.core.finding import Difference
from conformance.core.outcome import How
from conformance.core.signals import RunFailed, Violation
from conformance.families import Family, adopt, foreign
from conformance.runs.lab import Lab, guarded, model_of
from conformance.runs.trace import Trace
from conformance.worker.child import call_kept

if TYPE_CHECKING:
    from conformance.runs.subject import Subject

ANSWER = "answer.safetensors"
"""The file in which a fresh process leaves what it generated."""


@contextmanager
def saved_adapter(subject: Subject) -> Iterator[Path]:
    """A folder that holds the saved adapter, for as long as the block lasts."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as name:
        folder = Path(name)
        guarded("save_pretrained", lambda: subject.save(folder))
        yield folder


def saved_folder(lab: Lab, case: Case) -> Path:
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
    folder = saved_folder(lab, case)
    return lab.once(
        ("loaded", model_of(case)), lambda: guarded("from_pretrained", lambda: lab.maker.load(case, folder))
    )


class LoadAndGenerate(Struct, frozen=True, kw_only=True):
    """Load the adapter in ``folder`` onto the Case's base model and generate, in a fresh process.

    ``maker`` is the name of the maker of subjects, ``found_by`` the function that finds it there; ``family`` is the Case's
    where another process cannot know it.
    """

    maker: str
    found_by: str
    case: Case
    folder: str
    family: Family | None = None


def generate_in_fresh_process(lab: Lab, case: Case, folder: Path) -> Trace:
    """What generate answers in a fresh process that loads the adapter in ``folder``."""
    maker = lab.maker
    request = LoadAndGenerate(
        maker=maker.maker, found_by=maker.found_by, case=case, folder=str(folder), family=foreign(case.family)
    )
    raised = call_kept({}, f"{__name__}:load_and_generate", request, str)
    if raised:
        told = Difference(what="a fresh process that loads the adapter raised", got=raised, expected="an answer")
        raise Violation(told, How.CRASH)
    found = load_file(folder / ANSWER)
    return Trace(case, found["tokens"], found["logits"], lambda: lab.error(case, found["tokens"]))


def load_and_generate(request: LoadAndGenerate) -> str:
    """Put the answer into the folder, as tokens and logits. Returns the exception of judged code, if it raised one."""
    if request.family:
        adopt(request.family)
    folder = Path(request.folder)
    try:
        with resolve_name(request.found_by)(request.maker) as maker:
            subject = guarded("from_pretrained", lambda: maker.load(request.case, folder))
            trace = Lab(maker).generate_on(subject, request.case)
    except RunFailed as failed:
        return failed.words
    save_file({"tokens": trace.tokens.contiguous(), "logits": trace.logits.contiguous()}, folder / ANSWER)
    return ""
