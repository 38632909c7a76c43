"""Assertions on models that hold several adapters, or from which something was taken."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import identical
from conformance.assertions.state import equal_rows, methods_put_back, state_unchanged
from conformance.core.relations import first_steps, without_prefix
from conformance.core.signals import RunFailed, violation
from conformance.methods import method_named
from conformance.runs.judged_code import guarded, nothing_is_refused

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.core.case import Case
    from conformance.runs.configuring import Way
    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject
    from conformance.runs.trace import Trace


def answers_as_alone(lab: Lab, subject: Subject, case: Case, alone: Trace, which: str) -> None:
    """The active adapter of ``subject`` answers to the bit as a model that has no other, in generate and in forward.

    ``case`` is that of the adapter, ``alone`` the first step of such a model's generate, ``which`` names the adapter.
    """
    identical(
        lab.generate_on(subject, first_steps(case, 1)), alone, f"{which} answers otherwise than alone in generate"
    )
    got, expected = lab.forward_on(subject, case), lab.forward(case)
    identical(got, expected, f"{which} answers otherwise than alone in forward")
    # As text, so that a loss that is not a number equals itself.
    if repr(got.loss) != repr(expected.loss):
        raise violation(f"the loss of forward with {which}", got.loss, expected.loss)


TO_BE_TRAINED = "to_be_trained"
"""What an adapter is called that is loaded so."""


def loaded_to_be_trained(subject: Subject, folder: Path, case: Case) -> None:
    """What is in ``folder`` is trained if it is loaded for that, under a name of its own; or that is refused in words."""
    try:
        guarded("load_adapter", lambda: subject.load_live(folder, TO_BE_TRAINED, trained=True))
    except RunFailed as failed:
        if failed.refused:
            return
        raise
    learning = any(parameter.requires_grad for parameter in subject.parameters(TO_BE_TRAINED).values())
    if learning is not bool(method_named(case.method).trained(case)):
        raise violation("whether an adapter learns that was loaded with is_trainable=True", learning, not learning)


def saved_as_alone(lab: Lab, subject: Subject, case: Case) -> None:
    """The weights that ``subject`` saves are, to the bit, those of a model that has only the adapter of ``case``."""
    with lab.saved(subject) as folder:
        got, expected = _weights(folder), _weights(lab.saved_folder(case))
    if len(got) != len(expected):
        raise violation("files of weights that are saved", len(got), len(expected))
    if got != expected:
        raise violation("the weights that are saved", "others", "those of the only adapter")


def _weights(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*.safetensors"))


def answers_as_told(lab: Lab, subject: Subject, case: Case, way: Way) -> None:
    """The answer is as long as a generation config says that was put there in this ``way``."""
    got, expected = lab.answer_as_told(subject, case, way), lab.generate(case).tokens
    if got.shape != expected.shape:
        raise violation(f"rows and new tokens with a generation config {way}", tuple(got.shape), tuple(expected.shape))
    if not got.equal(expected):
        raise violation(f"the answer with a generation config {way}", got.tolist(), expected.tolist())


def stopped_and_as_before(lab: Lab, case: Case, error: BaseException, when: str) -> None:
    """After a generate that ``error`` has ended in its second step, which ``when`` says in words, all is as before."""
    live = lab.new_subject(case)
    before = live.contents()
    lab.stop_midway(live, first_steps(case, 2), error)
    as_before(lab, live, case, before, when)


def as_before(lab: Lab, subject: Subject, case: Case, before: dict[str, object], when: str) -> None:
    """After what ``when`` says base model and wrapped model are what they were, and answer to the bit as before.

    ``before`` is what the subject was made of then. Nobody else holds ``subject``, whose answers are those of the shared one.
    """
    bare, short = first_steps(without_prefix(case)), first_steps(case, 1)
    with nothing_is_refused():
        alone = lab.generate_on(subject.bare(), first_steps(bare, 1))
    identical(alone, lab.generate(bare).steps(1), f"the base model answers otherwise after {when}")
    # Before the wrapped model is called, which may put back what an earlier call did not.
    methods_put_back(subject, when)
    with nothing_is_refused():
        again = lab.generate_on(subject, short)
    identical(again, lab.generate(case).steps(1), f"it answers otherwise after {when}")
    state_unchanged(before, subject, when)


def begins_as_told(lab: Lab, case: Case) -> None:
    """The parameters of the new adapter of ``case`` are those with which it is told to begin, and are trained as ever."""
    subject, begun = lab.new_subject(case), lab.begun(case)
    raw, way = subject.raw(), case.prefix.begins
    for name, expected in begun.exactly.items():
        got, wanted = (value.reshape(-1, value.shape[-1]) for value in (raw[name], expected))
        equal_rows(got, wanted, f"{name} of an adapter that begins as {way}")
    for name, table in begun.among.items():
        for index, row in enumerate(raw[name]):
            if not (row == table).all(-1).any():
                raise violation(f"{name} {index} of an adapter that begins in the {way}", "none of it", "one of it")
    trained, frozen = set(subject.learning()), {name for name in raw if not method_named(case.method).learns(name)}
    if trained != set(raw) - frozen:
        raise violation(
            f"parameters that are trained where it begins as {way}", sorted(trained), sorted(set(raw) - frozen)
        )


def gives_the_base_model(lab: Lab, left: Subject, case: Case) -> None:
    """What is ``left`` when the adapters were taken away answers to the bit as the base model of ``case``."""
    bare = first_steps(without_prefix(case))
    with nothing_is_refused():
        alone = lab.generate_on(left, first_steps(bare, 1))
    identical(alone, lab.generate(bare).steps(1), "what unload gives back does not answer as the base model")
    methods_put_back(left, "unload")
