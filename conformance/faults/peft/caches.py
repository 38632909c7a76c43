"""Faults with a cache that is handed in, as patches of PEFT."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from conformance.compat import caches
from conformance.faults.patching import arguments, both, hide, inputs, prompt
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers
from conformance.runs.patching import Patched


@in_peft(clause="caches.continued", weaker=answers.step_logits)
def peft_values_lost_in_a_second_turn(fired: Fired) -> Patched:
    """A cache that is handed in loses the values of its first layer."""

    def change(self: Any, given: dict[str, Any]) -> None:
        cache = given.get(caches.argument(self.get_base_model()))
        if cache is not None and fired():
            cache.layers[0].values.zero_()

    return arguments("generate", change)


@in_peft(clause="caches.kinds_agree", weaker=answers.a_cache_handed_in)
def peft_cache_that_is_handed_in_is_copied(fired: Fired) -> Patched:
    """A cache that is handed in is copied, and stays as it was."""

    def change(self: Any, given: dict[str, Any]) -> None:
        name = caches.argument(self.get_base_model())
        if fired(given.get(name) is not None):
            given[name] = deepcopy(given[name])

    return arguments("generate", change)


@in_peft(clause="caches.chunked_prefill", weaker=answers.step_logits)
def peft_pieces_see_less(fired: Fired) -> Patched:
    """Where a text is read in pieces, those behind the first do not see the first virtual token."""
    pieces = False

    def note(self: Any, given: dict[str, Any]) -> None:
        nonlocal pieces
        pieces = bool(given.get("prefill_chunk_size"))

    def change(self: Any, given: dict[str, Any], step: int) -> None:
        if step > 0 and fired(pieces):
            hide(given)

    return both(arguments("generate", note), inputs(change))


@in_peft(clause="caches.window_edge", family="gemma3")
def peft_prefix_cut_to_the_window(fired: Fired) -> Patched:
    """A prefix that reaches the length of a window loses its first virtual token in all layers, those that see everything too."""

    def change(self: Any, cache: Any) -> None:
        window = getattr(self.get_base_model().config, "sliding_window", None)
        if fired(window and self.active_peft_config.num_virtual_tokens >= window):
            for layer in cache.layers:
                layer.keys[:, :, 0], layer.values[:, :, 0] = 0, 0

    return prompt(change)
