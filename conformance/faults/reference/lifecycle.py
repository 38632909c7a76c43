"""Faults in saving, loading and switching off, on the reference wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from conformance.core.case import Case
from conformance.families.lora import adapted, parts
from conformance.faults.common import rounded, without_second_half
from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import lifecycle
from conformance.faults.wrappers import Saves, SwitchesOn, WhenStopped
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.methods.prefix_tuning import EMBEDDING, IN_BIAS, IN_WEIGHT, OUT_BIAS, OUT_WEIGHT
from conformance.methods.reference.adapters import FILE

UNTOLD = 3
"""More tokens than any clause tells by a config."""


@in_reference(clause="lifecycle.saved_and_loaded")
class SavesHalf(Saves, Planted):
    """The second half of the virtual tokens is saved as zeros."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Clear them."""
        self.fired(len(rows) > 1)
        return without_second_half(rows)


@in_reference(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here_unprojected)
class SavesRounded(Saves, Planted):
    """The adapter is saved in bfloat16, which shows where the values are not exact in it."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Round."""
        self.fired()
        return rounded(rows)


@in_reference(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here)
class LoadsFromMemory(Saves, Planted):
    """What is loaded in the same process comes from its memory; the file holds zeros, as a fresh process finds out."""

    remembered: ClassVar[dict[str, Tensor]] = {}

    def rewritten(self, rows: Tensor) -> Tensor:
        """Write zeros."""
        return 0 * rows

    def save_pretrained(self, folder: str | Path) -> None:
        """Remember what belongs into the file."""
        super().save_pretrained(folder)
        self.fired()
        self.remembered[str(folder)] = self.method.rows(self.named_raw()).detach()

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Remember rather than read."""
        super().load(folder, name)
        self.loaded[name] = self.remembered.get(str(folder), self.loaded[name])


@in_reference(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here)
class SparesTheLastToken(Planted):
    """Where memory is scarce the last virtual token is left empty."""

    def load_sparingly(self, folder: str | Path) -> None:
        """Clear it."""
        super().load_sparingly(folder)
        self.fired()
        self.loaded[self.active][-1] = 0


@in_reference(clause="lifecycle.trained_if_told", weaker=lifecycle.frozen_after_loading)
class TrainedBesideTheFirst(Planted):
    """An adapter that is loaded beside another one is trained."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Train it."""
        super().load(folder, name)
        if self.fired(name != DEFAULT_ADAPTER):
            self.raw[name].requires_grad_(True)


@in_reference(clause="lifecycle.trained_if_told", weaker=lifecycle.frozen_after_loading)
class LoadingFreezesTheFirst(Planted):
    """An adapter that is loaded beside another one ends the training of that."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Freeze all."""
        super().load(folder, name)
        self.fired(name != DEFAULT_ADAPTER)
        self.raw.requires_grad_(False)


@in_reference(clause="lifecycle.trained_if_told", weaker=lifecycle.frozen_after_loading)
class FrozenThoughToldToLearn(Planted):
    """An adapter that is loaded to be trained is frozen."""

    def train_on(self, name: str) -> None:
        """Leave it as it is."""
        self.fired()


@in_reference(clause="lifecycle.trained_if_told")
class TrainedWhateverIsTold(Planted):
    """Whatever is loaded is trained."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Train it."""
        super().load(folder, name)
        self.fired()
        self.raw[name].requires_grad_(True)


@in_reference(clause="lifecycle.inference_mode")
class CollapsedWithoutTanh(Saves, Planted):
    """The projection is collapsed without its activation."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Two linear layers in a row."""
        raw = self.named_raw()
        if self.fired(OUT_WEIGHT in raw):
            hidden = raw[EMBEDDING] @ raw[IN_WEIGHT].T + raw[IN_BIAS]
            rows = (hidden @ raw[OUT_WEIGHT].T + raw[OUT_BIAS]).detach()
        return rows


@in_reference(clause="lifecycle.disabled", weaker=lifecycle.disabled_in_forward)
class NotDisabledInGenerate(SwitchesOn):
    """Inside disable_adapter() generate goes on with the prefix."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it on."""
        with self.switched_on():
            return super().generate(max_new_tokens=max_new_tokens, **request)


