"""A subject: a base model as the user's code would hold it, bare or wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from conformance.compat.caches import bytes_of
from conformance.core.case import Case
from conformance.core.signals import NotApplicable
from conformance.devices.place_model import input_device, place_model
from conformance.families import family_named
from conformance.families.build import build
from conformance.families.precision import autocasting
from conformance.methods import method_named
from conformance.methods.method import DEFAULT_ADAPTER, Layout
from conformance.runs.judged_code import with_positions
from conformance.runs.trainer import by_trainer

Before = Callable[[Any], object]
"""What is done with the base model before anything is wrapped around it."""


def as_it_is(base: Any) -> None:
    """Nothing."""


class Subject:
    """A base model, wrapped or (with a prefix of length 0) bare, as the user's code would hold it.

    ``model`` is what is called; ``base`` is the model of transformers inside, where hooks are put.
    """

    maker = "base"
    found_by = "conformance.runs.makers:maker_named"
    """The function by which another process finds this maker, given its name."""
    mended: tuple[str, ...] = ()
    """The known failures that are mended in its subjects."""

    def __init__(self, case: Case, before: Before = as_it_is) -> None:
        self.case, self.family = case, family_named(case.family)
        self.method = method_named(case.method)
        self.base: Any = place_model(build(self.built(case)), case, self.family)
        before(self.base)
        self.model: Any = self.base

    @classmethod
    def built(cls, case: Case) -> Case:
        """The Case of the base model that is built: a LoRA that it has is merged into it by hand."""
        return case

    @classmethod
    def layout(cls, case: Case) -> Layout:
        """Which row of the adapter serves which layer."""
        return method_named(case.method).layout(case)

    @property
    def input_device(self) -> torch.device:
        """Where the user puts the request."""
        return input_device(self.base) if self.case.placed else torch.device("cpu")

    def forward(self, *text: Tensor, **request: Any) -> Any:
        """The training path; ``text`` are tokens that are passed without a name."""
        return self.model(*text, **request)

    def generate(self, *text: Tensor, **request: Any) -> Any:
        """Generate, greedily unless ``request`` says otherwise; returns sequences, per-step logits and the cache.

        ``text`` are tokens that are passed without a name.
        """
        settings = {"do_sample": False, "num_beams": 1, "return_dict_in_generate": True, "output_logits": True}
        if "generation_config" in request:
            # Whoever passes a config says all of it there: both is deprecated.
            request["generation_config"].update(**settings)
            return with_positions("generate", self.model.generate, *text, **request)
        return with_positions("generate", self.model.generate, *text, **(settings | request))

    def train(self, batch: dict[str, Tensor], folder: Path, resume: int = 0, smoothing: float = 0.0) -> list[float]:
        """As :func:`conformance.runs.trainer.by_trainer`; of a bare model everything is trained."""
        self.model.requires_grad_(True)
        return by_trainer(self.model, batch, folder, resume, smoothing)

    @contextmanager
    def in_mode_of(self, case: Case) -> Iterator[None]:
        """Inside, the model is in the mode that ``case`` says, and under autocast if it does; else it is in evaluation mode."""
        if case.mode == "train":
            self.model.train()
        try:
            with autocasting(case):
                yield
        finally:
            if case.mode == "train":
                self.model.eval()

    def bare(self) -> Subject:
        """The model inside, used by itself."""
        inside = object.__new__(Subject)
        # Not built anew: the point is to use the very modules that the wrapper has used.
        inside.case, inside.family, inside.base, inside.model = self.case, self.family, self.base, self.base
        return inside

    def unload(self) -> Any:
        """Take the adapters away; gives the base model back, as the user would have it."""
        raise NotApplicable("a bare model has no adapter to take away")

    def unloaded(self) -> Subject:
        """The model that :meth:`unload` gives back, used by itself."""
        left = self.bare()
        left.model = self.unload()
        return left

    def raw(self) -> dict[str, Tensor]:
        """The adapter's raw parameters as they are now, copied; read by name, through no code of the wrapper's."""
        return {name: value.detach().cpu().clone() for name, value in self.parameters().items()}

    def rows_of(self, adapter: str) -> Tensor:
        """The flat rows of ``adapter`` as its parameters make them now, copied, by our own arithmetic."""
        return self.method.rows(self.parameters(adapter)).detach().cpu().clone()

    def parameters(self, adapter: str | None = None) -> dict[str, nn.Parameter]:
        """The parameters of ``adapter``, by default of the active one, by their plain names."""
        return {}

    def learning(self) -> dict[str, nn.Parameter]:
        """Those of the adapter's parameters that are trained, by their plain names."""
        return {name: parameter for name, parameter in self.parameters().items() if parameter.requires_grad}

    def fill(self, values: Callable[[str, tuple[int, ...]], Tensor], adapter: str | None = None) -> None:
        """Set every raw parameter of ``adapter``, by default of the active one, to ``values(name, shape)``, in place."""
        with torch.no_grad():
            for name, parameter in self.parameters(adapter).items():
                parameter.copy_(values(name, tuple(parameter.shape)))

    @contextmanager
    def restored(self) -> Iterator[None]:
        """After the block the adapter's parameters have the values of before, copied in place."""
        before = self.raw()
        try:
            yield
        finally:
            self.fill(lambda name, shape: before[name])

    def contents(self) -> dict[str, object]:
        """All it is made of, by name: the bytes of every parameter and buffer, and both configs."""
        held = {**self.base.state_dict(), **{f"adapter {name}": p for name, p in self.parameters().items()}}
        held.update((f"buffer {name}", buffer) for name, buffer in self.base.named_buffers())
        found: dict[str, object] = {name: bytes_of(value) for name, value in held.items()}
        found["the config"] = self.base.config.to_dict()
        found["the generation config"] = self.base.generation_config.to_dict()
        return found

    def adapters(self) -> list[str]:
        """The names of its adapters."""
        return []

    def active(self) -> str:
        """The name of the adapter that answers, if there is any."""
        return ""

    def replaced_methods(self) -> list[str]:
        """The methods of the base model that are not those of its class: what was put in their place, and is there still."""
        base, kind = self.base, type(self.base)
        held = [name for name, value in vars(base).items() if callable(value) and hasattr(kind, name)]
        return [name for name in held if getattr(base, name) != getattr(kind, name).__get__(base)]

    def disabled(self) -> AbstractContextManager[Any]:
        """Inside, the adapter is off."""
        return nullcontext()

    def collapsed(self) -> Tensor:
        """The flat rows of a loaded adapter, as inference mode holds them, ``(n, 2 * L * kv_heads * head_dim)``."""
        return self.method.inference_rows(self.raw())

    def save(self, folder: Path) -> None:
        """Save the adapter as the user would."""
        raise NotApplicable("a bare model has no adapter to save")

    @classmethod
    def load(cls, case: Case, folder: Path, sparing: bool = False) -> Subject:
        """The same base model with the adapter loaded from ``folder``; ``sparing``: with as little memory as it takes."""
        raise NotApplicable("a bare model has no adapter to load")

    def load_live(self, folder: Path, name: str = DEFAULT_ADAPTER, trained: bool = False) -> None:
        """Load the adapter in ``folder`` into this very model, under ``name``; ``trained``: to be trained on."""
        raise NotApplicable("a bare model has no adapter to load")

    def add(self, case: Case, name: str) -> None:
        """Add the adapter that ``case`` says to this very model, under ``name``, with values of its maker's own."""
        raise NotApplicable("a bare model has no adapter beside which there could be another")

    def hold_cache(self, cache: Any) -> None:
        """The active adapter is told to hold the first keys and values of a ``cache`` of the base model."""
        raise NotApplicable("a bare model has no adapter to hold a cache")

    def hold_text(self, tokenizer: Any, text: str) -> None:
        """The active adapter is told to hold the first keys and values of ``text``."""
        raise NotApplicable("a bare model has no adapter to hold a text")

    def switch(self, name: str) -> None:
        """From now on the adapter called ``name`` answers."""
        raise NotApplicable("a bare model has no adapter to switch to")

    def remove(self, name: str) -> None:
        """Delete the adapter called ``name``, of several."""
        raise NotApplicable("a bare model has no adapter to delete")
