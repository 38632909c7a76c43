"""What planted faults change: what a method of PEFT or transformers is given, or gives."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from conformance.runs.patching import Patched, around

CAUSAL, SEQ2SEQ = "peft:PeftModelForCausalLM", "peft:PeftModelForSeq2SeqLM"
MODEL = "peft:PeftModel"
ENCODER = "peft:PrefixEncoder"


@contextmanager
def both(one: Patched, other: Patched) -> Iterator[None]:
    """Two patches at once."""
    with one, other:
        yield


def returning(owner: str, method: str, change: Callable[[Any, Any], Any]) -> Patched:
    """Within the block ``owner.method`` returns ``change(self, result)`` in place of its result."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        return change(self, original(self, *args, **kwargs))

    return around(owner, method, wrapper)


def after(owner: str, method: str, change: Callable[[Any, Any], None]) -> Patched:
    """Within the block ``change(self, result)`` is called whenever ``owner.method`` has run."""

    def changed(self: Any, result: Any) -> Any:
        change(self, result)
        return result

    return returning(owner, method, changed)


def running(method: str, calls: list[str]) -> Patched:
    """Within the block ``calls`` is not empty as long as that method of a causal PEFT model runs."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(method)
        try:
            return original(self, *args, **kwargs)
        finally:
            calls.pop()

    return around(CAUSAL, method, wrapper)


def prompt(change: Callable[[Any, Any], None]) -> Patched:
    """Within the block ``change(peft_model, cache)`` edits the cache that ``get_prompt`` gives."""
    return after(MODEL, "get_prompt", change)


def encoded(change: Callable[[Any, Any], Any]) -> Patched:
    """Within the block ``change(encoder, rows)`` is what the prompt encoder gives."""
    return returning(ENCODER, "forward", change)


def saved(change: Callable[[Any, Any], Any]) -> Patched:
    """Within the block ``change(peft_model, rows)`` is what is saved in place of the flat rows."""
    return returning(MODEL, "get_prompt_embedding_to_save", change)


def arguments(method: str, change: Callable[[Any, dict[str, Any]], None]) -> Patched:
    """Within the block ``change(peft_model, arguments)`` edits what the user passes to ``generate`` or ``forward``."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        change(self, kwargs)
        return original(self, *args, **kwargs)

    return around(CAUSAL, method, wrapper)


def inputs(change: Callable[[Any, dict[str, Any], int], None]) -> Patched:
    """Within the block ``change(peft_model, inputs, step)`` edits what each forward of generate is given.

    ``step`` is counted from what is in the cache: 0 where there are only virtual tokens.
    """
    widths: dict[int, int] = {}

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        given = original(self, *args, **kwargs)
        real = given["past_key_values"].get_seq_length() - self.active_peft_config.num_virtual_tokens
        if real <= 0:
            widths[id(self)] = given["input_ids"].shape[1]
        change(self, given, real - widths[id(self)] + 1 if real > 0 else 0)
        return given

    return around(CAUSAL, "prepare_inputs_for_generation", wrapper)


def mask_of(given: dict[str, Any]) -> Any:
    """The mask ``(rows, n + width)``; transformers leaves out one that has only ones."""
    rows, queries = given["input_ids"].shape
    mask = given.get("attention_mask")
    return torch.ones(rows, given["past_key_values"].get_seq_length() + queries) if mask is None else mask


def hide(given: dict[str, Any], column: int = 0) -> None:
    """Set one column of the mask to 0, in a copy."""
    given["attention_mask"] = mask_of(given).clone()
    given["attention_mask"][:, column] = 0


def filled_caches(change: Callable[[Any], None]) -> Patched:
    """Within the block ``change(cache)`` edits a cache that was filled before LlamaModel first saw it."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        cache = kwargs.get("past_key_values")
        if cache is not None and not hasattr(cache, "seen"):
            cache.seen = True
            if cache.get_seq_length():
                change(cache)
        return original(self, *args, **kwargs)

    return around("transformers:LlamaModel", "forward", wrapper)
