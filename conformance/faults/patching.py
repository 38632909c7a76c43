"""How a method of PEFT or transformers is replaced at run time. Nothing of theirs is imported before that."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pkgutil import resolve_name
from typing import Any
from unittest import mock

CAUSAL = "peft:PeftModelForCausalLM"
MODEL = "peft:PeftModel"
ENCODER = "peft:PrefixEncoder"


def around(owner: str, method: str, wrapper: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Within the block ``owner.method(*args)`` is ``wrapper(original, *args)``; ``owner`` is ``module:Class``."""
    target = resolve_name(owner)
    original = getattr(target, method)

    # transformers reads the signatures of some methods.
    @functools.wraps(original)
    def replaced(*args: Any, **kwargs: Any) -> Any:
        return wrapper(original, *args, **kwargs)

    return mock.patch.object(target, method, replaced)


@contextmanager
def both(one: AbstractContextManager[Any], other: AbstractContextManager[Any]) -> Iterator[None]:
    """Two patches at once."""
    with one, other:
        yield


def prompt(change: Callable[[Any, Any], Any]) -> AbstractContextManager[Any]:
    """Within the block ``change(peft_model, cache)`` is what ``get_prompt`` gives."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        return change(self, original(self, *args, **kwargs))

    return around(MODEL, "get_prompt", wrapper)


def inputs(change: Callable[[Any, dict[str, Any], int], None]) -> AbstractContextManager[Any]:
    """Within the block ``change(peft_model, inputs, step)`` edits what each forward of generate is given.

    ``step`` is counted from what is in the cache: 0 where there are only virtual tokens.
    """
    prompts: dict[int, int] = {}

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        given = original(self, *args, **kwargs)
        real = given["past_key_values"].get_seq_length() - self.active_peft_config.num_virtual_tokens
        if real <= 0:
            prompts[id(self)] = given["input_ids"].shape[1]
        change(self, given, real - prompts[id(self)] + 1 if real > 0 else 0)
        return given

    return around(CAUSAL, "prepare_inputs_for_generation", wrapper)


def mask_of(given: dict[str, Any]) -> Any:
    """The mask ``(rows, n + width)``; transformers leaves out one that has only ones."""
    import torch

    rows, queries = given["input_ids"].shape
    found = given.get("attention_mask")
    return torch.ones(rows, given["past_key_values"].get_seq_length() + queries) if found is None else found


def hide(given: dict[str, Any], column: int = 0) -> None:
    """Set one column of the mask to 0, in a copy."""
    given["attention_mask"] = mask_of(given).clone()
    given["attention_mask"][:, column] = 0


def saved(change: Callable[[Any, Any], Any]) -> AbstractContextManager[Any]:
    """Within the block ``change(peft_model, rows)`` is what is saved in place of the flat rows."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        return change(self, original(self, *args, **kwargs))

    return around(MODEL, "get_prompt_embedding_to_save", wrapper)
