"""Mends of loading an adapter into a live model, also to go on with its training."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from conformance.runs.patching import Patched, around


@contextmanager
def loaded_over_a_projection() -> Iterator[None]:
    """A projection gives way to what is saved in its place: the rows that it made."""

    def mended(load: Any, self: Any, state: dict[str, Tensor]) -> Any:
        rows = state["prompt_embeddings"]
        if self.prefix_projection and rows.shape != self.embedding.weight.shape:
            held = self.embedding.weight
            count, width = rows.shape
            self.embedding = nn.Embedding(count, width, device=held.device, dtype=held.dtype)
            self.prefix_projection = False
            del self.transform
        return load(self, state)

    with around("peft:PrefixEncoder", "_load_adapter_state_dict", mended):
        yield


@contextmanager
def loaded_to_answer_is_frozen() -> Iterator[None]:
    """Of a prompt encoder whose adapter is loaded for inference nothing requires a gradient."""

    def mended(setup: Any, self: Any, adapter_name: str) -> Any:
        result = setup(self, adapter_name)
        if self.peft_config[adapter_name].inference_mode:
            self.prompt_encoder[adapter_name].requires_grad_(False)
        return result

    with around("peft:PeftModel", "_setup_prompt_encoder", mended):
        yield


@contextmanager
def as_wide_as_the_base_model() -> Iterator[None]:
    """Around a base model in float64 a prompt encoder is in float64, too; around any other in float32, as it was."""

    def mended(setup: Any, self: Any, adapter_name: str) -> Any:
        result = setup(self, adapter_name)
        held = self.base_model_torch_dtype or torch.float32
        self.prompt_encoder[adapter_name].to(torch.promote_types(held, torch.float32))
        return result

    with around("peft:PeftModel", "_setup_prompt_encoder", mended):
        yield


@contextmanager
def failed_loading_leaves_nothing() -> Iterator[None]:
    """Where loading an adapter under a new name fails, that name is not there afterwards."""

    def mended(load: Any, self: Any, model_id: Any, adapter_name: str, *args: Any, **kwargs: Any) -> Any:
        new = adapter_name not in self.peft_config
        try:
            return load(self, model_id, adapter_name, *args, **kwargs)
        except Exception:
            if new and adapter_name in self.peft_config:
                _forget(self, adapter_name)
            raise

    with around("peft:PeftModel", "load_adapter", mended):
        yield


def _forget(model: Any, name: str) -> None:
    # Before 0.21 delete_adapter does not work with virtual tokens.
    if not model.peft_config[name].is_prompt_learning:
        model.delete_adapter(name)
        return
    _drop(model, name)


def _drop(model: Any, name: str) -> None:
    for held in (model.peft_config, model.prompt_encoder, model.prompt_tokens):
        del held[name]


def virtual_tokens_are_deleted() -> Patched:
    """What an adapter of virtual tokens has lies on PEFT's model, which drops it; of the base model nothing is asked."""

    def mended(delete: Any, self: Any, adapter_name: str) -> Any:
        if adapter_name not in self.peft_config or not self.peft_config[adapter_name].is_prompt_learning:
            return delete(self, adapter_name)

        def dropped(adapter_name: str) -> None:
            _drop(self, adapter_name)
            if self.active_adapter == adapter_name:
                self.active_adapter = next(iter(self.peft_config), [])

        with mock.patch.object(self.base_model, "delete_adapter", dropped):
            return delete(self, adapter_name)

    return around("peft:PeftModel", "delete_adapter", mended)


@contextmanager
def loaded_over_a_network() -> Iterator[None]:
    """P-tuning's network gives way to what is saved in its place: the embeddings that it made, which are then parameters."""

    def mended(load: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        encoders, name = getattr(model, "prompt_encoder", {}), kwargs.get("adapter_name", "default")
        encoder: Any = dict(encoders.items()).get(name)
        if hasattr(encoder, "mlp_head"):
            encoder.encoder_type, encoder.mlp_head = "MLP", nn.Identity()
        if hasattr(encoder, "lstm_head"):
            del encoder.lstm_head
        return load(model, *args, **kwargs)

    # Before 0.21 encoders have no function of their own that loads them.
    with around("peft.peft_model", "set_peft_model_state_dict", mended):
        yield


@contextmanager
def text_ends_with_the_prefix() -> Iterator[None]:
    """A text whose first tokens a prefix is to hold is read no further, so that no window drops them."""

    def mended(hold: Any, model: Any, tokenizer: Any, **told: Any) -> Any:
        length = told.get("num_virtual_tokens") or model.active_peft_config.num_virtual_tokens
        return hold(model, tokenizer, **{**told, "max_length": min(length, told.get("max_length") or length)})

    with around("peft", "initialize_kv_prefix_from_text", mended):
        yield


@contextmanager
def virtual_tokens_are_unloaded() -> Iterator[None]:
    """What unload gives back is the base model, in which there are no virtual tokens."""

    def mended(look_up: Any, self: Any, name: str) -> Any:
        try:
            return look_up(self, name)
        except AttributeError:
            if name == "unload" and self.active_peft_config.is_prompt_learning:
                return self.get_base_model
            raise

    with around("peft:PeftModel", "__getattr__", mended):
        yield


PARTS = ("encoder_type", "mlp_head", "lstm_head")
"""What makes the network of P-tuning."""
NETWORK = "network.pt"
"""The file beside a saved adapter in which the mend below keeps what is not saved."""


@contextmanager
def network_is_in_the_checkpoint() -> Iterator[None]:
    """Of P-tuning's network its parameters are saved, too; whoever loads it to train it has them again."""

    def saving(save: Any, self: Any, folder: Any, *args: Any, **kwargs: Any) -> Any:
        result = save(self, folder, *args, **kwargs)
        networks = {name: held for name, held in self.prompt_encoder.items() if hasattr(held, "mlp_head")}
        kept = {name: _kept(self, name, encoder) for name, encoder in networks.items()}
        if kept:
            torch.save(kept, Path(folder) / NETWORK)
        return result

    def loading(load: Any, self: Any, model_id: Any, adapter_name: str, *args: Any, **kwargs: Any) -> Any:
        file = Path(model_id) / NETWORK
        # A new one to be trained is refused before there is any network.
        live = adapter_name in self.prompt_encoder
        if not kwargs.get("is_trainable") or not live or not file.is_file():
            return load(self, model_id, adapter_name, *args, **kwargs)
        encoder = self.prompt_encoder[adapter_name]
        # Another mend may take the network away.
        network = {name: getattr(encoder, name) for name in PARTS if hasattr(encoder, name)}
        result = load(self, model_id, adapter_name, *args, **kwargs)
        for name, part in network.items():
            setattr(encoder, name, part)
        _give_back(encoder, **torch.load(file, weights_only=True)[adapter_name])
        return result

    with around("peft:PeftModel", "save_pretrained", saving), around("peft:PeftModel", "load_adapter", loading):
        yield


def _kept(model: Any, name: str, encoder: nn.Module) -> dict[str, Any]:
    return {"state": encoder.state_dict(), "rows": model.get_prompt_embedding_to_save(name)}


def _give_back(encoder: Any, state: dict[str, Tensor], rows: Tensor) -> None:
    """The parameters ``state``, whose embeddings are as far from theirs as those that were loaded from the saved ``rows``."""
    loaded = encoder.embedding.weight.detach() - rows.to(encoder.embedding.weight)
    encoder.load_state_dict(state)
    with torch.no_grad():
        encoder.embedding.weight += loaded
