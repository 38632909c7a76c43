"""Faults of prompts that differ by task, on the reference wrapper."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn.functional import pad

from conformance.faults.registry import PlantedTasks, in_reference
from conformance.faults.weaker import answers, injection
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.methods.multitask_prompt_tuning import COLUMNS, ROWS
from conformance.methods.prompt_tuning import EMBEDDING

planted = partial(in_reference, method="MULTITASK_PROMPT_TUNING")


class OfOtherParts(PlantedTasks):
    """Makes the embeddings of other parameters than the adapter's."""

    def changed(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """The parameters that are taken in place of ``raw``."""
        raise NotImplementedError

    def flat(self) -> Tensor:
        """Make them of these, where there are any: of a loaded adapter there are only embeddings."""
        return self.method.rows(self.changed(dict(self.named_raw()))) if self.collapsed is None else super().flat()


@planted(clause="equivalence.step_logits", weaker=answers.alone)
class TaskOfAnotherRow(PlantedTasks):
    """Each row reads the embeddings of the task of the row above it."""

    def tasks(self, asked: Tensor) -> Tensor:
        """Move them on."""
        moved = asked.roll(1)
        self.fired(bool((moved != asked).any()))
        return moved


@planted(clause="equivalence.step_logits", weaker=answers.one_task)
class FirstTaskForAll(PlantedTasks):
    """Every row reads the embeddings of the first task."""

    def tasks(self, asked: Tensor) -> Tensor:
        """None but the first."""
        self.fired(bool(asked.any()))
        return 0 * asked


@planted(clause="equivalence.forward_agrees_with_generate", weaker=answers.step_logits)
class FirstRowsTaskInTraining(PlantedTasks):
    """In forward every row reads the embeddings of the first row's task."""

    training_path = False

    def tasks(self, asked: Tensor) -> Tensor:
        """None but the first row's."""
        return asked[:1].expand_as(asked) if self.fired(self.training_path) else asked

    def forward(self, **request: Any) -> Any:
        """This is training."""
        self.training_path = True
        try:
            return super().forward(**request)
        finally:
            self.training_path = False


@planted(clause="equivalence.step_logits", weaker=answers.one_task)
class ColumnsOfAnotherTask(OfOtherParts):
    """The matrix of a task is made of its rows and another task's columns."""

    def changed(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Move the columns on."""
        self.fired(len(raw[COLUMNS]) > 1)
        return raw | {COLUMNS: raw[COLUMNS].roll(1, 0)}


@planted(clause="equivalence.step_logits", weaker=answers.rank_one)
class FirstRankOnly(OfOtherParts):
    """Of a task's matrix only the part of rank 1 counts that comes first."""

    def changed(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """Drop the others."""
        self.fired(raw[COLUMNS].shape[-1] > 1)
        return raw | {COLUMNS: raw[COLUMNS][..., :1], ROWS: raw[ROWS][:, :1]}


@planted(clause="equivalence.step_logits", weaker=answers.loaded_with_text)
class TaskMatrixTwice(PlantedTasks):
    """The matrix of a task is applied twice, which of one of ones nobody sees."""

    def flat(self) -> Tensor:
        """Once more."""
        raw = self.named_raw()
        if self.collapsed is not None:
            return super().flat()
        self.fired()
        return super().flat() * (raw[COLUMNS] @ raw[ROWS]).flatten(0, 1)


@planted(clause="training.gradient_agrees", weaker=injection.any_gradient)
class TaskMatrixNotTrained(OfOtherParts):
    """Only the embeddings that all tasks share are trained."""

    def changed(self, raw: dict[str, Tensor]) -> dict[str, Tensor]:
        """The same values, without a gradient."""
        self.fired()
        return {name: value if name == EMBEDDING else value.detach() for name, value in raw.items()}


@planted(clause="lifecycle.saved_and_loaded")
class FirstTaskLoadedForAll(PlantedTasks):
    """Of what was saved only the first task's embeddings are loaded, for all tasks."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Repeat them."""
        super().load(folder, name)
        count = self.shape_of.prefix.tasks
        self.fired(count > 1)
        by_task = self.loaded[name].unflatten(0, (count, -1))
        self.loaded[name] = by_task[:1].expand_as(by_task).flatten(0, 1)


@planted(clause="masks.decoder_mask", family="t5", weaker=answers.decoder_mask_of_ones)
class DecoderMaskCountsThePrompt(PlantedTasks):
    """A decoder's mask has a column in front for each virtual token, though an encoder reads them."""

    def decoder_mask(self, given: Tensor | None) -> Tensor | None:
        """Put them there."""
        if given is None or not self.fired(not given.all()):
            return given
        return pad(given, (self.length, 0), value=1)
