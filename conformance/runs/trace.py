"""A Trace: what one run was seen to do. And how it is recorded, from outside, with hooks."""

from __future__ import annotations

import dis
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from conformance.compat import caches
from conformance.core.case import Case
from conformance.core.signals import RunFailed
from conformance.devices.place_model import execution_device
from conformance.devices.simulated.transfers import Transfers, transfers, uncounted
from conformance.families import Family
from conformance.families.anatomy import ROTARY
from conformance.families.build import decoder_layers

JUDGED = ("peft", "transformers", "accelerate")
STANDS_IN = (
    "conformance.methods",
    "conformance.faults",
    "conformance.methods.prefix_tuning",
    "conformance.devices",
)
"""Modules of this package whose exceptions are those of what is judged: the reference, its faults, devices that are simulated."""


@dataclass(frozen=True)
class Forward:
    """One forward of the base model as generate or training called it.

    ``query_length`` is the number of input positions, ``cache`` each layer's cache before the forward (copied for the first
    forward of a call, lengths only later), ``positions`` what the position embedding was asked for, ``(rows, queries)``.
    ``transfers`` is the number of tensors that went from one device to another between this forward's start and the next's.
    """

    query_length: int
    cache: tuple[caches.LayerCache, ...]
    mask: tuple[int, ...] | None
    positions: Tensor | None = None
    transfers: int = 0


@dataclass(frozen=True)
class Trace:
    """Tokens ``(rows, steps)``, logits ``(rows, steps, vocabulary)``, and every forward that made them.

    ``final`` is the returned cache, ``loss`` the training loss where labels were given, ``modified_inputs`` the arguments whose
    tensors the call has changed, ``layer_devices`` where each decoder layer computes, ``error`` the error of a right computation of
    this Case in logits (``None``: over the cap), found only when asked for. With several beams logits are those of every
    beam, ``(rows * beams, steps, vocabulary)``. All tensors are on the CPU.
    """

    case: Case
    tokens: Tensor
    logits: Tensor
    error: Callable[[], float | None]
    forwards: tuple[Forward, ...] = ()
    final: tuple[caches.LayerCache, ...] = ()
    loss: float | None = None
    modified_inputs: tuple[str, ...] = ()
    layer_devices: tuple[str, ...] = ()

    def row(self, index: int) -> Trace:
        """One row of it, as a batch of one."""
        return replace(self, tokens=self.tokens[index : index + 1], logits=self.logits[index : index + 1])

    def steps(self, count: int) -> Trace:
        """Its first ``count`` steps."""
        return replace(self, tokens=self.tokens[:, :count], logits=self.logits[:, :count])


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


def failed(call: str, error: Exception, layer_ran: bool) -> RunFailed:
    """What an exception of the judged code means: a refusal in words, or a crash."""
    return RunFailed(call, error, _where(error.__traceback__), refused=not layer_ran and _refuses(error))


def ours(error: Exception) -> bool:
    """Whether no judged code took part in it: raised by this package, elsewhere than in what is judged in PEFT's place."""
    last = _last(error.__traceback__)
    if _where(error.__traceback__) or last is None:
        return False
    module = str(last.tb_frame.f_globals.get("__name__", ""))
    return module.startswith("conformance.") and not module.startswith(STANDS_IN)


def _last(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def _package(frame: FrameType) -> str | None:
    # By the module's name: a checkout may lie in a folder called `peft`, with torch installed inside it.
    name = str(frame.f_globals.get("__name__", "")).partition(".")[0]
    return name if name in JUDGED else None


def _where(traceback: TracebackType | None) -> str:
    """The innermost line of judged code: ``peft/peft_model.py:890 get_prompt``."""
    place = ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        package = _package(traceback.tb_frame)
        if package:
            inside = Path(code.co_filename).as_posix().rpartition(f"/{package}/")[2]
            place = f"{package}/{inside}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return place


def _refuses(error: Exception) -> bool:
    """Whether a ``raise`` statement of judged code, not an assertion, says in words what cannot work."""
    import re

    last = _last(error.__traceback__)
    if last is None or isinstance(error, AssertionError) or not _package(last.tb_frame):
        return False
    raised = dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
    # An argument, a feature or a class: `quoted`, snake_case, CamelCase or UPPER_CASE.
    return raised and bool(re.search(r"`.+`|'\w+'|[a-z]+_[a-z]+|[A-Z][a-z]+[A-Z]\w+|[A-Z]+_[A-Z]+", str(error)))
