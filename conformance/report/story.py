"""A story as the straight program that a user would write, a line for each step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from conformance.core.case import Case
from conformance.core.relations import added_by
from conformance.core.story import Act, Do
from conformance.methods import method_named

WAYS = {
    "plain": "",
    "sampled": ", do_sample=True",
    "searched": ", num_beams=..., num_return_sequences=2",
    "looked_up": ", prompt_lookup_num_tokens=2",
}
"""What is added to a call of generate that is decoded so."""


def program(case: Case) -> Iterator[str]:
    """The lines of the story of ``case``, one for each step, behind that which makes the model."""
    yield f"model = get_peft_model(base, {_config(case)})"
    inside = ""
    for step in case.story:
        inside = "" if step.do == "enable" else inside
        yield inside + _LINES[step.do](step, case)
        inside = "    " if step.do == "disable" else inside


def _config(case: Case) -> str:
    return f"{method_named(case.method).config}(num_virtual_tokens={case.prefix.length}, ...)"


def _saved(step: Act) -> str:
    return "saved" if step.source == "default" else f"saved/{step.source}"


def _generate(step: Act, case: Case) -> str:
    text = "first_text" if step.decoding == "looked_up" else "texts"
    return f"answer = model.generate(**{text}{WAYS[step.decoding]})"


def _resume(step: Act, case: Case) -> str:
    return f'model = get_peft_model(new_base, config_of("{_saved(step)}")); model.load_adapter("{_saved(step)}", "default")'


def _add(step: Act, case: Case) -> str:
    return f'model.add_adapter("{step.adapter}", {_config(added_by(step, case))})'


_LINES: Mapping[Do, Callable[[Act, Case], str]] = {
    "generate": _generate,
    "go_on": lambda step, case: "model.generate(**longer_texts, past_key_values=answer.past_key_values)",
    "train": lambda step, case: (
        "model.train(); model(**first_text, labels=...).loss.backward(); optimizer.step(); model.eval()"
    ),
    "save": lambda step, case: 'model.save_pretrained("saved")',
    "load": lambda step, case: f'model.load_adapter("{_saved(step)}", "{step.adapter}")',
    "resume": _resume,
    "add": _add,
    "switch": lambda step, case: f'model.set_adapter("{step.adapter}")',
    "delete": lambda step, case: f'model.delete_adapter("{step.adapter}")',
    "disable": lambda step, case: "with model.disable_adapter():",
    "enable": lambda step, case: "# outside disable_adapter() again",
    "raise": lambda step, case: "model.generate(**texts)  # an error is raised in the second step",
    "interrupt": lambda step, case: "model.generate(**texts)  # interrupted in the second step: Ctrl-C",
}