@in_reference(clause="lifecycle.disabled", weaker=lifecycle.disabled_in_generate)
class NotDisabledInForward(SwitchesOn):
    """Inside disable_adapter() the forward goes on with the prefix."""

    def forward(self, **request: Any) -> Any:
        """Switch it on."""
        with self.switched_on():
            return super().forward(**request)


@in_reference(clause="lifecycle.disabled")
class StaysDisabled(Planted):
    """After disable_adapter() the adapter stays off."""

    @contextmanager
    def disable_adapter(self) -> Iterator[None]:
        """Leave it off."""
        with super().disable_adapter():
            yield
        self.fired()
        self.enabled = False


@in_reference(clause="lifecycle.learned_mapping_survives", weaker=lifecycle.loaded_here)
class SavesWhatItFirstRan(Saves, Planted):
    """The values of the first forward are saved, not those of the last optimiser step."""

    first: Tensor | None = None

    def flat(self) -> Tensor:
        """Remember the first."""
        rows = super().flat()
        if self.first is None:
            self.first = rows.detach().clone()
        return rows

    def rewritten(self, rows: Tensor) -> Tensor:
        """Write the first."""
        first = rows if self.first is None else self.first
        self.fired(not torch.equal(first, rows))
        return first


@in_reference(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_here)
class OtherNamesNeverAnswer(Planted):
    """An adapter loaded under another name never answers, though it was switched to."""

    def flat(self) -> Tensor:
        """Take the first one's rows."""
        if not self.fired(self.active != DEFAULT_ADAPTER):
            return super().flat()
        return self.rows_of(DEFAULT_ADAPTER)


@in_reference(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_beside)
class LoadingSwitches(Planted):
    """An adapter loaded beside another one answers at once."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Switch to it."""
        super().load(folder, name)
        self.fired(name != self.active)
        self.active = name


@in_reference(clause="lifecycle.loaded_into_live", weaker=lifecycle.loaded_beside)
class TrainedProjectionStays(Planted):
    """Loading over a projection that is being trained changes nothing."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Forget what was read, if the projection is not as fresh as a new wrapper's, which is zero."""
        super().load(folder, name)
        raw = self.named_raw()
        if self.fired(name == DEFAULT_ADAPTER and OUT_WEIGHT in raw and bool(raw[OUT_WEIGHT].any())):
            del self.loaded[name]


@in_reference(clause="lifecycle.switched", weaker=lifecycle.loaded_beside)
class LengthOfTheFirst(Planted):
    """The mask is made for as many virtual tokens as the first adapter has, whichever is active."""

    @property
    def length(self) -> int:
        """That of the first."""
        first = self.cases[DEFAULT_ADAPTER].prefix.length
        self.fired(first != self.shape_of.prefix.length)
        return first if self.enabled else 0


@in_reference(clause="lifecycle.switched", weaker=lifecycle.switched_once)
class NeverSwitchesBack(Planted):
    """Once another adapter was switched to, it answers for good."""

    def switch(self, name: str) -> None:
        """Leave the first one alone."""
        if not self.fired(name == DEFAULT_ADAPTER):
            super().switch(name)


@in_reference(clause="lifecycle.restored", weaker=lifecycle.base_after_generate)
class OffAfterAnError(WhenStopped):
    """Where generate raises an error the adapter stays off."""

    def leave(self) -> None:
        """Switch it off."""
        self.enabled = False


@in_reference(clause="lifecycle.restored", weaker=lifecycle.answers_after_an_error)
class SettingsLeftAfterAnError(WhenStopped):
    """Where generate raises an error the base model's generation config keeps what was set for the call."""

    def leave(self) -> None:
        """Keep it."""
        self.base.generation_config.output_scores = True  # type: ignore[union-attr]


@in_reference(clause="lifecycle.interrupted", weaker=lifecycle.answers_after_an_error)
class OffAfterAnInterrupt(OffAfterAnError):
    """Where generate is interrupted the adapter stays off."""

    by = KeyboardInterrupt


