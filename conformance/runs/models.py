"""What the lab has: base models, wrapped models and saved adapters of one maker, and a memory of all that was made."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from torch import Tensor

from conformance.compat import caches, checkpointing
from conformance.core.case import Case, base_of, model_of
from conformance.core.relations import in_single, unplaced
from conformance.core.signals import Signal
from conformance.devices.place_model import keeping, temporary_folder
from conformance.families import Family, family_named
from conformance.families.build import build, embeddings_of
from conformance.families.vocabulary import encode_text, fast_tokenizer
from conformance.methods import method_named
from conformance.methods.beginning import CACHED, Beginning, told_text
from conformance.methods.method import NOTHING, Injected, Layout, Raw
from conformance.oracles.real_tokens import injected_of_text
from conformance.runs.judged_code import guarded
from conformance.runs.makers import MAKERS
from conformance.runs.subject import Before, Subject, as_it_is

T = TypeVar("T")


class Models:
    """What one maker makes. Memoises by Case; what is remembered is shared by those who do not change it."""

    def __init__(self, maker: str | type[Subject] = "peft") -> None:
        self.maker = MAKERS[maker] if isinstance(maker, str) else maker
        self._memo: dict[Any, Any] = {}

    @property
    def mended(self) -> tuple[str, ...]:
        """The known failures that are mended in what is judged."""
        return self.maker.mended

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` gives or raises, remembered under ``key``."""
        if key not in self._memo:
            try:
                self._memo[key] = (make(), None)
            except Signal as signal:
                self._memo[key] = (None, signal)
        value, ended = self._memo[key]
        if ended is not None:
            raise ended.with_traceback(None)
        found: T = value
        return found

    # -- models -------------------------------------------------------------------------------------------------------
    def family(self, case: Case) -> Family:
        """The Case's family."""
        return family_named(case.family)

    def base(self, case: Case) -> Any:
        """A base model of the lab's own, which no wrapper has ever modified."""
        key = base_of(case)
        return self.once(("base", key), lambda: build(key))

    def assistant(self, case: Case) -> Any:
        """A model that guesses answers to ``case``, two tokens at once: the bare base model, built anew, since it keeps count."""
        key = base_of(case)
        return self.once(("assistant", key), lambda: guessing(build(key)))

    def subject(self, case: Case) -> Subject:
        """The wrapped model, shared by all calls on it. Clauses that change it take :meth:`new_subject`."""
        return self.once(("subject", model_of(case)), lambda: self.new_subject(case))

    def new_subject(self, case: Case, before: Before = as_it_is) -> Subject:
        """A wrapped model that nobody else holds; ``before`` it is wrapped that is done with its base model."""
        case = model_of(case)
        if case.prefix.length == 0:
            return Subject(case, _checkpointed if case.checkpointing != "off" else before)
        if case.placement.adapter == "loaded":
            return self._loaded_onto(case)
        prepared = _checkpointed if case.checkpointing == "before" else before
        subject = guarded("get_peft_model", lambda: self.maker(case, before=prepared))
        if case.checkpointing == "after":
            _checkpointed(subject.model)
        if case.prefix.begins == "drawn":
            self.fill(subject, case)
        self._begin(subject, case)
        return subject

    def _begin(self, subject: Subject, case: Case) -> None:
        """Have a new adapter hold what the user tells it after it was made."""
        text = told_text(case)
        if case.prefix.begins == "cache":
            cache = self.cache_of(case, text)
            guarded("initialize_kv_prefix_from_past_key_values", lambda: subject.hold_cache(cache))
        elif case.prefix.begins == "cached_text":
            guarded("initialize_kv_prefix_from_text", lambda: subject.hold_text(fast_tokenizer(), text))

    @torch.no_grad()
    def cache_of(self, case: Case, text: str) -> Any:
        """A cache of the lab's own base model that has read ``text``."""
        return caches.returned(
            self.base(case)(input_ids=torch.tensor([encode_text(text)]), use_cache=True, return_dict=True)
        )

    def begun(self, case: Case) -> Beginning:
        """What is said of the parameters of the new adapter of ``case``."""
        method, layout, roles = method_named(case.method), self.layout(case), case.roles
        if case.prefix.begins not in CACHED:
            return method.begun(case, layout, embeddings_of(self.base(case)))
        # Of the first tokens alone no window has dropped any.
        cache = self.cache_of(case, told_text(case)[: case.prefix.length])
        held = caches.cut(caches.read_cache(cache, roles.layers, roles.kv_heads), 0, case.prefix.length)
        return Beginning(method.raw_holding(Injected(held), case, layout))

    def fill(self, subject: Subject, case: Case, adapter: str | None = None) -> None:
        """Give ``adapter`` of ``subject``, by default the active one, the parameters that ``case`` says."""
        raw, method = self.raw(case), method_named(case.method)
        wrong = method.wrongs(case, self.family(case)).get(case.wrong)
        if wrong and not wrong.answerable:
            return  # there should be no such model, and nobody says what its parameters are

        def value(name: str, shape: tuple[int, ...]) -> Tensor:
            return raw[name] if raw[name].shape == shape else method.value(case, name, shape)

        subject.fill(value, adapter)

    def add_adapter(self, subject: Subject, case: Case, name: str) -> None:
        """Add the adapter of ``case`` to ``subject``, which nobody else holds, under ``name``, and switch to it."""
        case = model_of(case)
        guarded("add_adapter", lambda: subject.add(case, name))
        self.switch(subject, name)
        self.fill(subject, case)

    def switch(self, subject: Subject, name: str) -> None:
        """Switch ``subject`` to its adapter called ``name``."""
        guarded("set_adapter", lambda: subject.switch(name))

    def _loaded_onto(self, case: Case) -> Subject:
        """The adapter was saved elsewhere, and is loaded onto the placed model; weights may then wait in its folder."""
        folder = temporary_folder()
        shutil.copytree(self.saved_folder(unplaced(case)), folder.name, dirs_exist_ok=True)
        subject = guarded("from_pretrained", lambda: self.maker.load(case, Path(folder.name)))
        keeping(folder, subject.base)
        return subject

    # -- saving and loading -------------------------------------------------------------------------------------------
    @contextmanager
    def saved(self, subject: Subject) -> Iterator[Path]:
        """A folder that holds the saved adapter of ``subject``, for as long as the block lasts."""
        with temporary_folder() as name:
            guarded("save_pretrained", lambda: subject.save(Path(name)))
            yield Path(name)

    def saved_folder(self, case: Case) -> Path:
        """A folder that holds the saved adapter of the shared subject, for as long as the lab lives."""

        def save() -> TemporaryDirectory[str]:
            folder = temporary_folder()
            guarded("save_pretrained", lambda: self.subject(case).save(Path(folder.name)))
            return folder

        return Path(self.once(("saved", model_of(case)), save).name)

    def reloaded(self, case: Case, sparing: bool = False) -> Subject:
        """A fresh base model with the adapter loaded in this process, shared by those who do not change it.

        ``sparing``: with as little memory as it takes.
        """
        folder = self.saved_folder(case)
        load = lambda: guarded("from_pretrained", lambda: self.maker.load(case, folder, sparing))  # noqa: E731
        return self.once(("loaded", model_of(case), sparing), load)

    def loaded_from(self, case: Case, other: Case) -> Subject:
        """A fresh base model as ``case`` says, with the adapter that was saved as ``other`` says."""
        return self.loaded(case, self.saved_folder(other))

    def loaded(self, case: Case, folder: Path) -> Subject:
        """A fresh base model as ``case`` says, with the adapter that is in ``folder``."""
        return guarded("from_pretrained", lambda: self.maker.load(model_of(case), folder))

    def converted(self, case: Case) -> Subject:
        """A model that was wrapped in float32, and then, with its adapter, converted to the Case's dtype; shared."""

        def convert() -> Subject:
            subject = self.new_subject(in_single(case))
            guarded("to", lambda: subject.model.to(getattr(torch, case.dtype)))
            self.fill(subject, case)
            return subject

        return self.once(("converted", model_of(case)), convert)

    # -- the adapter --------------------------------------------------------------------------------------------------
    def layout(self, case: Case) -> Layout:
        """Which row of the adapter serves which layer, for this maker's subjects."""
        return self.maker.layout(case)

    def raw(self, case: Case) -> dict[str, Tensor]:
        """The raw parameters that the Case says, drawn without any wrapper."""
        key = model_of(case)
        return self.once(("raw", key), lambda: self._raw(key))

    def _raw(self, case: Case) -> dict[str, Tensor]:
        method, layout = method_named(case.method), self.layout(case)
        if case.prefix.content == "tokens":
            read = injected_of_text(self.base(case), self.family(case), case)
            return method.raw_holding(read, case, layout)
        return {name: method.value(case, name, shape) for name, shape in method.shapes(case, layout).items()}

    def injected(self, case: Case, raw: Raw | None = None) -> Injected:
        """What is in front of the text: by our own arithmetic from ``raw``, or the parameters that the Case says."""
        if case.prefix.length == 0:
            return NOTHING
        method, key = method_named(case.method), model_of(case)
        if raw is not None:
            return self.injected_rows(case, method.rows(raw))
        return self.once(("injected", key), lambda: self.injected(key, self.raw(key)))

    def injected_rows(self, case: Case, rows: Tensor) -> Injected:
        """What the flat ``rows`` of an adapter that ``case`` describes put in front of the text."""
        key = model_of(case)
        return method_named(case.method).injected(rows, key, self.layout(key)) if case.prefix.length else NOTHING


def guessing(model: Any) -> Any:
    """``model``, told to guess two tokens at once, however sure it is of them."""
    model.generation_config.update(
        num_assistant_tokens=2, num_assistant_tokens_schedule="constant", assistant_confidence_threshold=0.0
    )
    return model


def _checkpointed(model: Any) -> None:
    """Some models do not know gradient checkpointing, and say so."""
    guarded("gradient_checkpointing_enable", lambda: checkpointing.enable(model))
