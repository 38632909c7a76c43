"""What was learnt survives saving, loading, switching off and on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.logits import agree, identical
from conformance.assertions.state import equal_rows
from conformance.assertions.training import ANSWER, generated_text, taught_case, train_until_learned
from conformance.clauses.preconditions import projection
from conformance.clauses.registry import clause
from conformance.core.relations import first_steps, other_prefix, without_prefix
from conformance.core.signals import violation
from conformance.core.sources import STORY
from conformance.methods import method_named
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.runs.judged_code import guarded

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

ANOTHER = "another"
"""What a second adapter is called."""


@clause(sources=("huggingface/peft#2043", "huggingface/peft#1607"), control="runs")
def saved_and_loaded(lab: Lab, case: Case) -> None:
    """Saved and loaded, in the same process and in a fresh one, the adapter gives the same answer to the bit.

    A projection is computed once when saving and for every row when running, which may differ in the last bits; then the
    answers agree within the error.
    """
    first, short = lab.generate(case).steps(3), first_steps(case)
    same = agree if method_named(case.method).computes_rows(case) else identical
    same(lab.generate_on(lab.reloaded(case), short), first, "the loaded adapter answers otherwise")
    afresh = lab.generate_in_fresh_process(short, lab.saved_folder(case))
    same(afresh, first, "the adapter loaded in a fresh process answers otherwise")


@clause(sources=("huggingface/peft#2256", "huggingface/transformers#35087"), control="runs")
def loaded_into_live(lab: Lab, case: Case) -> None:
    """Loaded into a live model with other values, under another name or over its own, the saved values answer.

    Under another name they answer as soon as that is switched to; until then the live model's own do. Over its own they replace
    what is being trained, a projection too, in generate and in forward.
    """
    short, own = first_steps(case, 1), other_prefix(first_steps(case, 1))
    saved, folder, live = lab.generate(case).steps(1), lab.saved_folder(case), lab.new_subject(own)
    guarded("load_adapter", lambda: live.load_live(folder, ANOTHER))
    beside = lab.generate_on(live, own)
    identical(beside, lab.generate(own), "an adapter answers otherwise after another was loaded beside it")
    guarded("set_adapter", lambda: live.switch(ANOTHER))
    same = agree if method_named(case.method).computes_rows(case) else identical
    same(
        lab.generate_on(live, short), saved, "loaded under another name and switched to, the adapter answers otherwise"
    )
    guarded("set_adapter", lambda: live.switch(DEFAULT_ADAPTER))
    guarded("load_adapter", lambda: live.load_live(folder))
    same(lab.generate_on(live, short), saved, "loaded over the live one, the adapter answers otherwise in generate")
    same(
        lab.forward_on(live, case),
        lab.forward(case),
        "loaded over the live one, the adapter answers otherwise in forward",
    )


@clause(sources=("huggingface/peft#2043", "huggingface/peft#2256"), requires=(projection,), control="runs")
def inference_mode(lab: Lab, case: Case) -> None:
    """The collapsed weights of inference mode equal what the projection computes in training mode."""
    equal_rows(
        lab.reloaded(case).collapsed(), method_named(case.method).rows(lab.subject(case).raw()), "the collapsed rows"
    )


@clause(sources=("huggingface/peft#1501", "huggingface/peft#1502", "huggingface/peft#683"), control="runs")
def disabled(lab: Lab, case: Case) -> None:
    """Inside disable_adapter() it is the base model, in generate and in forward; afterwards it is not."""
    short, subject, first = first_steps(case), lab.subject(case), lab.generate(case).steps(3)
    bare = without_prefix(short)
    base = lab.generate(bare)
    with subject.disabled():
        agree(lab.generate_on(subject, short), base, "a disabled adapter still changes generate")
        off = lab.forward_on(subject, short, base.tokens)
    agree(off, lab.forward(bare, tokens=base.tokens), "a disabled adapter still changes forward")
    identical(lab.generate_on(subject, short), first, "the adapter answers otherwise after it was disabled")


@clause(sources=STORY, fixed_case=taught_case, decisive=1, control="runs")
def learned_mapping_survives(lab: Lab, case: Case) -> None:
    """Taught through the prefix alone, the model answers "1+1=" by "11": in generate, and loaded in a fresh process.

    The base is frozen; without the adapter it does not know the answer. The text goes through a real byte-level tokenizer.
    """
    subject = lab.new_subject(case)
    train_until_learned(lab, subject, case)
    answers = {"generate, after training": generated_text(lab.generate_on(subject, case))}
    with lab.saved(subject) as folder:
        answers["generate, with the adapter loaded in a fresh process"] = generated_text(
            lab.generate_in_fresh_process(case, folder)
        )
    for path, answer in answers.items():
        if answer != ANSWER:
            raise violation(path, repr(answer), repr(ANSWER))
    with subject.disabled():
        bare = generated_text(lab.generate_on(subject, case))
    if bare == ANSWER:
        raise violation("generate without the adapter", repr(bare), "anything else: only the prefix was trained")