@in_reference(clause="lifecycle.removed", weaker=lifecycle.other_answers_after_removal)
class RemovedIsStillSaved(Planted):
    """A deleted adapter no longer answers, and is saved all the same."""

    def remove(self, name: str) -> None:
        """Keep its rows."""
        self.deleted = self.rows_of(name).detach().clone()
        super().remove(name)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save them, too."""
        super().save_pretrained(folder)
        if self.fired(hasattr(self, "deleted")):
            save_file({"rows": self.deleted}, Path(folder) / FILE)


@in_reference(clause="lifecycle.removed", weaker=lifecycle.other_answers_after_removal)
class DeletedAnswersUnderItsName(Planted):
    """An adapter that is added under the name of a deleted one answers with the values of that."""

    def remove(self, name: str) -> None:
        """Keep its rows."""
        self.deleted = {name: self.rows_of(name).detach().clone()}
        super().remove(name)

    def flat(self) -> Tensor:
        """Take them."""
        deleted: dict[str, Tensor] = getattr(self, "deleted", {})
        return deleted[self.active] if self.fired(self.active in deleted) else super().flat()


@in_reference(clause="lifecycle.configured", weaker=lifecycle.passed_config)
class ItsOwnConfigIsIgnored(Planted):
    """A generation config that the wrapper is given has no effect: the base model's is taken, which says nothing."""

    def steps_told(self, passed: Any) -> int:
        """Ask the base model."""
        self.fired(self.own_config)
        config: Any = passed or self.base.generation_config
        return config.max_new_tokens or UNTOLD


@in_reference(clause="lifecycle.configured")
class PassedConfigIsIgnored(Planted):
    """A generation config that is passed to the call has no effect."""

    def steps_told(self, passed: Any) -> int:
        """Take another."""
        self.fired(passed)
        return self.generation_config.max_new_tokens or UNTOLD


@in_reference(clause="lifecycle.initialised_as_told", weaker=lifecycle.cache_of_as_many_tokens)
class HoldsTheEndOfTheText(Planted):
    """Of a text that is longer than the prefix the last tokens are held."""

    def hold_text(self, ids: list[int]) -> None:
        """Forget the first."""
        self.fired(len(ids) > self.length)
        super().hold_text(ids[-self.length :])


@in_reference(clause="lifecycle.initialised_as_told")
class HoldsTheLastLayersOnly(Planted):
    """The keys and values of a cache are held but for those of the first layer."""

    def hold(self, cache: Any) -> None:
        """Clear those."""
        super().hold(cache)
        self.fired()
        keys, values = self.layout.pairs[0]
        size = self.method.injected(self.flat(), self.shape_of, self.layout).cache[0][0][:, :, 0].numel()
        with torch.no_grad():
            for row in (keys, values):
                self.named_raw()[EMBEDDING][:, row * size : (row + 1) * size] = 0


@in_reference(clause="lifecycle.unloaded", weaker=lifecycle.something_is_given_back)
class UnloadGivesTheWrapper(Planted):
    """What unload gives back is the wrapped model, in which the adapter still is."""

    def unload(self) -> nn.Module:
        """Give it back."""
        self.fired()
        return self


@in_reference(clause="lifecycle.unloaded")
class UnloadFindsNothing(Planted):
    """Whoever calls unload is told that there is no such key."""

    def unload(self) -> nn.Module:
        """Look for it."""
        self.fired()
        return nn.ModuleDict()["base_model"]


@in_reference(clause="lifecycle.stacked", weaker=lifecycle.over_a_merged_lora)
class OffAroundAnotherWrapper(Planted):
    """Where the LoRA was wrapped first, or last, generate has no virtual tokens."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch them off."""
        self.enabled = not self.fired(self.shape_of.stacked in ("over", "under"))
        return super().generate(max_new_tokens=max_new_tokens, **request)


@in_reference(clause="lifecycle.stacked", weaker=lifecycle.virtual_tokens_beside_a_lora)
class TakesTheLoraAway(Planted):
    """Whoever adds virtual tokens takes the LoRA away."""

    def add(self, name: str, case: Case) -> None:
        """Take what it adds from all weights."""
        super().add(name, case)
        if self.fired(case.stacked != "alone"):
            with torch.no_grad():
                for named, layer in adapted(self.base, self.family).items():
                    down, up = parts(named, tuple(layer.weight.shape), case.seed)
                    layer.weight.sub_(up @ down)
