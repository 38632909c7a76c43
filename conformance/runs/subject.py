"""Case -> Subject, by one of two makers: PEFT, which is judged, and the reference wrapper, which must always pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import torch
from torch import Tensor, nn

from conformance.compat.caches import bytes_of, static_layers
from conformance.core.case import Case
from conformance.core.signals import NotApplicable
from conformance.devices.current import COUNT, current
from conformance.devices.place_model import input_device, memory, place_model
from conformance.families import family_named
from conformance.families.build import build
from conformance.methods import method_named
from conformance.methods.method import DEFAULT_ADAPTER, Layout

Before = Callable[[Any], object]
"""What is done with the base model before anything is wrapped around it."""


def as_it_is(base: Any) -> None:
    """Nothing."""


class Subject:
    """A base model, wrapped or (with a prefix of length 0) bare, as the user's code would hold it.

    ``model`` is what is called; ``base`` is the model of transformers inside, where hooks are put.
    """

    maker = "base"
    found_by = "conformance.runs.subject:maker_named"
    """The function by which another process finds this maker, given its name."""
    mended: tuple[str, ...] = ()
    """The known failures that are mended in its subjects."""

    def __init__(self, case: Case, before: Before = as_it_is) -> None:
        self.case, self.family = case, family_named(case.family)
        self.method = method_named(case.method)
        self.base: Any = place_model(build(case), case, self.family)
        before(self.base)
        self.model: Any = self.base

    @classmethod
    def layout(cls, case: Case) -> Layout:
        """Which row of the adapter serves which layer."""
        return method_named(case.method).layout(case)

    @property
    def input_device(self) -> torch.device:
        """Where the user puts the request."""
        return input_device(self.base) if self.case.placed else torch.device("cpu")

    def generate(self, **request: Any) -> Any:
        """Generate, greedily unless ``request`` says otherwise; returns sequences, per-step logits and the cache."""
        settings = {"do_sample": False, "num_beams": 1, "return_dict_in_generate": True, "output_logits": True}
        if "generation_config" in request:
            # Whoever passes a config says all of it there: both is deprecated.
            request["generation_config"].update(**settings)
            return self.model.generate(**request)
        return self.model.generate(**(settings | request))

    @contextmanager
    def in_mode_of(self, case: Case) -> Iterator[None]:
        """Inside, the model is in the mode that ``case`` says; before and afterwards in evaluation mode."""
        if case.mode == "train":
            self.model.train()
        try:
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

    def raw(self) -> dict[str, Tensor]:
        """The adapter's raw parameters as they are now, copied; read by name, through no code of the wrapper's."""
        return {name: value.detach().cpu().clone() for name, value in self.parameters().items()}

    def parameters(self) -> dict[str, nn.Parameter]:
        """The adapter's parameters by their plain names."""
        return {}

    def learning(self) -> dict[str, nn.Parameter]:
        """Those of the adapter's parameters that are trained, by their plain names."""
        return {name: parameter for name, parameter in self.parameters().items() if parameter.requires_grad}

    def fill(self, values: Callable[[str, tuple[int, ...]], Tensor]) -> None:
        """Set every raw parameter to ``values(name, shape)``, in place."""
        with torch.no_grad():
            for name, parameter in self.parameters().items():
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
    def load(cls, case: Case, folder: Path) -> Subject:
        """The same base model with the adapter loaded from ``folder``."""
        raise NotApplicable("a bare model has no adapter to load")

    def load_live(self, folder: Path, name: str = DEFAULT_ADAPTER) -> None:
        """Load the adapter in ``folder`` into this very model, under ``name``."""
        raise NotApplicable("a bare model has no adapter to load")

    def add(self, case: Case, name: str) -> None:
        """Add the adapter that ``case`` says to this very model, under ``name``, with values of its maker's own."""
        raise NotApplicable("a bare model has no adapter beside which there could be another")

    def switch(self, name: str) -> None:
        """From now on the adapter called ``name`` answers."""
        raise NotApplicable("a bare model has no adapter to switch to")

    def remove(self, name: str) -> None:
        """Delete the adapter called ``name``, of several."""
        raise NotApplicable("a bare model has no adapter to delete")


