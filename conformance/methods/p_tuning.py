"""P-tuning: prompt tuning whose embeddings are computed by a small network, an MLP or an LSTM with an MLP behind it.

Shapes: the parameters are ``n`` embeddings for each block of prompt tuning, ``(blocks * n, width)``, and the network, which makes
as many rows of them. An LSTM reads all blocks one after the other, from both ends. Source: Liu et al. 2021 for P-tuning; PEFT's
prompt encoder, with the LSTM that torch documents.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, ClassVar

from conformance.core.case import Begins, Case
from conformance.core.signals import NotApplicable
from conformance.methods.method import Injected, Layout, Raw
from conformance.methods.prompt_tuning import EMBEDDING, PromptTuning

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family


GATES = 4
"""An LSTM's: input, forget, cell and output, in torch's order."""
DIRECTIONS = ("", "_reverse")
LINEAR = "mlp_head.{}.weight"
BIAS = "mlp_head.{}.bias"
"""Names of the raw parameters, as PEFT holds them; between two linear layers is an activation, which counts, too."""
NEVER_ZERO = 2.0**-8
"""Added to a bias, whose other summands are coarser: an activation is not asked at 0 exactly."""
SURE = 1000.0
"""What is added up in a gate that is certainly open, or closed."""


class PTuning(PromptTuning):
    """Learnt embeddings behind a network that is trained with them."""

    name = "P_TUNING"
    config = "PromptEncoderConfig"
    documented: ClassVar = {"encoder_reparameterization_type": {"MLP": "", "LSTM": ""}}
    varied = frozenset({"length", "projection", "lstm_layers", "content", "order", "scale", "seed"})

    def settings(self, case: Case) -> dict[str, Any]:
        """The network, without dropout."""
        layers = case.prefix.lstm_layers
        kind = {"encoder_reparameterization_type": "LSTM", "encoder_num_layers": layers} if layers else {}
        return {"encoder_hidden_size": hidden_size(case), "encoder_dropout": 0.0, **kind}

    def beginnings(self, case: Case, family: Family) -> tuple[Begins, ...]:
        """At random only."""
        return ()

    def computes_rows(self, case: Case) -> bool:
        """Always: there is no P-tuning without a network."""
        return True

    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """The embeddings, and the network's layers."""
        width, hidden, layers = case.roles.width, hidden_size(case), case.prefix.lstm_layers
        shapes = super().shapes(case, layout)
        for layer in range(layers):
            for end in DIRECTIONS:
                shapes |= lstm_shapes(f"_l{layer}{end}", 2 * hidden if layer else width, hidden)
        sizes = (2 * hidden, 2 * hidden, width) if layers else (width, hidden, hidden, width)
        for index, (read, made) in enumerate(pairwise(sizes)):
            shapes |= {LINEAR.format(2 * index): (made, read), BIAS.format(2 * index): (made,)}
        return shapes

    def draw(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """Scaled so that the rows that result differ from one virtual token to another.

        No token is lost in front of an activation: of two neighbouring units one is the other's negative, so one of them is open.
        """
        if name == EMBEDDING:
            return super().draw(case, name, shape)
        from conformance.families.weights import near, normal_numbers

        value: Tensor = normal_numbers(case.prefix.seed, f"encoder/{name}", shape).clone()
        activated = {form.format(index) for form in (LINEAR, BIAS) for index in range(0, last_layer(case), 2)}
        value = value / 8 + NEVER_ZERO if "bias" in name else value * near(shape[-1] ** -0.5) * gain(case, name)
        if name in activated:
            value[1::2] = -value[: 2 * (shape[0] // 2) : 2]
        return value

    def scales(self, case: Case, name: str) -> bool:
        """The last layer."""
        return name in (LINEAR.format(last_layer(case)), BIAS.format(last_layer(case)))

    def rows(self, raw: Raw) -> Tensor:
        """The network's output, computed in the dtype of ``raw``."""
        import torch

        rows, layer = raw[EMBEDDING], 0
        while f"lstm_head.weight_ih_l{layer}" in raw:
            ends = [read_by_lstm(rows, raw, f"_l{layer}{end}", backwards=bool(end)) for end in DIRECTIONS]
            rows, layer = torch.cat(ends, dim=1), layer + 1
        index = 0
        while LINEAR.format(index) in raw:
            rows = torch.relu(rows) if index else rows
            rows = rows @ raw[LINEAR.format(index)].T + raw[BIAS.format(index)]
            index += 2
        return rows

    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """A network that is a table: each token switches on a unit of its own, which the last layer turns into its embedding.

        Exact: what is computed before are small whole numbers, and gates that are fully open or closed.
        """
        import torch

        assert read.embeddings is not None, "what is read of a text for this method is its embeddings"
        if case.prefix.lstm_layers and case.roles.width < 2:  # noqa: PLR2004 - a point has two coordinates
            raise NotApplicable("the network cannot hold a text: one number does not tell an LSTM which token it reads")
        dtype, n = read.embeddings.dtype, case.prefix.length
        raw = {name: torch.zeros(shape, dtype=dtype) for name, shape in self.shapes(case, layout).items()}
        fill = lstm_that_tells_tokens_apart if case.prefix.lstm_layers else mlp_that_tells_tokens_apart
        fill(raw, n)
        raw[LINEAR.format(last_layer(case))][:, :n] = read.embeddings[0].T
        return raw


P_TUNING = PTuning()


def hidden_size(case: Case) -> int:
    """The hidden size of the network: as wide as the model if none is said, and a unit for each token of a text that it holds."""
    said = case.prefix.projection or case.roles.width
    return max(said, case.prefix.length) if case.prefix.content == "tokens" else said


def gain(case: Case, name: str) -> int:
    """By how much a matrix multiplies: hidden states of an LSTM are small, and an activation halves what it is given.

    Not more: what is rounded is multiplied, too.
    """
    if "lstm_head" in name:
        return 2 if "weight_ih" in name else 1
    first, last = (4, 2) if case.prefix.lstm_layers else (1, 4)
    return last if name == LINEAR.format(last_layer(case)) else first


def lstm_shapes(suffix: str, read: int, hidden: int) -> dict[str, tuple[int, ...]]:
    """The shapes of one direction of one layer, which reads ``read`` numbers of each token."""
    reads = {"weight_ih": (read,), "weight_hh": (hidden,), "bias_ih": (), "bias_hh": ()}
    return {f"lstm_head.{name}{suffix}": (GATES * hidden, *size) for name, size in reads.items()}


def last_layer(case: Case) -> int:
    """The number in the name of the last linear layer."""
    return 2 if case.prefix.lstm_layers else 4


def read_by_lstm(rows: Tensor, raw: Raw, suffix: str, *, backwards: bool) -> Tensor:
    """The hidden states ``(rows, hidden)`` of one direction of one layer, over ``rows`` ``(rows, size)``."""
    import torch

    own = {name: raw[f"lstm_head.{name}{suffix}"] for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")}
    hidden = cell = rows.new_zeros(own["weight_hh"].shape[1])
    states = []
    for row in rows.flip(0) if backwards else rows:
        added = own["weight_ih"] @ row + own["bias_ih"] + own["weight_hh"] @ hidden + own["bias_hh"]
        into, keep, new, out = added.chunk(GATES)
        cell = torch.sigmoid(keep) * cell + torch.sigmoid(into) * torch.tanh(new)
        hidden = torch.sigmoid(out) * torch.tanh(cell)
        states.append(hidden)
    found = torch.stack(states)
    return found.flip(0) if backwards else found


def mlp_that_tells_tokens_apart(raw: dict[str, Tensor], n: int) -> None:
    """Token k is the number k; in front of the last layer unit k is 1 for it and 0 for all others."""
    import torch

    numbers = torch.arange(n).to(raw[EMBEDDING])
    raw[EMBEDDING][:, 0] = -1.0  # what is not read switches on nothing
    raw[EMBEDDING][:n, 0] = numbers
    # First unit k is max(0, token - k + 1), then their second difference: a tent over k.
    raw[LINEAR.format(0)][:n, 0], raw[BIAS.format(0)][:n] = 1.0, 1.0 - numbers
    tents = raw[LINEAR.format(2)][:n, :n]
    tents += torch.eye(n) - 2 * torch.ones(n, n).triu(1).tril(1) + torch.ones(n, n).triu(2).tril(2)


def lstm_that_tells_tokens_apart(raw: dict[str, Tensor], n: int) -> None:
    """Token k is the point (k, k * k); in front of the last layer unit k is 1 for it and 0 for all others.

    Every cell is 1, forgotten in each step. Only the output gate of unit k depends on the token: it is closed for k. The layers
    above repeat this, and the activation turns it round.
    """
    import torch

    numbers = torch.arange(raw[EMBEDDING].shape[0]).to(raw[EMBEDDING])
    raw[EMBEDDING][:, 0], raw[EMBEDDING][:, 1] = numbers, numbers * numbers
    own, layer = numbers[:n], 0
    while f"lstm_head.weight_ih_l{layer}" in raw:
        reads, bias = raw[f"lstm_head.weight_ih_l{layer}"], raw[f"lstm_head.bias_ih_l{layer}"]
        into, keep, new, out = bias.chunk(GATES)
        into[:], keep[:], new[:] = SURE, -SURE, SURE
        read = reads.chunk(GATES)[-1][:n]
        if layer:
            # A unit below is 0 or tanh(1) = 0.76.
            read[:, :n], out[:n] = 2 * SURE * torch.eye(n).to(read), -SURE / 2
        else:
            # (token - k) ** 2 - 1 / 2, which is linear in the point.
            read[:, 0], read[:, 1], out[:n] = -2 * own * SURE, SURE, (own * own - 0.5) * SURE
        layer += 1
    raw[LINEAR.format(0)][:n, :n], raw[BIAS.format(0)][:n] = -2 * torch.eye(n).to(numbers), 1.0
