"""How a Trace is recorded: from outside, with hooks on the base model, whatever is wrapped around it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from conformance.compat import caches
from conformance.core.case import Case
from conformance.devices.place_model import execution_device
from conformance.devices.simulated.transfers import Transfers, transfers, uncounted
from conformance.families import Family
from conformance.families.anatomy import ROTARY
from conformance.families.build import decoder_layers
from conformance.runs.trace import Forward


@dataclass
class Recorder:
    """What the hooks saw so far."""

    forwards: list[Forward] = field(default_factory=list)
    positions: list[Tensor] = field(default_factory=list)
    layer_ran: bool = False
    transfers: Transfers = field(default_factory=Transfers)
    moved: list[int] = field(default_factory=list)

    def finished(self) -> tuple[Forward, ...]:
        """The forwards, each with the positions that were seen in it, and what was moved."""
        positions = [*self.positions, *[None] * len(self.forwards)]
        totals = [*self.moved, self.transfers.count]
        moved = [after - before for before, after in pairwise(totals)]
        return tuple(
            replace(seen, positions=at, transfers=count)
            for seen, at, count in zip(self.forwards, positions, moved, strict=False)
        )


@contextmanager
def recording(base: nn.Module, family: Family, case: Case) -> Iterator[Recorder]:
    """Record every forward of ``base`` within the block."""
    recorder = Recorder()

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found = caches.read(caches.given(module, kwargs), case.roles.layers, case.roles.kv_heads)
        recorder.moved.append(recorder.transfers.count)
        with uncounted():
            recorder.forwards.append(
                Forward(
                    query_length=_query_length(args, kwargs),
                    cache=tuple(layer.brief() for layer in found) if recorder.forwards else caches.snapshot(found),
                    mask=tuple(mask.shape) if isinstance(mask := kwargs.get("attention_mask"), Tensor) else None,
                )
            )

    def layer(module: nn.Module, args: tuple[Any, ...]) -> None:
        recorder.layer_ran = True

    hooks = [base.register_forward_pre_hook(before, with_kwargs=True)]
    hooks.append(decoder_layers(base, family)[0].register_forward_pre_hook(layer))
    # Of a placed model the table of positions may wait on disk.
    hooks.extend([] if case.placed else _position_hooks(base, family, recorder))
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
    names = ("decoder_input_ids", "decoder_inputs_embeds", "input_ids", "inputs_embeds")
    given = [kwargs[name] for name in names if isinstance(kwargs.get(name), Tensor)] or [
        a for a in args if isinstance(a, Tensor)
    ]
    return int(given[0].shape[1]) if given else 0


def _position_hooks(base: nn.Module, family: Family, recorder: Recorder) -> list[Any]:
    if family.anatomy.positions == "rotary":
        rotary = _rotary(base)
        return [rotary.register_forward_pre_hook(_rotary_hook(recorder), with_kwargs=True)] if rotary else []
    if family.anatomy.positions == "learned":
        return [base.get_submodule(family.anatomy.table).register_forward_hook(_table_hook(recorder))]
    return []


_rotaries: WeakKeyDictionary[nn.Module, nn.Module | None] = WeakKeyDictionary()


def _rotary(base: nn.Module) -> nn.Module | None:
    """The module that makes the angles, looked for once per model."""
    if base not in _rotaries:
        _rotaries[base] = next((m for name, m in base.named_modules() if name.endswith(ROTARY)), None)
    return _rotaries[base]


def _rotary_hook(recorder: Recorder) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        given = [
            t for t in (*args, *kwargs.values()) if isinstance(t, Tensor) and not t.is_floating_point() and t.ndim > 1
        ]
        # Families with two kinds of layers ask twice per forward for the same positions.
        if given and len(recorder.positions) < len(recorder.forwards):
            recorder.positions.append(given[0].detach().clone())

    return hook


def _table_hook(recorder: Recorder) -> Callable[..., None]:
    def hook(module: nn.Module, args: tuple[Any, ...], output: Tensor) -> None:
        # Which rows of the table were read, whatever the arguments were called: the drawn rows differ from each other.
        table = module.weight.detach()  # type: ignore[operator]
        rows = (output.detach().unsqueeze(-2) == table).all(-1).int().argmax(-1)
        recorder.positions.append(rows - getattr(module, "offset", 0))

    return hook
