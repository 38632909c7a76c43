"""Loading an adapter and generating in a process that has never seen it: both sides of the pipe."""

from __future__ import annotations

from pathlib import Path
from pkgutil import resolve_name

from msgspec import Struct
from safetensors.torch import load_file, save_file
from torch import Tensor

from conformance.core.case import Case, base_of
from conformance.core.finding import Difference
from conformance.core.outcome import How
from conformance.core.signals import RunFailed, Violation
from conformance.families import Family, adopt, foreign
from conformance.families.build import build
from conformance.runs import calls
from conformance.runs.calls import on_device
from conformance.runs.judged_code import guarded
from conformance.runs.subject import Subject
from conformance.runs.training_batch import embedded_request
from conformance.worker.child import call_kept

ANSWER = "answer.safetensors"
"""The file in which a fresh process leaves what it generated."""


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


def generate_elsewhere(maker: type[Subject], case: Case, folder: Path) -> tuple[Tensor, Tensor]:
    """Tokens and logits that generate answers in a fresh process, which loads the adapter in ``folder``."""
    request = LoadAndGenerate(
        maker=maker.maker, found_by=maker.found_by, case=case, folder=str(folder), family=foreign(case.family)
    )
    raised = call_kept({}, f"{__name__}:load_and_generate", request, str)
    if raised:
        difference = Difference(what="a fresh process that loads the adapter raised", got=raised, expected="an answer")
        raise Violation(difference, How.CRASH)
    answered = load_file(folder / ANSWER)
    return answered["tokens"], answered["logits"]


def load_and_generate(request: LoadAndGenerate) -> str:
    """Put the answer into the folder, as tokens and logits. Returns the exception of judged code, if it raised one."""
    if request.family:
        adopt(request.family)
    folder = Path(request.folder)
    try:
        with resolve_name(request.found_by)(request.maker) as maker:
            subject = guarded("from_pretrained", lambda: maker.load(request.case, folder))
            family = subject.family
            given = embedded_request(request.case, family, lambda: build(base_of(request.case)))
            answer = calls.generate(subject, request.case, on_device(subject.input_device, given))
    except RunFailed as failed:
        return failed.words
    save_file({"tokens": answer.tokens.contiguous(), "logits": answer.logits.contiguous()}, folder / ANSWER)
    return ""
