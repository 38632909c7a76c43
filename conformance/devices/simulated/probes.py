"""Small operations on two devices, and what CUDA makes of each: to see whether a simulated pair and a real one agree."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as f

from conformance.devices.simulated.rule import is_mismatch


class Pair:
    """Two devices, and tensors on them with the same values everywhere: ``a`` on the first, ``b`` on the second."""

    def __init__(self, first: str, second: str) -> None:
        self.first, self.second = first, second

    def a(self, *shape: int) -> Tensor:
        """On the first device."""
        return self.cpu(*shape).to(self.first)

    def b(self, *shape: int) -> Tensor:
        """On the second device."""
        return self.cpu(*shape).to(self.second)

    @staticmethod
    def cpu(*shape: int) -> Tensor:
        """On the CPU."""
        return torch.arange(1.0, 1.0 + torch.Size(shape).numel()).reshape(shape) / 4

    def index(self, where: str = "") -> Tensor:
        """Indices 1 and 0, on the first device unless told otherwise."""
        return torch.tensor([1, 0], device=where or self.first)

    def mask(self, where: str = "") -> Tensor:
        """A mask of shape (2, 3), on the first device unless told otherwise."""
        return torch.tensor([[True, False, True], [False, True, True]], device=where or self.first)


class Probe(NamedTuple):
    """One operation; ``expected`` is what CUDA does: ``first``, ``second`` or ``cpu`` (runs there), or ``mismatch``."""

    name: str
    expected: str
    run: Callable[[Pair], Any]


def accumulated(pair: Pair) -> Tensor | None:
    """The gradient of a tensor that was used on both devices."""
    leaf = pair.a(2, 3).requires_grad_()
    (leaf.to(pair.second).tanh().sum().to(pair.first) + leaf.tanh().sum()).backward()
    return leaf.grad


def hooked(where: str) -> Tensor | None:
    """The gradient that a hook is given of a parameter whose module was moved after that."""
    module, seen = torch.nn.Linear(3, 2), list[Tensor]()
    torch.nn.init.ones_(module.weight).register_hook(seen.append)
    module.to(where)(Pair.cpu(2, 3).to(where)).sum().backward()
    return seen[0] if seen else None


def seeded(device: str) -> Tensor:
    """The first random numbers of a seed."""
    torch.manual_seed(3)
    return torch.rand(2, device=device)


def attention(queries: Tensor, keys: Tensor) -> Tensor:
    """Attention, where the keys are the values."""
    return f.scaled_dot_product_attention(queries, keys, keys)


def lstm(read: Tensor, make: Callable[..., Tensor]) -> Tensor:
    """What an LSTM of one unit makes of what is ``read`` ``(rows, tokens, 3)``; ``make`` makes its parameters and its state."""
    state = (make(1, len(read), 1), make(1, len(read), 1))
    parameters = [make(4, 3) / 8, make(4, 1), make(4), make(4)]
    found: Tensor = torch.lstm(read, state, parameters, True, 1, 0.0, False, False, True)[0]
    return found


def assigned(target: Tensor, where: Any, value: Any) -> Tensor:
    """``target[where] = value``."""
    target[where] = value
    return target


PROBES = (
    Probe("factory", "second", lambda on: torch.zeros(2, 3, device=on.second)),
    Probe("tensor of numbers", "second", lambda on: torch.tensor([1.0, 2.0], device=on.second)),
    Probe("like", "first", lambda on: torch.ones_like(on.a(2, 3))),
    Probe("like elsewhere", "second", lambda on: torch.ones_like(on.a(2, 3), device=on.second)),
    Probe("new_tensor", "second", lambda on: on.b(2).new_tensor([1.0])),
    Probe("random with a seed", "second", lambda on: seeded(on.second)),
    Probe("add", "first", lambda on: on.a(2, 3) + on.a(2, 3)),
    Probe("add across", "mismatch", lambda on: on.a(2, 3) + on.b(2, 3)),
    Probe("add cpu", "mismatch", lambda on: on.a(2, 3) + on.cpu(2, 3)),
    Probe("add cpu 0-dim", "first", lambda on: on.a(2, 3) + on.cpu()),
    Probe("cpu 0-dim add", "first", lambda on: on.cpu() + on.a(2, 3)),
    Probe("add cpu of one element", "mismatch", lambda on: on.a(2, 3) + on.cpu(1)),
    Probe("add 0-dim across", "mismatch", lambda on: on.a(2, 3) + on.b()),
    Probe("compare with cpu 0-dim", "first", lambda on: on.a(2, 3) > on.cpu()),
    Probe("maximum with cpu 0-dim", "first", lambda on: torch.maximum(on.a(2, 3), on.cpu())),
    Probe("addcmul with cpu 0-dim", "first", lambda on: torch.addcmul(on.a(2, 3), on.a(2, 3), on.cpu())),
    Probe("addcmul with two cpu 0-dim", "mismatch", lambda on: torch.addcmul(on.a(2, 3), on.cpu(), on.cpu())),
    Probe("clamp by cpu 0-dim", "mismatch", lambda on: torch.clamp(on.a(2, 3), on.cpu(), on.cpu())),
    Probe("add in place", "first", lambda on: on.a(2, 3).add_(on.a(2, 3))),
    Probe("add in place across", "mismatch", lambda on: on.a(2, 3).add_(on.b(2, 3))),
    Probe("add to cpu in place", "mismatch", lambda on: on.cpu(2, 3).add_(on.a(2, 3))),
    Probe("add to cpu 0-dim in place", "mismatch", lambda on: on.cpu().add_(on.a())),
    Probe("out", "first", lambda on: torch.add(on.a(2, 3), 1, out=on.a(2, 3))),
    Probe("out across", "mismatch", lambda on: torch.add(on.a(2, 3), 1, out=on.b(2, 3))),
    Probe("copy_ across", "first", lambda on: on.a(2, 3).copy_(on.b(2, 3))),
    Probe("copy_ from cpu", "first", lambda on: on.a(2, 3).copy_(on.cpu(2, 3))),
    Probe("to", "second", lambda on: on.a(2, 3).to(on.second)),
    Probe("to another tensor", "second", lambda on: on.a(2, 3).to(on.b(1))),
    Probe("to cpu", "cpu", lambda on: on.a(2, 3).cpu()),
    Probe("view", "first", lambda on: on.a(2, 3).view(3, 2).t()),
    Probe("write through a view", "first", lambda on: assigned(on.a(2, 3).t(), 0, 7.0)),
    Probe("cat", "first", lambda on: torch.cat([on.a(2, 3), on.a(1, 3)])),
    Probe("cat across", "mismatch", lambda on: torch.cat([on.a(2, 3), on.b(2, 3)])),
    Probe("cat cpu", "mismatch", lambda on: torch.cat([on.a(2, 3), on.cpu(2, 3)])),
    Probe("stack across", "mismatch", lambda on: torch.stack([on.a(2), on.b(2)])),
    Probe("stack 0-dim of the cpu", "mismatch", lambda on: torch.stack([on.a(), on.cpu()])),
    Probe("where", "first", lambda on: torch.where(on.mask(), on.a(2, 3), on.a(2, 3))),
    Probe("where across", "mismatch", lambda on: torch.where(on.mask(), on.a(2, 3), on.b(2, 3))),
    Probe("where cpu mask", "mismatch", lambda on: torch.where(on.mask("cpu"), on.a(2, 3), on.a(2, 3))),
    Probe("where with cpu 0-dims", "first", lambda on: torch.where(on.mask(), on.cpu(), on.cpu())),
    Probe("where with a number", "first", lambda on: torch.where(on.mask(), on.a(2, 3), 0.0)),
    Probe("masked_fill", "first", lambda on: on.a(2, 3).masked_fill(on.mask(), 0.0)),
    Probe("masked_fill with cpu 0-dim", "first", lambda on: on.a(2, 3).masked_fill(on.mask(), on.cpu())),
    Probe("masked_fill with 0-dim across", "first", lambda on: on.a(2, 3).masked_fill(on.mask(), on.b())),
    Probe("masked_fill by cpu mask", "mismatch", lambda on: on.a(2, 3).masked_fill(on.mask("cpu"), 0.0)),
    Probe("fill_ with cpu 0-dim", "first", lambda on: on.a(2, 3).fill_(on.cpu())),
    Probe("index by cpu", "first", lambda on: on.a(2, 3)[on.index("cpu")]),
    Probe("index across", "mismatch", lambda on: on.a(2, 3)[on.index(on.second)]),
    Probe("index the cpu", "mismatch", lambda on: on.cpu(2, 3)[on.index()]),
    Probe("index by cpu mask", "first", lambda on: on.a(2, 3)[on.mask("cpu")]),
    Probe("assign at cpu indices", "first", lambda on: assigned(on.a(2, 3), on.index("cpu"), 0.0)),
    Probe("assign cpu 0-dim at indices", "first", lambda on: assigned(on.a(2, 3), on.index(), on.cpu())),
    Probe("assign cpu rows at indices", "mismatch", lambda on: assigned(on.a(2, 3), on.index(), on.cpu(2, 3))),
    Probe("assign a slice across", "first", lambda on: assigned(on.a(2, 3), slice(0, 1), on.b(1, 3))),
    Probe("index_select", "first", lambda on: on.a(2, 3).index_select(0, on.index())),
    Probe("index_select by cpu", "mismatch", lambda on: on.a(2, 3).index_select(0, on.index("cpu"))),
    Probe("gather by cpu", "mismatch", lambda on: on.a(2, 3).gather(1, on.index("cpu")[None])),
    Probe("scatter across", "mismatch", lambda on: on.a(2, 3).scatter(1, on.index()[None], on.b(1, 2))),
    Probe("embedding", "first", lambda on: f.embedding(on.index(), on.a(4, 3))),
    Probe("embedding of cpu ids", "mismatch", lambda on: f.embedding(on.index("cpu"), on.a(4, 3))),
    Probe("matmul", "first", lambda on: on.a(2, 3) @ on.a(3, 2)),
    Probe("matmul across", "mismatch", lambda on: on.a(2, 3) @ on.b(3, 2)),
    Probe("linear", "first", lambda on: f.linear(on.a(2, 2, 3), on.a(4, 3), on.a(4))),
    Probe("linear, bias across", "mismatch", lambda on: f.linear(on.a(2, 2, 3), on.a(4, 3), on.b(4))),
    Probe("layer_norm", "first", lambda on: f.layer_norm(on.a(2, 3), (3,), on.a(3), on.a(3))),
    Probe("layer_norm, weight across", "mismatch", lambda on: f.layer_norm(on.a(2, 3), (3,), on.b(3))),
    Probe("attention", "first", lambda on: attention(on.a(1, 1, 2, 4), on.a(1, 1, 2, 4))),
    Probe("attention, keys across", "mismatch", lambda on: attention(on.a(1, 1, 2, 4), on.b(1, 1, 2, 4))),
    Probe("lstm", "first", lambda on: lstm(on.a(1, 2, 3), on.a)),
    Probe("lstm, weights across", "mismatch", lambda on: lstm(on.a(1, 2, 3), on.b)),
    Probe("softmax", "first", lambda on: on.a(2, 3).softmax(-1)),
    Probe("cumsum", "first", lambda on: on.a(2, 3).cumsum(-1)),
    Probe("pad", "first", lambda on: f.pad(on.a(2, 3), (1, 0), value=2.0)),
    Probe("largest", "first", lambda on: on.a(2, 3).max(dim=-1)),
    Probe("cross_entropy, labels across", "mismatch", lambda on: f.cross_entropy(on.a(2, 3), on.index(on.second))),
    Probe("equal across", "mismatch", lambda on: torch.equal(on.a(2), on.b(2))),
    Probe("foreach over both", "first", lambda on: torch._foreach_add([on.a(2), on.b(2)], [on.a(2), on.b(2)])),
    Probe("foreach across", "mismatch", lambda on: torch._foreach_add([on.a(2)], [on.b(2)])),
    Probe("gradient from both", "first", accumulated),
    Probe("hook of a moved parameter", "second", lambda on: hooked(on.second)),
    Probe("number", "float", lambda on: on.a(2, 3).sum().item()),
    Probe("numpy", "TypeError", lambda on: on.a(2, 3).numpy()),
)


def outcome(probe: Probe, devices: Sequence[str]) -> str:
    """How ``probe`` ends on two devices, in the words of :attr:`Probe.expected`; else the error's or result's type."""
    pair = Pair(*devices)
    try:
        found = probe.run(pair)
    except Exception as error:
        return "mismatch" if is_mismatch(error) else type(error).__name__
    while isinstance(found, (tuple, list)):
        found = found[0]
    if not isinstance(found, Tensor):
        return type(found).__name__
    names = {torch.device("cpu"): "cpu", torch.device(pair.second): "second", torch.device(pair.first): "first"}
    return names.get(found.device, str(found.device))
