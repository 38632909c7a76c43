"""An executable definition of prefix attention: decoders in plain tensor algebra, float64, no model code of anybody's.

Keys of virtual tokens are used as they are (never rotated), are visible to every query, and shift positions by n. Virtual tokens
that are embeddings are read like tokens.
Sources: Vaswani et al. 2017; Su et al. 2021 (RoPE); Ainslie et al. 2023 (GQA); Li and Liang 2021.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gelu, relu, silu

from conformance.compat.configs import SCALED, THETA
from conformance.core.case import Case, Roles
from conformance.core.signals import NotApplicable
from conformance.families import Family
from conformance.methods.method import Injected
from conformance.oracles.decoder import answers, types_given

Weights = dict[str, Tensor]
KeyValue = tuple[Tensor, Tensor]


class Front(NamedTuple):
    """What is in front of the text: each layer's keys and values, or embeddings ``(n, hidden)``; and its ``types``, if given."""

    filled: list[KeyValue]
    embeddings: Tensor
    types: Tensor | None = None

    def before(self, layer: int) -> KeyValue | None:
        """The keys and values of a layer, if there are any."""
        return self.filled[layer] if self.filled else None

    def read(self, table: Tensor, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings from the ``table``, those in front of the text included, and the positions of all of them."""
        start = self.filled[0][0].shape[1] if self.filled else 0
        embedded = torch.cat([self.embeddings.to(table.dtype), table[ids]])
        return embedded, torch.arange(start, start + len(embedded))


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": silu,
    "gelu": gelu,
    "relu": relu,
    "gelu_new": lambda x: gelu(x, approximate="tanh"),
}
RMS_EPSILON, LAYER_EPSILON = 1e-6, 1e-5


def plain_attention(base: Any, family: Family, case: Case, tokens: Tensor, injected: Injected) -> Tensor:
    """Logits ``(rows, steps, vocabulary)`` in float64, each row in one pass. Not for every family: see ``DECODERS``."""
    decoder = DECODERS.get(family.model)
    if decoder is None:
        raise NotApplicable("no decoder in plain tensor algebra for this family")
    weights = {name: value.detach().double() for name, value in base.state_dict().items()}
    steps, read = tokens.shape[1], answers(family, case, tokens)
    fronts = [_front(injected.of(row), case, len(ids)) for row, ids in zip(case.rows, read, strict=True)]
    logits = [decoder(weights, case.roles, ids, front)[-steps:] for ids, front in zip(read, fronts, strict=True)]
    return torch.stack(logits)


def _front(injected: Injected, case: Case, count: int) -> Front:
    return Front(
        [(keys[0].double(), values[0].double()) for keys, values in injected.cache],
        torch.zeros(0, case.roles.width) if injected.embeddings is None else injected.embeddings[0].double(),
        types_given(case, injected, count),
    )


def attend(q: Tensor, k: Tensor, v: Tensor, before: KeyValue | None) -> Tensor:
    """Softmax attention of ``q`` ``(heads, t, d)`` over n virtual and t real positions; ``k``, ``v`` ``(kv_heads, t, d)``."""
    if before is not None:
        k, v = torch.cat([before[0], k], dim=1), torch.cat([before[1], v], dim=1)
    group = q.shape[0] // k.shape[0]
    k, v = k.repeat_interleave(group, dim=0), v.repeat_interleave(group, dim=0)
    t, n = q.shape[1], k.shape[1] - q.shape[1]
    visible = torch.arange(n + t)[None] <= n + torch.arange(t)[:, None]
    scores = (q @ k.transpose(1, 2) / math.sqrt(q.shape[-1])).masked_fill(~visible, -math.inf)
    return scores.softmax(-1) @ v


def frequencies(roles: Roles) -> Tensor:
    """Radians per position for each pair of a head's dimensions, shape ``(head_dim / 2,)``."""
    exponents = torch.arange(0, roles.head_dim, 2, dtype=torch.float64) / roles.head_dim
    plain = torch.pow(torch.tensor(THETA, dtype=torch.float64), -exponents)
    scaling = SCALED[roles.rope or "default"]
    if roles.rope == "linear":
        slower: float = scaling["factor"]
        return plain / slower
    if roles.rope == "llama3":
        return _by_wavelength(plain, **scaling)
    return plain


def _by_wavelength(
    plain: Tensor, factor: float, low_freq_factor: float, high_freq_factor: float, original_max_position_embeddings: int
) -> Tensor:
    """Llama 3.1: long waves are slowed by ``factor``, short ones kept, those between blended."""
    turns = original_max_position_embeddings * plain / (2 * math.pi)
    blend = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0, 1)
    return (1 - blend) * plain / factor + blend * plain


