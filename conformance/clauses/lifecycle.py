"""What was learnt survives saving, loading, switching off and on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.learning import all_that_learns
from conformance.assertions.lifecycle import (
    answers_as_alone,
    answers_as_told,
    begins_as_told,
    gives_the_base_model,
    loaded_to_be_trained,
    saved_as_alone,
    stopped_and_as_before,
)
from conformance.assertions.logits import agree, identical
from conformance.assertions.state import equal_rows, methods_put_back
from conformance.assertions.training import ANSWER, generated_text, taught_case, train_until_learned
from conformance.clauses.follow_ups import beginnings, stackings
from conformance.clauses.preconditions import a_lora, one_row, projection, told_how_to_begin
from conformance.clauses.registry import Floor, clause
from conformance.core.relations import first_steps, other_length, other_prefix, without_prefix
from conformance.core.signals import violation
from conformance.core.sources import GENERATION_DOC, PEFT_MODEL_DOC, PREFIX_TUNING_DOC, PROMPT_TUNING_DOC, STORY
from conformance.methods import method_named
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.oracles.table import handmade_cache
from conformance.runs.judged_code import guarded, nothing_is_refused

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

ANOTHER = "another"
"""What a second adapter is called."""
OF_FEW = Floor(share=0.3, may_refuse=True)
"""Few Cases are judged, so that one that the base model cannot run lowers the share a lot. Measured: at least 0.33, of T5, whose
generate fails where the encoder has fewer layers than the decoder."""


@clause(
    sources=("huggingface/peft#400", "huggingface/peft#1144", PROMPT_TUNING_DOC, PREFIX_TUNING_DOC),
    requires=(told_how_to_begin,),
    follow_ups=beginnings,
    control="runs",
)
def initialised_as_told(lab: Lab, case: Case) -> None:
    """A new adapter begins as it is told: as zero, a text, words of the vocabulary, earlier tasks, or the cache of a real text.

    A text is repeated or cut until it is as long as the virtual tokens are many; of a cached one the first tokens are taken.
    What begins so is trained all the same.
    """
    begins_as_told(lab, case)


@clause(sources=("huggingface/peft#2043", "huggingface/peft#1607"), control="runs")
def saved_and_loaded(lab: Lab, case: Case) -> None:
    """Saved and loaded, in the same process and in a fresh one, the adapter gives the same answer to the bit.

    A projection is computed once when saving and for every row when running, which may differ in the last bits; then the
    answers agree within the error. In the same process it is loaded in the usual way or, as the Case's seed says, with
    low_cpu_mem_usage=True.
    """
    first, short = lab.generate(case).steps(3), first_steps(case)
    same = agree if method_named(case.method).computes_rows(case) else identical
    sparing = bool(case.seed % 2)
    how = " with low_cpu_mem_usage=True" if sparing else ""
    here = lab.generate_on(lab.reloaded(case, sparing), short)
    same(here, first, f"the adapter loaded{how} answers otherwise")
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
    lab.switch(live, ANOTHER)
    same = agree if method_named(case.method).computes_rows(case) else identical
    same(
        lab.generate_on(live, short), saved, "loaded under another name and switched to, the adapter answers otherwise"
    )
    lab.switch(live, DEFAULT_ADAPTER)
    guarded("load_adapter", lambda: live.load_live(folder))
    same(lab.generate_on(live, short), saved, "loaded over the live one, the adapter answers otherwise in generate")
    same(
        lab.forward_on(live, case),
        lab.forward(case),
        "loaded over the live one, the adapter answers otherwise in forward",
    )


@clause(
    sources=("huggingface/peft#282", "huggingface/peft#2759", "huggingface/peft#3580", PEFT_MODEL_DOC),
    requires=(one_row,),
    control="runs",
    decisive=2,
)
def trained_if_told(lab: Lab, case: Case) -> None:
    """A loaded adapter is frozen, by from_pretrained and beside another one, unless it is told to be trained, or that is refused.

    Whether the adapter that was there is trained does not change. One that is loaded with is_trainable=True is trained, or that
    is refused in words, as PEFT 0.21 does for all these methods.
    """
    if learning := all_that_learns(lab.reloaded(case)):
        raise violation(
            "parameters that require a gradient after from_pretrained", learning, "none: is_trainable is not set"
        )
    live, folder = lab.new_subject(other_prefix(case)), lab.saved_folder(case)
    before = all_that_learns(live)
    guarded("load_adapter", lambda: live.load_live(folder, ANOTHER))
    if (learning := all_that_learns(live)) != before:
        raise violation("parameters that require a gradient after load_adapter", learning, f"{before}, as before")
    loaded_to_be_trained(live, folder, case)


@clause(sources=("huggingface/peft#169", PEFT_MODEL_DOC), control="runs")
def switched(lab: Lab, case: Case) -> None:
    """Of two adapters with different numbers of virtual tokens the one that is switched to answers as if it were alone.

    The second is added to the live model, answers, in generate and in forward, and then the first one does as before.
    """
    other, live = first_steps(other_length(case), 1), lab.new_subject(case)
    lab.add_adapter(live, other, ANOTHER)
    answers_as_alone(lab, live, other, lab.generate(other), "an adapter added beside one of another length")
    lab.switch(live, DEFAULT_ADAPTER)
    answers_as_alone(lab, live, case, lab.generate(case).steps(1), "switched back to, the first adapter")


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
    with subject.disabled(), nothing_is_refused():
        # What is asked of the base model has nothing in it that only a method understands.
        agree(lab.generate_on(subject, bare), base, "a disabled adapter still changes generate")
        off = lab.forward_on(subject, bare, base.tokens)
    agree(off, lab.forward(bare, tokens=base.tokens), "a disabled adapter still changes forward")
    identical(lab.generate_on(subject, short), first, "the adapter answers otherwise after it was disabled")


@clause(sources=("huggingface/peft#3638", "huggingface/peft#3639"), control="runs")
def removed(lab: Lab, case: Case) -> None:
    """After the first of two adapters was deleted the other one answers, and is saved, as if alone; then its name is free.

    An adapter that is added under that name answers with its own values.
    """
    other, anew = first_steps(other_length(case), 1), first_steps(other_prefix(case), 1)
    live = lab.new_subject(case)
    lab.add_adapter(live, other, ANOTHER)
    guarded("delete_adapter", lambda: live.remove(DEFAULT_ADAPTER))
    answers_as_alone(lab, live, other, lab.generate(other), "the adapter that is left")
    saved_as_alone(lab, live, other)
    lab.add_adapter(live, anew, DEFAULT_ADAPTER)
    got = lab.generate_on(live, anew)
    identical(got, lab.generate(anew), "an adapter answers otherwise under the name of a deleted one")


@clause(
    sources=("huggingface/peft#1030", "huggingface/transformers#28515"),
    requires=(one_row,),
    control="runs",
    decisive=2,
    floor=OF_FEW,
)
def unloaded(lab: Lab, case: Case) -> None:
    """What unload() gives back is the base model, which answers as if nothing had been wrapped around it; or it is refused."""
    live = lab.new_subject(case)
    left = guarded("unload", live.unloaded)
    gives_the_base_model(lab, left, case)


@clause(
    sources=("huggingface/peft#720", "huggingface/peft#2595", "huggingface/peft#1022"),
    requires=(a_lora,),
    follow_ups=stackings,
    control="runs",
    decisive=2,
    floor=OF_FEW,
)
def stacked(lab: Lab, case: Case) -> None:
    """With a LoRA, merged, in the layers, wrapped before or after, virtual tokens and LoRA answer together; or it is refused.

    The manual forward is that of the base model into whose weights the LoRA is merged by hand.
    """
    got = lab.generate(case)
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens), "generate forgets the LoRA or the virtual tokens")


@clause(sources=("huggingface/peft#169", "huggingface/peft#170"), control="runs")
def restored(lab: Lab, case: Case) -> None:
    """After generate, also after one in which an error was raised, base model and wrapped model are what they were.

    No method of the base model is replaced, nothing that it is made of has changed, and both answer as before.
    """
    lab.generate(case)
    methods_put_back(lab.subject(case), "generate")
    stopped_and_as_before(lab, case, RuntimeError("raised in a layer"), "a generate that raised an error")


@clause(sources=("huggingface/peft#169", "huggingface/peft#3462"), control="runs")
def interrupted(lab: Lab, case: Case) -> None:
    """After a generate that its user has interrupted, base model and wrapped model are what they were.

    Ctrl-C, and the button that stops the cell of a notebook, raise KeyboardInterrupt, which is no Exception.
    """
    stopped_and_as_before(lab, case, KeyboardInterrupt(), "an interrupted generate")


@clause(sources=("huggingface/peft#1401", GENERATION_DOC))
def configured(lab: Lab, case: Case) -> None:
    """A generation config is honoured: passed to the call, changed in place, given to the base model or to the wrapped one.

    It says how many tokens are answered.
    """
    live, short = lab.new_subject(case), first_steps(case, 2)
    answers_as_told(lab, live, short, "passed to the call")
    answers_as_told(lab, live, short, "changed in place")
    answers_as_told(lab, live, short, "given to the base model")
    answers_as_told(lab, live, short, "given to the wrapped model")


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
    with subject.disabled(), nothing_is_refused():
        bare = generated_text(lab.generate_on(subject, without_prefix(case)))
    if bare == ANSWER:
        raise violation("generate without the adapter", repr(bare), "anything else: only the prefix was trained")
