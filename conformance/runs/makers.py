"""Who makes subjects: PEFT, which is judged, and the reference wrapper, which must always pass."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from torch import Tensor, nn

from conformance.compat.caches import static_layers
from conformance.core.case import Case
from conformance.core.relations import with_lora
from conformance.core.signals import NotApplicable
from conformance.devices.current import COUNT, current
from conformance.devices.place_model import memory
from conformance.families import family_named
from conformance.methods import method_named
from conformance.methods.method import DEFAULT_ADAPTER, Layout
from conformance.runs.stacking import stacked
from conformance.runs.subject import Before, Subject, as_it_is
from conformance.runs.trainer import by_loop, by_trainer


class PeftSubject(Subject):
    """What is judged: ``get_peft_model`` over the base model."""

    maker = "peft"

    def __init__(
        self, case: Case, folder: Path | None = None, before: Before = as_it_is, sparing: bool = False
    ) -> None:
        super().__init__(case, before)
        self.model = self._wrapped() if folder is None else _loaded(self.base, folder, case, sparing)
        self.model.eval()

    def _wrapped(self) -> Any:
        return stacked(self.base, self.case, self.family, self.method.peft_config(self.case, self.family))

    @classmethod
    def built(cls, case: Case) -> Case:
        """The plain one: a LoRA is PEFT's to add."""
        return with_lora(case, "alone")

    @classmethod
    def layout(cls, case: Case) -> Layout:
        """PEFT's own."""
        return method_named(case.method).peft_layout(case, family_named(case.family))

    def parameters(self, adapter: str | None = None) -> dict[str, nn.Parameter]:
        """PEFT's own."""
        return dict(self.model.prompt_encoder[adapter or self.active()].named_parameters())

    def active(self) -> str:
        """PEFT's ``active_adapter``."""
        name: str = self.model.active_adapter
        return name

    def adapters(self) -> list[str]:
        """Those of which PEFT has a config, or anything else."""
        held = (self.model.peft_config, self.model.prompt_encoder, self.model.prompt_tokens)
        return list(dict.fromkeys(name for part in held for name in part))

    def train(self, batch: dict[str, Tensor], folder: Path, resume: int = 0, smoothing: float = 0.0) -> list[float]:
        """By the Trainer of transformers."""
        return by_trainer(self.model, batch, folder, resume, smoothing)

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
    def load(cls, case: Case, folder: Path, sparing: bool = False) -> Subject:
        """PEFT's ``PeftModel.from_pretrained``."""
        return cls(case, folder, sparing=sparing)

    def load_live(self, folder: Path, name: str = DEFAULT_ADAPTER, trained: bool = False) -> None:
        """PEFT's ``load_adapter``."""
        self.model.load_adapter(str(folder), name, **({"is_trainable": True} if trained else {}))

    def add(self, case: Case, name: str) -> None:
        """PEFT's ``add_adapter``."""
        self.model.add_adapter(name, self.method.peft_config(case, self.family))
        self.model.eval()

    def hold_cache(self, cache: Any) -> None:
        """PEFT's helper for caches."""
        from peft import initialize_kv_prefix_from_past_key_values

        initialize_kv_prefix_from_past_key_values(self.model, past_key_values=cache)

    def hold_text(self, tokenizer: Any, text: str) -> None:
        """PEFT's helper for texts."""
        from peft import initialize_kv_prefix_from_text

        initialize_kv_prefix_from_text(self.model, tokenizer, text=text)

    def switch(self, name: str) -> None:
        """PEFT's ``set_adapter``."""
        self.model.set_adapter(name)

    def unload(self) -> Any:
        """PEFT's ``unload``."""
        return self.model.unload()

    def remove(self, name: str) -> None:
        """PEFT's ``delete_adapter``."""
        self.model.delete_adapter(name)


def _loaded(base: nn.Module, folder: Path, case: Case, sparing: bool) -> Any:
    from peft import PeftModel

    told: dict[str, Any] = {"low_cpu_mem_usage": True} if sparing else {}
    return PeftModel.from_pretrained(base, str(folder), **_told_again(base, folder, case), **told)


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

    def __init__(
        self, case: Case, folder: Path | None = None, before: Before = as_it_is, sparing: bool = False
    ) -> None:
        super().__init__(case, before)
        wrapper = self.wrapper or resolve_name(self.method.reference)
        self.model = wrapper(self.base, case, self.family, self.method).eval()
        if folder is not None:
            (self.model.load_sparingly if sparing else self.model.load)(folder)

    def forward(self, *text: Tensor, **request: Any) -> Any:
        """The wrapper's own, which takes names only."""
        return self.model(**self.model.named(*text), **request)

    def generate(self, *text: Tensor, **request: Any) -> Any:
        """The wrapper's own loop."""
        request = {**self.model.named(*text), **request}
        if request.get("num_beams", 1) > 1 and "num_return_sequences" not in request:
            raise NotApplicable("the reference wrapper searches beams for their answers, not for each beam's logits")
        if "cache_implementation" in request and not static_layers():
            raise NotApplicable("this release has no static cache that the reference wrapper could fill by hand")
        request = self.model.in_new_tokens(request)
        if "max_new_tokens" not in request:
            request["max_new_tokens"] = self.model.steps_told(request.pop("generation_config", None))
        return self.model.generate(**request)

    def train(self, batch: dict[str, Tensor], folder: Path, resume: int = 0, smoothing: float = 0.0) -> list[float]:
        """The wrapper's own loop."""
        return by_loop(self.model, batch, folder, resume, smoothing)

    def parameters(self, adapter: str | None = None) -> dict[str, nn.Parameter]:
        """The wrapper's parameters."""
        named: dict[str, nn.Parameter] = self.model.learnt(adapter)
        return named

    def rows_of(self, adapter: str) -> Tensor:
        """Those that were loaded, or what its parameters make."""
        rows: Tensor = self.model.rows_of(adapter)
        return rows.detach().cpu().clone()

    def active(self) -> str:
        """The one that was switched to."""
        name: str = self.model.active
        return name

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
    def load(cls, case: Case, folder: Path, sparing: bool = False) -> Subject:
        """A fresh wrapper with the saved parameters."""
        return cls(case, folder, sparing=sparing)

    def load_live(self, folder: Path, name: str = DEFAULT_ADAPTER, trained: bool = False) -> None:
        """The wrapper's own way. What is loaded in place of an adapter that is trained is trained on."""
        over_trained = name in self.model.cases and name not in self.model.loaded
        self.model.load(folder, name)
        if trained or over_trained or name in self.model.trained_on:
            self.model.train_on(name)

    def add(self, case: Case, name: str) -> None:
        """The wrapper's own way."""
        self.model.add(name, case)

    def hold_cache(self, cache: Any) -> None:
        """The wrapper's own way."""
        self.model.hold(cache)

    def hold_text(self, tokenizer: Any, text: str) -> None:
        """The wrapper's own way."""
        self.model.hold_text(tokenizer(text)["input_ids"])

    def switch(self, name: str) -> None:
        """The wrapper's own switch."""
        self.model.switch(name)

    def unload(self) -> Any:
        """The wrapper's own way."""
        return self.model.unload()

    def remove(self, name: str) -> None:
        """The wrapper's own way."""
        self.model.remove(name)


MAKERS: dict[str, type[Subject]] = {"peft": PeftSubject, "reference": ReferenceSubject}


@contextmanager
def maker_named(name: str) -> Iterator[type[Subject]]:
    """The maker of subjects called ``peft`` or ``reference``."""
    yield MAKERS[name]
