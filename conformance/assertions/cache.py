"""Assertions on what the layers' caches hold: contents, and lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.core.case import Case
from conformance.core.decodings import CHUNK
from conformance.core.signals import violation
from conformance.methods import method_named

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.runs.trace import Forward, Trace


CLOSE = 1e-5
"""Largest difference, as a plain number, between two cache contents of about 1 that were summed in another order."""


def decoder_prompt_length(case: Case) -> int:
    """Number of positions that the decoder reads before it answers: the padded text, or the start token."""
    return 1 if case.roles.encoder_layers else case.longest


def equal_contents(stored: Tensor | None, drawn: Tensor, what: str, case: Case) -> None:
    """What a layer stores ``(rows, kv_heads, stored, head_dim)`` is the last part of what was drawn, in every row."""
    if stored is None:
        raise violation(f"{what} at the first forward", "nothing", f"{drawn.shape[-2]} virtual tokens")
    expected = drawn[..., drawn.shape[-2] - stored.shape[-2] :, :].expand(stored.shape[0], -1, -1, -1)
    if stored.shape != expected.shape:
        raise violation(f"shape of the {what}", tuple(stored.shape), tuple(expected.shape))
    apart = (stored - expected).abs() > (CLOSE if method_named(case.method).computes_rows(case) else 0)
    if apart.any():
        row, head, token, index = (int(i) for i in apart.nonzero()[0])
        place = f"{what}, head {head}, virtual token {token}, dimension {index}"
        raise violation(
            place, float(stored[row, head, token, index]), float(expected[row, head, token, index]), row=row
        )


def grows_by_one(case: Case, trace: Trace, call: str) -> None:
    """The cache starts with the n positions that are put there, takes the prompt, then one position a step."""
    method, n = method_named(case.method), case.prefix.length
    before = method.in_front(case) + decoder_prompt_length(case)
    expected = [n if method.acts_on == "cache" else 0, *(before + step for step in range(case.new_tokens))]
    seen = [forward.cache for forward in trace.forwards] + [trace.final]
    for step, (layers, length) in enumerate(zip(seen, expected, strict=True)):
        for index, layer in enumerate(layers):
            if layer.length != length:
                raise violation(
                    f"{call} call: length of layer {index} before forward {step}", layer.length, length, step=step
                )


def no_layer_repeats(first: Forward) -> None:
    """No two layers hold the same keys or the same values."""
    for kind in ("keys", "values"):
        held = [getattr(layer, kind) for layer in first.cache]
        for i, one in enumerate(held):
            for j, other in enumerate(held[:i]):
                if one is not None and other is not None and one.shape == other.shape and one.equal(other):
                    raise violation(f"{kind} of layers {j} and {i}", "the same parameters", "parameters of their own")


def returns_the_same_kind(got: Trace, base: Trace) -> None:
    """The cache that comes back is of the base model's kind at the same request; one that was handed in is the very same."""
    if got.cache_kind != base.cache_kind:
        raise violation("the cache that generate returns", got.cache_kind, base.cache_kind)


def read_in_pieces(got: Trace, whole: Trace) -> None:
    """It took a forward of the base model more for every piece but one than where the ``whole`` text is read at once."""
    least = len(whole.forwards) + (got.case.longest - 1) // CHUNK
    if len(got.forwards) < least:
        raise violation("forwards of the base model with prefill_chunk_size", len(got.forwards), f"at least {least}")
