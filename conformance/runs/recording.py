"""How a Trace is recorded: from outside, with hooks on the base model, whatever is wrapped around it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor, nn

from conformance.compat import caches
from conformance.core.case import Case
from conformance.devices.place_model import execution_device
from conformance.devices.simulated.transfers import Transfers, transfers, uncounted
from conformance.families import Family
from conformance.families.anatomy import position_hooks
from conformance.families.build import decoder_layers
from conformance.runs.trace import Forward

READ = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
"""The arguments that say what a decoder reads, the first of which counts that is given."""


@dataclass
class Recorder:
    """What the hooks saw so far: of each forward its queries, caches and mask."""

    forwards: list[tuple[int, tuple[caches.LayerCache, ...], tuple[int, ...] | None]] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    embeddings: Tensor | None = None
    layer_ran: bool = False
    transfers: Transfers = field(default_factory=Transfers)
    moved: list[int] = field(default_factory=list)

    def note(self, positions: Tensor) -> None:
        """What the base model asked for in this forward, once: families with two kinds of layers ask twice."""
        if len(self.positions) < len(self.forwards):
            self.positions.append(positions)

    def read(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """A forward that is given embeddings in place of tokens; a copy of the first ones is kept."""
        given = kwargs.get("inputs_embeds")
        if self.embeddings is None and isinstance(given, Tensor):
            self.embeddings = given.detach().cpu().clone()

    def finished(self) -> tuple[Forward, ...]:
        """The forwards, each with the positions that were seen in it, and what was moved."""
        positions = [*self.positions, *[None] * len(self.forwards)]
        totals = [*self.moved, self.transfers.count]
        moved = [after - before for before, after in pairwise(totals)]
        return tuple(
            Forward(*seen, positions=at, transfers=count)
            for seen, at, count in zip(self.forwards, positions, moved, strict=False)
        )


@contextmanager
def recording(base: nn.Module, family: Family, case: Case) -> Iterator[Recorder]:
    """Record every forward of ``base`` within the block."""
    recorder = Recorder()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found = caches.read_cache(caches.given(module, kwargs), case.roles.layers, case.roles.kv_heads)
        recorder.moved.append(recorder.transfers.count)
        if recorder.forwards:
            held = tuple([layer.brief() for layer in found])
        else:
            with uncounted():
                held = caches.snapshot(found)
        mask = kwargs.get("attention_mask")
        shape = tuple(mask.shape) if isinstance(mask, Tensor) else None
        recorder.forwards.append((_query_length(args, kwargs), held, shape))

    def layer(module: nn.Module, args: tuple[Any, ...]) -> None:
        recorder.layer_ran = True
        ran.remove()

    hooks = [base.register_forward_pre_hook(before, with_kwargs=True)]
    model: Any = base
    ran = decoder_layers(base, family)[0].register_forward_pre_hook(layer)
    hooks.append(ran)
    if not case.placed:
        reader = model.get_encoder() if family.encoder_decoder else model
        hooks.append(reader.register_forward_pre_hook(recorder.read, with_kwargs=True))
    # Of a placed model the table of positions may wait on disk.
    hooks.extend([] if case.placed else position_hooks(base, family, recorder.note))
    try:
        with transfers() as recorder.transfers:
            yield recorder
    finally:
        for hook in hooks:
            hook.remove()


def layer_devices(base: nn.Module, family: Family) -> tuple[str, ...]:
    """Where each decoder layer computes."""
    return tuple(str(execution_device(layer)) for layer in decoder_layers(base, family))


def _query_length(args: tuple[Any, ...], kwargs: dict[str, Any]) -> int:
    given = (*(kwargs.get(name) for name in READ), *args)
    return next((int(read.shape[1]) for read in given if isinstance(read, Tensor)), 0)
