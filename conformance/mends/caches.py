"""Mends of how the prefix comes into the cache, and of how wide and deep it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from typing import Any
from unittest import mock

from torch import Tensor, nn

from conformance.compat import caches
from conformance.mends.generating import IN_THE_CACHE, inside_all_wrappers
from conformance.methods.keys_values import KeysAndValues
from conformance.runs.patching import around, taken_from

SIZING = "_prepare_prompt_learning_config"
STACKS = 2
"""What PEFT counts where there are an encoder and a decoder."""


@contextmanager
def old_name() -> Iterator[None]:
    """What generate gives and takes as ``cache`` is ``past_key_values`` for PEFT, and only for it."""

    def mended(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        new = False

        def old(arguments: dict[str, Any]) -> dict[str, Any]:
            nonlocal new
            new = caches.NEW in arguments and caches.argument(inside_all_wrappers(self)) == caches.NEW
            return _renamed(arguments, caches.NEW, caches.OLD) if new else arguments

        with taken_from(self, "base_model_prepare_inputs_for_generation", old):
            arguments = prepare(self, *args, **kwargs)
        return _renamed(arguments, caches.OLD, caches.NEW) if new else arguments

    name = "prepare_inputs_for_generation"
    with around("peft:PeftModelForCausalLM", name, mended), around("peft:PeftModelForSeq2SeqLM", name, mended):
        yield


def _renamed(arguments: dict[str, Any], one: str, other: str) -> dict[str, Any]:
    return {other if name == one else name: value for name, value in arguments.items()}


@contextmanager
def heads_have_a_size() -> Iterator[None]:
    """The width of the prefix is the number of heads times their own size, where a config has one: ``d_kv`` or ``head_dim``."""

    def mended(original: Any, peft_config: Any, model_config: Any) -> Any:
        fields = model_config if isinstance(model_config, dict) else model_config.to_dict()
        heads = fields.get("num_attention_heads") or fields.get("num_heads")
        size = fields.get("d_kv") or fields.get("head_dim")
        # Embeddings are as wide as the model, whatever its heads are.
        if peft_config.peft_type in IN_THE_CACHE and peft_config.token_dim is None and heads and size:
            peft_config.token_dim = heads * size
        return original(peft_config, model_config)

    with _sizing(mended):
        yield


@contextmanager
def _sizing(mended: Callable[..., Any]) -> Iterator[None]:
    """Within the block PEFT sizes a prefix as ``mended`` says, in each module that does so: up to 0.14 there are two."""
    with ExitStack() as stack:
        for owner in ("peft.mapping", "peft.peft_model"):
            if hasattr(import_module(owner), SIZING):
                stack.enter_context(around(owner, SIZING, mended))
        yield


@contextmanager
def rows_of_their_own() -> Iterator[None]:
    """Each decoder layer reads two rows of its own, and there are rows for the decoder's layers only."""

    def sized(original: Any, peft_config: Any, model_config: Any) -> Any:
        fields = model_config if isinstance(model_config, dict) else model_config.to_dict()
        if "num_decoder_layers" in fields and peft_config.num_layers is None:
            peft_config.num_layers = fields["num_decoder_layers"]
        return original(peft_config, model_config)

    def get_prompt(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        config = self.active_peft_config
        if config.peft_type not in IN_THE_CACHE or config.num_transformer_submodules != STACKS:
            return original(self, *args, **kwargs)
        layers = config.num_layers
        # PEFT repeats all rows, and deals them out by four, of which a layer uses the first two: let these be its own.
        with (
            mock.patch.object(config, "num_layers", 2 * layers),
            _each_pair_twice(self, layers, config.inference_mode),
        ):
            cache = original(self, *args, **kwargs)
        del cache.self_attention_cache.layers[layers:]
        return cache

    with (
        _sizing(sized),
        around("peft:PeftModel", "get_prompt", get_prompt),
        mock.patch.object(KeysAndValues, "peft_layout", lambda method, case, family: method.layout(case)),
    ):
        yield


@contextmanager
def _each_pair_twice(model: Any, layers: int, inference_mode: bool) -> Iterator[None]:
    """The rows of the prompt encoder, two for each of ``layers``, come as pairs, each pair twice in a row."""
    encoder = model.prompt_encoder[model.active_adapter]

    def twice(flat: Tensor) -> Tensor:
        pairs: Tensor = flat.unflatten(-1, (layers, -1))
        return pairs.repeat_interleave(2, dim=-2).flatten(-2)

    if inference_mode:
        # PEFT then reads the rows in place of calling the encoder, which may make a new embedding whenever it is asked.
        stand_in = nn.Module()
        stand_in.embedding = nn.Module()
        stand_in.embedding.weight = twice(encoder.embedding.weight)
        with mock.patch.dict(model.prompt_encoder._modules, {model.active_adapter: stand_in}):
            yield
        return
    hook = encoder.register_forward_hook(lambda module, given, rows: twice(rows))
    try:
        yield
    finally:
        hook.remove()
