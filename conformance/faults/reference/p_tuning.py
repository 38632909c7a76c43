"""Faults of the network that computes embeddings in front of the text, on the reference wrapper."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from conformance.faults.common import half, rounded
from conformance.faults.registry import PlantedPrompt, in_reference
from conformance.faults.weaker import answers, lifecycle, precision, training
from conformance.faults.wrappers import Saves
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.methods.p_tuning import BIAS, LINEAR, last_layer
from conformance.methods.prompt_tuning import EMBEDDING
from conformance.methods.reference.adapters import FILE

planted = partial(in_reference, method="P_TUNING")


class Computes(PlantedPrompt):
    """Computes the embeddings from something else than the parameters."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """What is computed from in place of the parameters ``raw``."""
        raise NotImplementedError

    def flat(self) -> Tensor:
        """Compute from it; a loaded adapter computes nothing."""
        if self.collapsed is not None:
            return self.collapsed
        return self.method.rows(self.read_in_place_of(dict(self.named_raw())))


@planted(clause="equivalence.step_logits", weaker=answers.without_lstm)
class LstmReadInOneDirection(Computes):
    """What the LSTM reads from the last virtual token to the first is dropped."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Zeros for its half of the hidden states."""
        if self.fired(self.shape_of.prefix.lstm_layers):
            first, _ = raw[LINEAR.format(0)].chunk(2, dim=1)
            raw[LINEAR.format(0)] = torch.cat([first, 0 * first], dim=1)
        return raw


@planted(clause="precision.half", weaker=precision.answers_in_half)
class NetworkInHalf(Computes):
    """The network is cast to the base model's dtype before it computes the embeddings, and not the embeddings after."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Cast it."""
        dtype = getattr(torch, self.shape_of.dtype)
        return {name: value.to(dtype) for name, value in raw.items()} if self.fired(half(dtype)) else raw


@planted(clause="precision.half", weaker=precision.answers_in_half)
class ConvertedNetworkTurned(Computes):
    """A network that was converted to half precision, with the model around it, has the sign of its last layer turned."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Turn it."""
        name = LINEAR.format(last_layer(self.shape_of))
        return {**raw, name: -raw[name]} if self.fired(half(raw[name].dtype)) else raw


@planted(clause="equivalence.step_logits", weaker=answers.one_virtual_token)
class LstmForgetsTheTokenBefore(Computes):
    """The hidden state is not handed on from one virtual token to the next."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Nothing is read of it."""
        several = self.shape_of.prefix.length > 1
        for name in [name for name in raw if "weight_hh" in name]:
            raw[name] = 0 * raw[name] if self.fired(several) else raw[name]
        return raw


@planted(clause="equivalence.step_logits", weaker=answers.one_lstm_layer)
class LstmOfOneLayer(Computes):
    """Of several layers of an LSTM only the first one is there."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Without the others."""
        self.fired(self.shape_of.prefix.lstm_layers > 1)
        return {name: value for name, value in raw.items() if "_l1" not in name}


@planted(clause="equivalence.step_logits")
class NetworkWithoutLastBias(Computes):
    """The last layer of the network adds no bias."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Zero."""
        self.fired()
        return raw | {BIAS.format(last_layer(self.shape_of)): torch.zeros(self.shape_of.roles.width)}


@planted(clause="training.gradient_agrees")
class NetworkRounded(Computes):
    """The network computes from parameters in bfloat16, in which not all of them are exact."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Round."""
        self.fired()
        return {name: rounded(value) for name, value in raw.items()}


@planted(clause="training.gradient_agrees", weaker=answers.step_logits)
class NetworkLearnsNothing(Computes):
    """Only the embeddings in front of the network are trained."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same values, without a gradient."""
        self.fired()
        return {name: value if name == EMBEDDING else value.detach() for name, value in raw.items()}


@planted(clause="training.mode_free", weaker=training.trained_forward)
class NetworkLearnsNothingInTrainingMode(Computes):
    """In training mode only the embeddings in front of the network are trained."""

    def read_in_place_of(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same values, without a gradient."""
        frozen = self.fired(self.training)
        return {name: value.detach() if frozen and name != EMBEDDING else value for name, value in raw.items()}


@planted(clause="injection.same_for_all_rows", weaker=answers.alone)
class LstmReadsAllRowsAsOne(PlantedPrompt):
    """The LSTM begins each row with the state in which it ended the one before."""

    def front(self, rows: int) -> Tensor:
        """One long sequence of virtual tokens, cut into rows."""
        if self.collapsed is not None or not self.fired(rows > 1 and self.shape_of.prefix.lstm_layers):
            return super().front(rows)
        raw = dict(self.named_raw())
        found = self.method.rows(raw | {EMBEDDING: raw[EMBEDDING].repeat(rows, 1)})
        return found.reshape(rows, -1, found.shape[1]).to(self.input_device)


@planted(clause="lifecycle.inference_mode")
class CollapsedWithoutTheNetwork(Saves, PlantedPrompt):
    """What is saved are the embeddings in front of the network."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Write these."""
        self.fired()
        return self.named_raw()[EMBEDDING].detach().cpu()


@planted(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_here)
class NetworkRunOverItsResults(PlantedPrompt):
    """Loaded over an adapter that is being trained, the saved embeddings are put in front of its network."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Run it, if it is not as fresh as a new wrapper's, which is zero."""
        super().load(folder, name)
        raw = dict(self.named_raw())
        if self.fired(name == DEFAULT_ADAPTER and bool(raw[EMBEDDING].any())):
            self.loaded[name] = self.method.rows(raw | {EMBEDDING: load_file(Path(folder) / FILE)["rows"]})
