"""How the clauses look at a run: cache contents and lengths, gradients, bits, positions. Raises where a look is bad."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from conformance.core.case import Case
from conformance.core.relations import in_double
from conformance.core.signals import NotApplicable, violation
from conformance.families import family_named
from conformance.methods import method_named
from conformance.runs.trace import Forward, Trace

if TYPE_CHECKING:
    from conformance.runs.lab import Lab
    from conformance.runs.subject import Subject

CLOSE = 1e-5
"""Cache contents are numbers of about 1; a projection in another order of summation differs by less than this."""


def slides(case: Case, layer: int) -> bool:
    """Whether this layer has a sliding window."""
    pattern = case.roles.sliding
    return bool(pattern) and pattern[layer % len(pattern)]


def window_keeps(case: Case, layer: int) -> int:
    """How many past positions the layer has to keep: a window of w sees w - 1 of them besides the query itself."""
    return case.roles.window - 1 if slides(case, layer) else 99


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
    apart = (stored - expected).abs() > (CLOSE if case.prefix.projection else 0)
    if apart.any():
        row, head, token, index = (int(i) for i in apart.nonzero()[0])
        place = f"{what}, head {head}, virtual token {token}, dimension {index}"
        raise violation(
            place, float(stored[row, head, token, index]), float(expected[row, head, token, index]), row=row
        )


def equal_rows(got: Tensor, expected: Tensor, what: str) -> None:
    """Flat rows of the adapter, ``(n, 2 * L * kv_heads * head_dim)``, are equal but for the order of summation."""
    if got.shape != expected.shape:
        raise violation(f"shape of {what}", tuple(got.shape), tuple(expected.shape))
    apart = (got - expected).abs() > CLOSE
    if apart.any():
        token, index = (int(i) for i in apart.nonzero()[0])
        raise violation(
            f"{what}, virtual token {token}, number {index}", float(got[token, index]), float(expected[token, index])
        )


def grows_by_one(case: Case, trace: Trace, call: str) -> None:
    """The cache starts with n positions, takes the prompt, then one position a step."""
    n, prompt = case.prefix.length, decoder_prompt_length(case)
    expected = [n, *(n + prompt + step for step in range(case.new_tokens))]
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
                if one is not None and other is not None and one.shape == other.shape and torch.equal(one, other):
                    raise violation(f"{kind} of layers {j} and {i}", "the same parameters", "parameters of their own")


def gradients_of_rows(lab: Lab, case: Case) -> tuple[Tensor, Tensor]:
    """Whether each virtual token, and each key/value block, has a gradient: two tables with one row each, in float64."""
    double = in_double(case)
    subject = lab.subject(double)
    tokens = lab.generate(case).tokens
    logits = lab.forward_on(subject, double, tokens, grad=True).logits
    named = subject.parameters()
    # A parameter that is not used at all has a gradient of zero too.
    found = torch.autograd.grad(logits.pow(2).sum(), list(named.values()), allow_unused=True, materialize_grads=True)
    gradients = dict(zip(named, found, strict=True))
    method = method_named(case.method)
    by_block = method.gradient_by_block(gradients, lab.layout(case))
    return method.gradient_by_token(gradients) != 0, by_block != 0


def visible_virtual_tokens(case: Case) -> range:
    """The virtual tokens that the first real token can see in at least one layer."""
    n = case.prefix.length
    widest = max(window_keeps(case, layer) for layer in range(case.roles.layers))
    return range(max(0, n - widest), n)


def state_unchanged(before: dict[str, object], subject: Subject) -> None:
    """What the subject is made of is the same to the bit as ``before``."""
    after = subject.contents()
    for name, held in before.items():
        if held != after.get(name):
            raise violation(f"{name} after forward and generate", "changed", "as before")


def inputs_unmodified(trace: Trace, call: str) -> None:
    """The call left the user's tensors as they were."""
    if trace.modified_inputs:
        raise violation(f"the user's {', '.join(trace.modified_inputs)} after {call}", "changed", "as before")


def optimiser_step(lab: Lab, subject: Subject, case: Case) -> None:
    """One step of plain gradient descent on the adapter, through the subject's own training path."""
    parameters = list(subject.parameters().values())
    logits = lab.forward_on(subject, case, lab.generate(case).tokens, grad=True).logits
    optimiser = torch.optim.SGD(parameters, lr=0.5)
    optimiser.zero_grad()
    logits.log_softmax(-1)[..., 0].mean().backward()
    before = [parameter.detach().clone() for parameter in parameters]
    optimiser.step()
    optimiser.zero_grad()
    if all(torch.equal(old, new) for old, new in zip(before, parameters, strict=True)):
        raise violation(
            "the adapter's parameters after an optimiser step", "unchanged", "changed: the forward reads them"
        )


def text_positions(case: Case, forward: Forward) -> list[Tensor]:
    """For each row the positions of its real tokens in a forward over the whole batch."""
    from conformance.families.inputs.text import padding_mask

    if forward.positions is None:
        raise NotApplicable(f"{family_named(case.family).name} has no positions that can be seen")
    positions = forward.positions.expand(len(case.rows), -1)
    real = padding_mask(case).bool()
    if positions.shape[1] != real.shape[1]:
        raise violation("positions in the first forward", positions.shape[1], real.shape[1])
    return [positions[row][real[row]] for row in range(len(case.rows))]


def starts_at_n(case: Case, trace: Trace, path: str) -> None:
    """In the first forward each text's positions are n, n + 1, ...; in every later one the next."""
    n = case.prefix.length
    for row, positions in enumerate(text_positions(case, trace.forwards[0])):
        expected = list(range(n, n + len(positions)))
        if positions.tolist() != expected:
            raise violation(f"positions of the text in {path}", positions.tolist(), expected, row=row)
    for step, forward in enumerate(trace.forwards[1:], start=1):
        if forward.positions is not None:
            seen = forward.positions.expand(len(case.rows), -1)[:, -1].tolist()
            expected = [n + row.length + step - 1 for row in case.rows]
            if seen != expected:
                raise violation(f"positions of the new tokens in {path}", seen, expected, step=step)


def counted_labels(case: Case, row: int) -> int:
    """How many labels of the row count towards the loss, with as many answered tokens as the Case has."""
    if case.roles.encoder_layers:
        return case.new_tokens
    # All but the first token of the text and all but the last of the answer.
    return case.rows[row].length - 1 + case.new_tokens - 1


def requires_position_ids(lab: Lab, case: Case) -> None:
    """Not applicable where the base model's forward has no ``position_ids``."""
    from conformance.families.build import parameters_of_forward

    if "position_ids" not in parameters_of_forward(lab.subject(case).base):
        raise NotApplicable("the base model takes no position_ids")
