"""Faults of prompts that differ by task, as patches of PEFT."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from conformance.faults.patching import after
from conformance.faults.registry import Fired, in_peft
from conformance.faults.weaker import answers, injection, lifecycle, refusals
from conformance.methods.multitask_prompt_tuning import COLUMNS, ROWS
from conformance.runs.patching import Patched, around

planted = partial(in_peft, method="MULTITASK_PROMPT_TUNING")
ENCODER = "peft.tuners:MultitaskPromptEmbedding"


def tasks(change: Callable[[Tensor], Tensor]) -> Patched:
    """Within the block the prompt encoder is given ``change(task_ids)``."""

    def wrapper(original: Any, self: Any, indices: Tensor, task_ids: Tensor) -> Any:
        return original(self, indices, change(task_ids))

    return around(ENCODER, "forward", wrapper)


def parts(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Patched:
    """Within the block the matrices of the tasks are made of ``change(columns, rows)``."""

    def wrapper(original: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
        columns, rows = change(self.prefix_task_cols, self.prefix_task_rows)
        with mock.patch.dict(self._parameters, {COLUMNS: columns, ROWS: rows}):
            return original(self, *args, **kwargs)

    return around(ENCODER, "forward", wrapper)


@planted(clause="equivalence.step_logits", weaker=answers.alone)
def peft_task_of_another_row(fired: Fired) -> Patched:
    """Each row reads the embeddings of the task of the row above it."""
    return tasks(lambda asked: asked.roll(1) if fired(bool((asked.roll(1) != asked).any())) else asked)


@planted(clause="injection.current")
def peft_first_task_for_all(fired: Fired) -> Patched:
    """Every row reads the embeddings of the first task."""
    return tasks(lambda asked: 0 * asked if fired(bool(asked.any())) else asked)


@planted(clause="equivalence.step_logits")
def peft_first_rank_only(fired: Fired) -> Patched:
    """Of a task's matrix only the part of rank 1 counts that comes first."""

    def change(columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        fired(columns.shape[-1] > 1)
        return columns[..., :1], rows[:, :1]

    return parts(change)


@planted(clause="equivalence.step_logits")
def peft_columns_of_another_task(fired: Fired) -> Patched:
    """The matrix of a task is made of its rows and another task's columns."""

    def change(columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        fired(len(columns) > 1)
        return columns.roll(1, 0), rows

    return parts(change)


@planted(clause="training.gradient_agrees", weaker=injection.any_gradient)
def peft_task_matrix_not_trained(fired: Fired) -> Patched:
    """Only the embeddings that all tasks share are trained."""

    def change(columns: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        fired()
        return columns.detach(), rows.detach()

    return parts(change)


@planted(clause="lifecycle.saved_and_loaded")
def peft_first_task_loaded_for_all(fired: Fired) -> Patched:
    """Of what was saved only the first task's matrix is loaded, for all tasks."""

    def change(encoder: Any, loaded: None) -> None:
        fired(encoder.num_tasks > 1)
        with torch.no_grad():
            for part in (encoder.prefix_task_cols, encoder.prefix_task_rows):
                part.copy_(part[:1].expand_as(part).clone())

    return after(ENCODER, "_load_adapter_state_dict", change)


@planted(clause="lifecycle.initialised_as_told", weaker=lifecycle.one_of_the_source_tasks)
def peft_average_is_the_first_task(fired: Fired) -> Patched:
    """A prompt that is to begin as the average of the source tasks begins as the first."""

    def wrapper(original: Any, self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        if fired(config.prompt_tuning_init == "AVERAGE_SOURCE_TASKS"):
            config.prompt_tuning_init, config.prompt_tuning_init_task = "EXACT_SOURCE_TASK", 0
        original(self, config, *args, **kwargs)

    return around(ENCODER, "__init__", wrapper)


@planted(clause="lifecycle.initialised_as_told")
def peft_last_task_is_the_first(fired: Fired) -> Patched:
    """Which source task a prompt is to begin as makes no difference."""

    def wrapper(original: Any, self: Any, config: Any, *args: Any, **kwargs: Any) -> None:
        if fired(config.prompt_tuning_init_task):
            config.prompt_tuning_init_task = 0
        original(self, config, *args, **kwargs)

    return around(ENCODER, "__init__", wrapper)


@planted(clause="refusals.in_words", weaker=refusals.a_length_is_asked_for)
def peft_rows_without_a_task_are_of_the_first(fired: Fired) -> Patched:
    """Rows whose tasks nobody names get the prompt of the first task."""

    def wrapper(original: Any, self: Any, indices: Tensor, task_ids: Any) -> Any:
        unsaid = fired(task_ids is None)
        return original(self, indices, torch.zeros(len(indices), dtype=torch.long) if unsaid else task_ids)

    return around("peft.tuners:MultitaskPromptEmbedding", "forward", wrapper)
