"""Wherever the parts of the model are, the answers are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conformance.assertions.placement import (
    as_on_one_device,
    as_spelled_plainly,
    caches_follow_layers,
    requires_places,
    requires_spellings,
    trains_as_on_one_device,
    transfers_bounded,
)
from conformance.clauses.follow_ups import decodings, greedy, greedy_and_beams
from conformance.clauses.preconditions import (
    adapter_made,
    away_or_loaded,
    by_hand,
    made_by_transformers,
    spelled_otherwise,
)
from conformance.clauses.registry import clause
from conformance.core.relations import spelled_plainly
from conformance.core.sources import DISPATCH_DOC

if TYPE_CHECKING:
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

SPLIT = ("huggingface/peft#2134", "huggingface/peft#2189")


@clause(sources=SPLIT, requires=(by_hand,), follow_ups=decodings, placed=True)
def split(lab: Lab, case: Case) -> None:
    """Under any device map under which the base model generates, the wrapped model answers as it does on one device."""
    as_on_one_device(lab, case, "generate answers otherwise under the device map")


@clause(sources=(DISPATCH_DOC,), requires=(spelled_otherwise,), follow_ups=greedy, placed=True)
def spelling(lab: Lab, case: Case) -> None:
    """Renaming devices, reordering keys, merging keys to a parent, int, str or torch.device: no change.

    The source says which spellings there are; that they change nothing is our own claim.
    """
    plain = spelled_plainly(case)
    requires_spellings(case, plain)
    as_spelled_plainly(lab, case, plain, "generate answers otherwise when the same map is spelled otherwise")


@clause(sources=("huggingface/peft#2189",), follow_ups=greedy, placed=True)
def cache_follows_layer(lab: Lab, case: Case) -> None:
    """Each layer's keys and values are where the layer computes, and no step moves more than the base model's and a few.

    Beyond what the base model moves in the same step, the first may move each layer's keys and values once, and any step
    a mask for each layer and a few small tensors: that bound is our own claim.
    """
    requires_places(case)
    got = lab.generate(case)
    caches_follow_layers(got)
    transfers_bounded(lab, got)


@clause(
    sources=("huggingface/peft#3619", "huggingface/peft#1431", DISPATCH_DOC),
    requires=(away_or_loaded,),
    follow_ups=greedy,
    placed=True,
)
def offloaded(lab: Lab, case: Case) -> None:
    """With weights that wait on the CPU or on disk, or an adapter loaded onto a dispatched model, the answers are the same."""
    as_on_one_device(lab, case, "generate answers otherwise with offloaded weights or a loaded adapter")


@clause(
    sources=("huggingface/peft#2134", "huggingface/peft#2821"),
    requires=(made_by_transformers,),
    follow_ups=greedy_and_beams,
    placed=True,
)
def automatic(lab: Lab, case: Case) -> None:
    """With a device_map auto, balanced or sequential, and max_memory, the answers are those on one device."""
    as_on_one_device(lab, case, "generate answers otherwise under an automatic device map")


@clause(
    sources=("huggingface/peft#2189", "huggingface/peft#2821"), requires=(adapter_made,), follow_ups=greedy, placed=True
)
def trains(lab: Lab, case: Case) -> None:
    """The training forward, its loss and the adapter's gradient under a device map are those on one device."""
    trains_as_on_one_device(lab, case)
