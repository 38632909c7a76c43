"""Whether a prefix can be seen at all: the predicate says what the gradient through the reference subject says."""

from __future__ import annotations

import pytest

from conformance.assertions.gradients import gradients_of_rows
from conformance.clauses.preconditions import in_reach
from conformance.core.case import Case, Prefix, Roles, Row
from conformance.runs.lab import Lab


def windowed(family: str, window: int, sliding: tuple[bool, ...], layers: int, lengths: tuple[int, ...]) -> Case:
    activation = "gelu_pytorch_tanh" if family == "gemma3" else "silu"
    rope = "" if family == "gemma3" else "default"
    roles = Roles(layers=layers, head_dim=4, width=4, activation=activation, rope=rope, window=window, sliding=sliding)
    rows = tuple(Row(length=length, seed=seed) for seed, length in enumerate(lengths))
    return Case(family=family, roles=roles, prefix=Prefix(length=2), rows=rows, new_tokens=1)


@pytest.mark.parametrize("lengths", [(1,), (2,), (3,), (4,), (5,), (7,), (2, 5), (5, 3), (6, 5)])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize(
    ("family", "window", "sliding"),
    [
        ("mistral", 3, (True,)),
        ("mistral", 4, (True,)),
        ("gemma3", 3, (True,)),
        ("gemma3", 3, (True, False)),
        ("gemma3", 4, (False, True)),
        ("llama", 0, ()),
    ],
)
def test_a_prefix_is_in_reach_exactly_where_some_parameter_has_a_gradient(
    family: str, window: int, sliding: tuple[bool, ...], layers: int, lengths: tuple[int, ...]
) -> None:
    case = windowed(family, window, sliding, layers, lengths)
    by_token, _ = gradients_of_rows(Lab("reference"), case)
    assert in_reach(case) == bool(by_token.any())
