"""What can be wrong with what is asked of a method: settings of its config, and what is passed beside the text.

Source: PEFT's documentation of each config, and of ``task_type``; generate is offered for CAUSAL_LM and SEQ_2_SEQ_LM only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from conformance.core.case import Wrong

UNHEARD_OF = "UNHEARD_OF"
"""A word that no setting takes."""


class Mistake(NamedTuple):
    """What is told in place of the right ``settings``, and what an error must name of it.

    ``missing``: what is left out, a setting that another one needs or an argument. ``answerable``: the model could answer all the
    same, since what it does does not depend on it.
    """

    settings: dict[str, Any]
    missing: tuple[str, ...] = ()
    answerable: bool = False


def wrongs_of(
    documented: Mapping[str, Mapping[str, str]], needed_beside: tuple[str, ...], encoder_decoder: bool
) -> dict[Wrong, Mistake]:
    """What can be wrong with what is asked of a method, for an encoder-decoder or a decoder.

    ``documented`` are its settings that are one of a few words, ``needed_beside`` the arguments that it needs beside the text.
    """
    found: dict[Wrong, Mistake] = {
        "no_length": Mistake({"num_virtual_tokens": None}),
        "no_task": Mistake({"task_type": None}, answerable=True),
        "answerless_task": Mistake({"task_type": "SEQ_CLS"}, answerable=True),
        "task_of_others": Mistake({"task_type": "CAUSAL_LM" if encoder_decoder else "SEQ_2_SEQ_LM"}, answerable=True),
    }
    for setting, words in documented.items():
        found["unknown_value"] = Mistake({setting: UNHEARD_OF})
        for word, needed in words.items():
            if needed:
                found.setdefault("missing_setting", Mistake({setting: word}, missing=(needed,)))
    if needed_beside:
        found["missing_argument"] = Mistake({}, missing=needed_beside)
    return found


def amiss(told: Mapping[str, Any], task: str, documented: Mapping[str, Mapping[str, str]]) -> str:
    """Why what a config is ``told`` cannot work with a model of ``task``, in words; nothing if it can."""
    if told["num_virtual_tokens"] is None:
        return "nobody said how many virtual tokens there are: `num_virtual_tokens`"
    if told["task_type"] != task:
        return f"`task_type` is {told['task_type']!r}; what this model can be asked for is {task}"
    for setting, words in documented.items():
        word = told.get(setting)
        if word is not None and word not in words:
            return f"`{setting}` is {word!r}, which is none of {', '.join(words)}"
        if word is not None and words[word] and not told.get(words[word]):
            return f"`{setting}` is {word!r}, which needs `{words[word]}`"
    return ""
