from __future__ import annotations

import pytest
import torch
from torch import nn

from conformance.families.copying import copies_of


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(5, 4), nn.Linear(4, 5, bias=False)
        self.head.weight = self.embedding.weight
        self.register_buffer("scale", torch.tensor(2.0))
        self.register_buffer("places", torch.arange(3), persistent=False)
        self.settings = {"layers": [1, 2]}


class Unpicklable(Tied):
    def __init__(self) -> None:
        super().__init__()
        self.activation = lambda x: x


@pytest.mark.parametrize("made", [Tied, Unpicklable])
def test_a_copy_is_equal_and_shares_nothing(made: type[nn.Module]) -> None:
    model = made().eval().requires_grad_(False)
    copied = copies_of(model)()
    assert type(copied) is made
    assert not copied.training
    assert all(not parameter.requires_grad for parameter in copied.parameters())
    ours, theirs = (dict([*m.named_parameters(), *m.named_buffers()]) for m in (model, copied))
    assert ours.keys() == theirs.keys() == {"embedding.weight", "scale", "places"}
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert not {t.data_ptr() for t in ours.values()} & {t.data_ptr() for t in theirs.values()}
    assert copied.settings is not model.settings


@pytest.mark.parametrize("made", [Tied, Unpicklable])
def test_what_is_tied_in_the_model_is_tied_in_its_copy(made: type[nn.Module]) -> None:
    copied = copies_of(made())()
    assert copied.head.weight is copied.embedding.weight  # type: ignore[union-attr]


def test_two_copies_are_independent_and_like_the_model_when_it_was_given() -> None:
    model = Tied()
    make = copies_of(model)
    with torch.no_grad():
        make().embedding.weight.zero_()  # type: ignore[union-attr,operator]
    assert torch.equal(make().embedding.weight, model.embedding.weight)  # type: ignore[union-attr,arg-type]
