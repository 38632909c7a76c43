"""Case -> base model: tiny, seeded, in evaluation mode, answering at full length."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache, lru_cache
from typing import Any, cast

import torch
from torch import Tensor, nn

from conformance.core.case import PAD, START, VOCABULARY, Case, base_of
from conformance.families import Family, family_named
from conformance.families.anatomy import check_anatomy
from conformance.families.copying import copies_of
from conformance.families.derive import config_fields
from conformance.families.inputs import inputs_of
from conformance.families.lora import merge
from conformance.families.presence import named
from conformance.families.weights import redraw


def config(case: Case) -> Any:
    """The tiny config. Raises :class:`~conformance.core.signals.NotApplicable` where this release cannot say a role."""
    family = family_named(case.family)
    whole, text = named(family.config), named(family.text_config or family.config)
    fields = config_fields(family, case.roles, text)
    return whole(text_config=text(**fields), **family.fix) if family.text_config else whole(**fields)


def build(case: Case) -> nn.Module:
    """The base model of ``case``. Two calls give two equal models that share nothing."""
    return _copies(base_of(case))()


@lru_cache(maxsize=512)
def _copies(case: Case) -> Callable[[], nn.Module]:
    return copies_of(_new(case))


def _new(case: Case) -> nn.Module:
    family = family_named(case.family)
    tiny = config(case)
    if case.attention != "default":
        tiny._attn_implementation = case.attention
    # Buffers that are random or uninitialised after __init__ would differ between two builds.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = named(family.model)(tiny)
    check_anatomy(model, family, case.roles.layers)
    redraw(model, case.seed)
    inputs_of(family).redraw(model)
    if case.stacked != "alone":
        merge(model, family, case.seed)
    # Frozen from the start, as prompt learning freezes it: torch takes other kernels, with other last bits, otherwise.
    model = model.to(getattr(torch, case.dtype)).eval().requires_grad_(False)
    plain_generation(model, family)
    return cast("nn.Module", model)


def plain_generation(model: Any, family: Family) -> None:
    """Greedy, one beam, no end token, nothing forced or suppressed, whatever the class's defaults are."""
    settings = model.generation_config
    settings.pad_token_id, settings.bos_token_id, settings.eos_token_id = PAD, START, None
    settings.do_sample, settings.num_beams = False, 1
    settings.forced_bos_token_id = settings.forced_eos_token_id = None
    settings.suppress_tokens = settings.begin_suppress_tokens = None
    if family.encoder_decoder:
        settings.decoder_start_token_id = START


def decoder_layers(model: nn.Module, family: Family) -> list[nn.Module]:
    """The layers that own a self-attention cache, in order."""
    return list(cast("nn.ModuleList", model.get_submodule(family.anatomy.layers)))


def parameters_of_forward(model: nn.Module) -> frozenset[str]:
    """The names that the forward of ``model`` accepts."""
    return _parameters(type(model).forward)


def takes(family: Family, argument: str) -> bool:
    """Whether the forward of the family's models has a parameter called ``argument``."""
    return argument in _parameters(named(family.model).forward)


@cache
def _parameters(forward: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(forward).parameters)


@torch.no_grad()
def embeddings_of(base: Any) -> Tensor:
    """What ``base`` reads in place of each token, ``(vocabulary, hidden)``: some models scale their embeddings."""
    found: Tensor = base.get_input_embeddings()(torch.arange(VOCABULARY))
    return found