def rotate(x: Tensor, positions: Tensor, roles: Roles) -> Tensor:
    """Rotate the pairs (i, i + d/2) of ``x`` ``(heads, t, d)`` by position x frequency."""
    angle = positions[:, None] * frequencies(roles)
    first, second = x.chunk(2, dim=-1)
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def _heads(x: Tensor, count: int) -> Tensor:
    return x.reshape(x.shape[0], count, -1).transpose(0, 1)


def _joined(x: Tensor) -> Tensor:
    return x.transpose(0, 1).flatten(1)


def _rms(x: Tensor, weight: Tensor) -> Tensor:
    return x * (x.pow(2).mean(-1, keepdim=True) + RMS_EPSILON).rsqrt() * weight


def _layer_norm(x: Tensor, weights: Weights, name: str) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred * (centred.pow(2).mean(-1, keepdim=True) + LAYER_EPSILON).rsqrt()
    return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def llama(weights: Weights, roles: Roles, ids: Tensor, front: Front) -> Tensor:
    """Llama and Qwen2: RMS norm, rotary positions, grouped queries, gated feed-forward; biases where there are any."""
    x, positions = front.read(weights["model.embed_tokens.weight"], ids)
    for i in range(roles.layers):

        def linear(y: Tensor, name: str, layer: str = f"model.layers.{i}") -> Tensor:
            bias = weights.get(f"{layer}.{name}.bias")
            out = y @ weights[f"{layer}.{name}.weight"].T
            return out if bias is None else out + bias

        y = _rms(x, weights[f"model.layers.{i}.input_layernorm.weight"])
        q = rotate(_heads(linear(y, "self_attn.q_proj"), roles.heads), positions, roles)
        k = rotate(_heads(linear(y, "self_attn.k_proj"), roles.kv_heads), positions, roles)
        v = _heads(linear(y, "self_attn.v_proj"), roles.kv_heads)
        x = x + linear(_joined(attend(q, k, v, front.before(i))), "self_attn.o_proj")
        y = _rms(x, weights[f"model.layers.{i}.post_attention_layernorm.weight"])
        gate = ACTIVATIONS[roles.activation](linear(y, "mlp.gate_proj"))
        x = x + linear(gate * linear(y, "mlp.up_proj"), "mlp.down_proj")
    return _rms(x, weights["model.norm.weight"]) @ weights["lm_head.weight"].T


def gpt2(weights: Weights, roles: Roles, ids: Tensor, front: Front) -> Tensor:
    """GPT-2: layer norm, learned positions, one projection for queries, keys and values."""
    x, positions = front.read(weights["transformer.wte.weight"], ids)
    x = x + weights["transformer.wpe.weight"][positions]
    if front.types is not None:
        x = x + weights["transformer.wte.weight"][front.types]
    for i in range(roles.layers):

        def linear(y: Tensor, name: str, layer: str = f"transformer.h.{i}") -> Tensor:
            return y @ weights[f"{layer}.{name}.weight"] + weights[f"{layer}.{name}.bias"]

        y = _layer_norm(x, weights, f"transformer.h.{i}.ln_1")
        q, k, v = (_heads(part, roles.heads) for part in linear(y, "attn.c_attn").chunk(3, dim=-1))
        x = x + linear(_joined(attend(q, k, v, front.before(i))), "attn.c_proj")
        y = _layer_norm(x, weights, f"transformer.h.{i}.ln_2")
        x = x + linear(ACTIVATIONS[roles.activation](linear(y, "mlp.c_fc")), "mlp.c_proj")
    return _layer_norm(x, weights, "transformer.ln_f") @ weights["lm_head.weight"].T


DECODERS: dict[str, Callable[[Weights, Roles, Tensor, Front], Tensor]] = {
    "LlamaForCausalLM": llama,
    "Qwen2ForCausalLM": llama,
    "GPT2LMHeadModel": gpt2,
}
