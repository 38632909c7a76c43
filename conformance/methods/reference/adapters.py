"""What every reference wrapper has: several adapters, which are added, switched, removed, saved and loaded."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import torch
from msgspec.structs import replace
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from conformance.compat import caches
from conformance.core.case import IGNORED, Case, from_json
from conformance.devices.place_model import input_device
from conformance.families import Family
from conformance.families.build import embeddings_of
from conformance.methods.method import DEFAULT_ADAPTER, Injected, Layout, Method

FILE = "reference_prefix.safetensors"
CASE_FILE = "reference_prefix.json"


class Adapters(nn.Module):
    """A base model, frozen, and the adapters around it by name, of which one is active."""

    def __init__(self, base: nn.Module, case: Case, family: Family, method: Method) -> None:
        super().__init__()
        self.base, self.family, self.method = base, family, method
        self.input_device = input_device(base)
        self.freeze()
        self.enabled = True
        # Like a model of transformers it may be given a generation config; until then it has the base model's.
        self.own_config: Any = None
        # What each adapter is like, by its name, and its parameters.
        self.cases: dict[str, Case] = {}
        self.raw = nn.ModuleDict()
        # The rows of loaded adapters by name, whose projection is gone; held outside the module's state, as cached numbers are.
        self.loaded: dict[str, Tensor] = {}
        # Those of them that are trained.
        self.trained_on: dict[str, nn.Parameter] = {}
        self.active = DEFAULT_ADAPTER
        self.add(DEFAULT_ADAPTER, case)

    def freeze(self) -> None:
        """Nothing of the base model learns."""
        self.base.requires_grad_(False)

    def parameter(self, name: str, shape: tuple[int, ...]) -> nn.Parameter:
        """A raw parameter, zero; a frozen one has no gradient."""
        return nn.Parameter(torch.zeros(shape, device=self.input_device), requires_grad=self.method.learns(name))

    @property
    def shape_of(self) -> Case:
        """The Case that says what the active adapter is like, in the dtype to which the base model may have been converted."""
        dtype = next(self.base.parameters()).dtype
        return replace(self.cases[self.active], dtype=str(dtype).removeprefix("torch."))

    @property
    def layout(self) -> Layout:
        """Which row of the active adapter serves which layer."""
        return self.method.layout(self.shape_of)

    def named_raw(self, adapter: str | None = None) -> dict[str, nn.Parameter]:
        """The raw parameters of ``adapter``, by default of the active one, by their plain names."""
        name = adapter or self.active
        case, held = self.cases[name], cast("nn.ParameterDict", self.raw[name])
        return {name: held[name.replace(".", "_")] for name in self.method.shapes(case, self.method.layout(case))}

    def learnt(self, adapter: str | None = None) -> dict[str, nn.Parameter]:
        """What an optimiser moves of ``adapter``, by default of the active one: its raw parameters, or rows that were loaded."""
        name = adapter or self.active
        return {"rows": self.trained_on[name]} if name in self.trained_on else self.named_raw(name)

    @property
    def collapsed(self) -> Tensor | None:
        """The rows of the active adapter, if it was loaded."""
        return self.loaded.get(self.active)

    def rows_of(self, adapter: str) -> Tensor:
        """The flat rows of ``adapter``: those that were loaded, or what its parameters make."""
        return self.loaded[adapter] if adapter in self.loaded else self.method.rows(self.named_raw(adapter))

    def flat(self) -> Tensor:
        """The flat rows that are in force."""
        return self.rows_of(self.active)

    @property
    def length(self) -> int:
        """Number of virtual tokens in force."""
        return self.shape_of.prefix.length if self.enabled else 0

    def add(self, name: str, case: Case) -> None:
        """Another adapter, of zeros, with as many virtual tokens as ``case`` says. The active one stays active."""
        self.check(self.method.told(case, self.family))
        shapes = self.method.shapes(case, self.method.layout(case)).items()
        self.cases[name] = case
        self.raw[name] = nn.ParameterDict(
            {named.replace(".", "_"): self.parameter(named, shape) for named, shape in shapes}
        )

        if case.prefix.begins != "drawn":
            self.begin(name)

    def begin(self, name: str) -> None:
        """Give the new adapter called ``name`` the parameters with which it is told to begin."""
        case, raw = self.cases[name], self.named_raw(name)
        begun = self.method.begun(case, self.method.layout(case), embeddings_of(self.base))
        chosen = {named: self.chosen(len(raw[named]), table, case) for named, table in begun.among.items()}
        with torch.no_grad():
            for named, value in {**begun.exactly, **chosen}.items():
                raw[named].view(len(value), -1).copy_(value.view(len(value), -1))

    def chosen(self, count: int, table: Tensor, case: Case) -> Tensor:
        """So many rows of ``table``, at random."""
        at_random = torch.Generator().manual_seed(case.prefix.seed)
        return table[torch.randint(len(table), (count,), generator=at_random)]

    def hold(self, cache: Any) -> None:
        """From now on the active adapter holds the first keys and values of ``cache``."""
        case, raw = self.shape_of, self.named_raw()
        held = caches.read_cache(cache, case.roles.layers, case.roles.kv_heads)
        read = Injected(caches.cut(held, 0, case.prefix.length))
        with torch.no_grad():
            for name, value in self.method.raw_holding(read, case, self.layout).items():
                raw[name].copy_(value)

    def hold_text(self, ids: list[int]) -> None:
        """The same, of a cache of the text ``ids``; those behind the virtual tokens are not read."""
        base: Any = self.base
        with torch.no_grad():
            out = base(input_ids=torch.tensor([ids[: self.shape_of.prefix.length]]), use_cache=True, return_dict=True)
        self.hold(caches.returned(out))

    def check(self, told: dict[str, Any]) -> None:
        """Refuse settings that cannot work, in words, before anything is made of them."""
        if why := self.method.amiss(told, self.family):
            raise ValueError(why)

    def remove(self, name: str) -> None:
        """Forget the adapter called ``name``; if it is the active one, the first that is left takes its place."""
        del self.cases[name], self.raw[name]
        self.forget_loaded(name)
        if name == self.active:
            self.active = next(iter(self.cases))

    def unload(self) -> nn.Module:
        """The base model, in which there never was anything."""
        return self.base

    def forget_loaded(self, name: str) -> None:
        """Nothing was loaded as the adapter called ``name``."""
        self.loaded.pop(name, None)
        self.trained_on.pop(name, None)

    def switch(self, name: str) -> None:
        """From now on the adapter called ``name`` answers."""
        if name not in self.cases:
            raise ValueError(f"there is no adapter called `{name}`")
        self.active = name

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Inside, the base model."""
        before, self.enabled = self.enabled, False
        try:
            yield
        finally:
            self.enabled = before

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the flat rows of each adapter: of a projection only the result is kept."""
        for name in self.cases:
            into = Path(folder) if name == DEFAULT_ADAPTER else Path(folder) / name
            into.mkdir(exist_ok=True)
            save_file({"rows": self.rows_of(name).detach().cpu().contiguous()}, into / FILE)
            (into / CASE_FILE).write_text(self.cases[name].to_json(), encoding="utf-8")

    def smoothed_loss(self, batch: dict[str, Tensor], smoothing: float) -> Tensor:
        """The loss of a training ``batch`` with that much label smoothing, by torch's own."""
        labels = batch["labels"]
        out = self(**{name: value for name, value in batch.items() if name != "labels"})
        # What lies in front of the text has no labels.
        logits = out.logits[:, -labels.shape[1] :]
        if not self.family.encoder_decoder:
            logits, labels = logits[:, :-1], labels[:, 1:]
        return nn.functional.cross_entropy(
            logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED, label_smoothing=smoothing
        )

    def checkpoint(self, file: Path) -> None:
        """Write the raw parameters of the active adapter: training goes on from them."""
        save_file({name: value.detach().cpu().contiguous() for name, value in self.named_raw().items()}, file)

    def go_on_from(self, file: Path) -> None:
        """Read what :meth:`checkpoint` wrote."""
        held = load_file(file)
        with torch.no_grad():
            for name, value in self.named_raw().items():
                value.copy_(held[name])

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Read what :meth:`save_pretrained` wrote as the adapter called ``name``, whose projection is then gone.

        It is not trained, unless :meth:`train_on` says so.
        """
        rows = load_file(Path(folder) / FILE)["rows"].to(self.input_device)
        if name not in self.cases:
            self.add(name, from_json((Path(folder) / CASE_FILE).read_text("utf-8")))
        self.raw[name].requires_grad_(False)
        self.loaded[name] = rows

    def load_sparingly(self, folder: str | Path) -> None:
        """The same where memory is scarce: rows are all that is read, whatever is asked for."""
        self.load(folder)

    def train_on(self, name: str) -> None:
        """The rows that were loaded as the adapter called ``name`` are trained, but for those of frozen virtual tokens."""
        if name in self.loaded and self.method.trained(self.cases[name]):
            frozen = self.cases[name].prefix.frozen
            rows = nn.Parameter(self.loaded[name].detach())
            rows.register_hook(lambda gradient: torch.cat([0 * gradient[:frozen], gradient[frozen:]]))
            self.loaded[name] = self.trained_on[name] = rows
