"""Checks of saving, loading and switching off, each of one way where a clause takes all."""

from __future__ import annotations

from msgspec.structs import replace

from conformance.assertions.learning import all_that_learns
from conformance.assertions.lifecycle import answers_as_told
from conformance.assertions.logits import agree, differ
from conformance.assertions.state import equal_rows
from conformance.clauses.lifecycle import ANOTHER
from conformance.core import relations
from conformance.core.case import Case, model_of
from conformance.core.signals import violation
from conformance.methods.beginning import told_text
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.oracles.table import handmade_cache
from conformance.runs.judged_code import guarded
from conformance.runs.lab import Lab


def disabled_in_forward(lab: Lab, case: Case) -> None:
    """Inside disable_adapter() the forward is the base model's."""
    subject, bare = lab.subject(case), relations.without_prefix(case)
    with subject.disabled():
        agree(lab.forward_on(subject, bare), lab.forward(bare))


def disabled_in_generate(lab: Lab, case: Case) -> None:
    """Inside disable_adapter() generate is the base model's."""
    subject, bare = lab.subject(case), relations.without_prefix(case)
    with subject.disabled():
        agree(lab.generate_on(subject, bare), lab.generate(bare))


def loaded_here(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, the adapter gives the same answer."""
    agree(lab.generate_on(lab.reloaded(case), case), lab.generate(case))


def loaded_here_unprojected(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, an adapter without projection gives the same answer."""
    loaded_here(lab, replace(case, prefix=replace(case.prefix, projection=0)))


def loaded_here_unfrozen(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, an adapter of which nothing is frozen gives the same answer."""
    loaded_here(lab, replace(case, prefix=replace(case.prefix, frozen=0)))


def loaded_here_with_text(lab: Lab, case: Case) -> None:
    """Saved and loaded in the same process, an adapter that holds a real text gives the same answer."""
    loaded_here(lab, relations.with_real_tokens(case))


def frozen_after_loading(lab: Lab, case: Case) -> None:
    """After from_pretrained no parameter of the model requires a gradient."""
    if learning := all_that_learns(lab.reloaded(case)):
        raise violation("parameters that require a gradient", learning, "none")


def loaded_beside(lab: Lab, case: Case) -> None:
    """Loaded into a live model under another name, and switched to, the saved values answer."""
    live = lab.new_subject(relations.other_prefix(case))
    live.load_live(lab.saved_folder(case), ANOTHER)
    live.switch(ANOTHER)
    agree(lab.generate_on(live, case), lab.generate(case))


def switched_once(lab: Lab, case: Case) -> None:
    """An adapter that is added beside another one answers once it is switched to, in generate and in forward."""
    other, live = relations.first_steps(relations.other_length(case)), lab.new_subject(case)
    lab.add_adapter(live, other, ANOTHER)
    agree(lab.generate_on(live, other), lab.generate(other))
    agree(lab.forward_on(live, other), lab.forward(other))


def base_after_generate(lab: Lab, case: Case) -> None:
    """After a generate that ends well the base model answers as before."""
    lab.generate(case)
    bare = relations.first_steps(relations.without_prefix(case))
    agree(lab.generate_on(lab.subject(case).bare(), bare), lab.generate(bare))


def answers_after_an_error(lab: Lab, case: Case) -> None:
    """After a generate that raised an error base model and wrapped model answer as before."""
    live, bare = lab.new_subject(case), relations.without_prefix(case)
    lab.stop_midway(live, case, RuntimeError("raised in a layer"))
    agree(lab.generate_on(live.bare(), bare), lab.generate(bare))
    agree(lab.generate_on(live, case), lab.generate(case))


def other_answers_after_removal(lab: Lab, case: Case) -> None:
    """After the first of two adapters was deleted the other one answers as if alone."""
    other, live = relations.other_length(case), lab.new_subject(case)
    lab.add_adapter(live, other, ANOTHER)
    live.remove(DEFAULT_ADAPTER)
    agree(lab.generate_on(live, other), lab.generate(other))


def passed_config(lab: Lab, case: Case) -> None:
    """A generation config that is passed to the call says how long the answer is."""
    answers_as_told(lab, lab.new_subject(case), relations.first_steps(case, 2), "passed to the call")


def _begins_by_value(lab: Lab, case: Case, first: int) -> None:
    """The first numbers of the first parameters with which the new adapter of ``case`` begins are those that it is told."""
    raw = lab.new_subject(case).raw()
    for name, expected in lab.begun(case).exactly.items():
        equal_rows(raw[name][:first].reshape(1, -1), expected[:first].reshape(1, -1), name)


def first_word_of_a_text(lab: Lab, case: Case) -> None:
    """A prompt that is told to begin as a text begins with its first word."""
    _begins_by_value(lab, relations.begun_as(case, "text"), 1)


def values_of_a_text(lab: Lab, case: Case) -> None:
    """A prompt that is told to begin as a text has its embeddings."""
    _begins_by_value(lab, relations.begun_as(case, "text"), case.prefix.length)


def one_of_the_source_tasks(lab: Lab, case: Case) -> None:
    """A prompt that is told to begin as that of one of the source tasks has the embeddings and matrices of that."""
    case = relations.begun_as(case, "exact_task")
    _begins_by_value(lab, case, 2 * case.prefix.length)


def cache_of_as_many_tokens(lab: Lab, case: Case) -> None:
    """A prefix that is given a cache of n tokens holds them."""
    case = model_of(replace(case, prefix=replace(case.prefix, projection=0)))
    subject, short = lab.new_subject(case), relations.begun_as(case, "cache")
    subject.hold_cache(lab.cache_of(case, told_text(short)[: case.prefix.length]))
    for name, expected in lab.begun(short).exactly.items():
        equal_rows(subject.raw()[name], expected, name)


def something_is_given_back(lab: Lab, case: Case) -> None:
    """What unload gives back answers."""
    left = guarded("unload", lab.new_subject(case).unloaded)
    lab.generate_on(left, case)


def over_a_merged_lora(lab: Lab, case: Case) -> None:
    """Over a base model into which a LoRA was merged generate answers as the manual forward."""
    case = relations.with_lora(relations.first_steps(case, 1), "merged")
    got = lab.generate(case)
    agree(got, lab.predict(case, handmade_cache, tokens=got.tokens))


def virtual_tokens_beside_a_lora(lab: Lab, case: Case) -> None:
    """Over a model with a LoRA generate answers otherwise than without the virtual tokens."""
    case = relations.with_lora(relations.first_steps(relations.row_alone(case, 0), 1), "over")
    differ(lab.generate(case), lab.generate(relations.without_prefix(case)), "without virtual tokens")