class PeftSubject(Subject):
    """What is judged: ``get_peft_model`` over the base model."""

    maker = "peft"

    def __init__(self, case: Case, folder: Path | None = None, before: Before = as_it_is) -> None:
        super().__init__(case, before)
        self.model = self._wrapped() if folder is None else _loaded(self.base, folder, case)
        self.model.eval()

    def _wrapped(self) -> Any:
        from peft import get_peft_model

        return get_peft_model(self.base, self.method.peft_config(self.case, self.family))

    @classmethod
    def layout(cls, case: Case) -> Layout:
        """PEFT's own."""
        return method_named(case.method).peft_layout(case, family_named(case.family))

    def parameters(self) -> dict[str, nn.Parameter]:
        """PEFT's own parameters of the active adapter."""
        return dict(self.model.prompt_encoder[self.model.active_adapter].named_parameters())

    def adapters(self) -> list[str]:
        """Those of which PEFT has a config, or anything else."""
        held = (self.model.peft_config, self.model.prompt_encoder, self.model.prompt_tokens)
        return list(dict.fromkeys(name for part in held for name in part))

    def disabled(self) -> AbstractContextManager[Any]:
        """PEFT's ``disable_adapter``."""
        found: AbstractContextManager[Any] = self.model.disable_adapter()
        return found

    def save(self, folder: Path) -> None:
        """PEFT's ``save_pretrained``, as safetensors, into a folder that has a model card already."""
        # Making a card from the template takes ten times as long as everything else that is saved.
        (folder / "README.md").write_text("---\nlibrary_name: peft\n---\n", encoding="utf-8")
        self.model.save_pretrained(folder)

    @classmethod
    def load(cls, case: Case, folder: Path) -> Subject:
        """PEFT's ``PeftModel.from_pretrained``."""
        return cls(case, folder)

    def load_live(self, folder: Path, name: str = DEFAULT_ADAPTER) -> None:
        """PEFT's ``load_adapter``."""
        self.model.load_adapter(str(folder), name)

    def add(self, case: Case, name: str) -> None:
        """PEFT's ``add_adapter``."""
        self.model.add_adapter(name, self.method.peft_config(case, self.family))
        self.model.eval()

    def switch(self, name: str) -> None:
        """PEFT's ``set_adapter``."""
        self.model.set_adapter(name)

    def remove(self, name: str) -> None:
        """PEFT's ``delete_adapter``."""
        self.model.delete_adapter(name)


def _loaded(base: nn.Module, folder: Path, case: Case) -> Any:
    from peft import PeftModel

    return PeftModel.from_pretrained(base, str(folder), **_told_again(base, folder, case))


def _told_again(base: Any, folder: Path, case: Case) -> dict[str, Any]:
    """PEFT dispatches a model anew that has weights waiting somewhere, and must be told again what each device holds."""
    if not case.placed or not {"cpu", "disk"} & set(map(str, getattr(base, "hf_device_map", {}).values())):
        return {}
    return {
        "max_memory": memory(base, case.placement.memory or (50,) * COUNT, current().names),
        "offload_folder": str(folder / "offloaded"),
    }


class ReferenceSubject(Subject):
    """What must always pass; ``wrapper`` is what a planted fault puts in place of the method's own reference."""

    maker = "reference"
    wrapper: type[nn.Module] | None = None

    def __init__(self, case: Case, folder: Path | None = None, before: Before = as_it_is) -> None:
        super().__init__(case, before)
        wrapper = self.wrapper or resolve_name(self.method.reference)
        self.model = wrapper(self.base, case, self.family, self.method).eval()
        if folder is not None:
            self.model.load(folder)

    def generate(self, **request: Any) -> Any:
        """The wrapper's own loop."""
        if request.get("num_beams", 1) > 1 and "num_return_sequences" not in request:
            raise NotApplicable("the reference wrapper searches beams for their answers, not for each beam's logits")
        if "cache_implementation" in request and not static_layers():
            raise NotApplicable("this release has no static cache that the reference wrapper could fill by hand")
        request = self.model.in_new_tokens(request)
        if "max_new_tokens" not in request:
            request["max_new_tokens"] = self.model.steps_told(request.pop("generation_config", None))
        return self.model.generate(**request)

    def parameters(self) -> dict[str, nn.Parameter]:
        """The wrapper's parameters."""
        named: dict[str, nn.Parameter] = self.model.named_raw()
        return named

    def adapters(self) -> list[str]:
        """Those that were added or loaded."""
        return list(self.model.cases)

    def collapsed(self) -> Tensor:
        """The rows that were loaded."""
        rows: Tensor = self.model.collapsed
        return rows

    @contextmanager
    def disabled(self) -> Iterator[None]:
        """The wrapper's own switch."""
        with self.model.disable_adapter():
            yield

    def save(self, folder: Path) -> None:
        """The wrapper's own format, as safetensors."""
        self.model.save_pretrained(folder)

    @classmethod
    def load(cls, case: Case, folder: Path) -> Subject:
        """A fresh wrapper with the saved parameters."""
        return cls(case, folder)

    def load_live(self, folder: Path, name: str = DEFAULT_ADAPTER) -> None:
        """The wrapper's own way."""
        self.model.load(folder, name)

    def add(self, case: Case, name: str) -> None:
        """The wrapper's own way."""
        self.model.add(name, case)

    def switch(self, name: str) -> None:
        """The wrapper's own switch."""
        self.model.switch(name)

    def remove(self, name: str) -> None:
        """The wrapper's own way."""
        self.model.remove(name)


MAKERS: dict[str, type[Subject]] = {"peft": PeftSubject, "reference": ReferenceSubject}


@contextmanager
def maker_named(name: str) -> Iterator[type[Subject]]:
    """The maker of subjects called ``peft`` or ``reference``."""
    yield MAKERS[name]
