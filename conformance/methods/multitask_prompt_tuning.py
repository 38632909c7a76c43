"""Multitask prompt tuning: embeddings that all tasks share, each number times that of a matrix of low rank of the row's task.

Shapes: ``(blocks * n, hidden)`` embeddings; for each task columns ``(blocks * n, rank)`` and rows ``(rank, hidden)``, whose
product is the task's matrix. Each row of a batch says its task, in ``task_ids`` ``(rows,)``, to forward and generate alike.

Source: Wang et al. 2023 (arXiv:2303.02861), whose models are T5: a task's prompt is put in front of its input, which the encoder
reads, as in prompt tuning. PEFT's generate does so; its forward puts a second block in front of what the decoder reads, too.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, ClassVar

from msgspec.structs import replace

from conformance.core.case import Begins, Case
from conformance.families import family_named
from conformance.methods.beginning import Beginning
from conformance.methods.method import Injected, Raw
from conformance.methods.prompt_tuning import EMBEDDING, PromptTuning

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.families import Family
    from conformance.methods.method import Layout


COLUMNS, ROWS = "prefix_task_cols", "prefix_task_rows"
"""Names of the raw parameters that are a task's own, as PEFT saves and holds them."""
SOURCE = "prompt_tuning_init_state_dict_path"
"""The setting that says where the parameters of source tasks are."""
SOURCES: dict[Begins, str] = {
    "average_task": "AVERAGE_SOURCE_TASKS",
    "exact_task": "EXACT_SOURCE_TASK",
    "shared_prompt": "ONLY_SOURCE_SHARED",
}
"""How PEFT calls the ways to begin as what was trained for source tasks."""
SOURCE_TASKS = 2
"""So many of them: an average of two is exact."""


class MultitaskPromptTuning(PromptTuning):
    """Learnt embeddings, one for each virtual token of each task."""

    name = "MULTITASK_PROMPT_TUNING"
    varied = PromptTuning.varied | {"tasks", "rank"}
    config = "MultitaskPromptTuningConfig"
    documented: ClassVar = {
        "prompt_tuning_init": {
            "AVERAGE_SOURCE_TASKS": SOURCE,
            "EXACT_SOURCE_TASK": SOURCE,
            "ONLY_SOURCE_SHARED": SOURCE,
            "TEXT": "tokenizer_name_or_path",
            "RANDOM": "",
        }
    }
    needed_beside = ("task_ids",)
    reference = "conformance.methods.reference.tasks:ReferenceTasks"

    def settings(self, case: Case) -> dict[str, Any]:
        """The number of tasks, and the rank."""
        return {"num_tasks": case.prefix.tasks, "num_ranks": case.prefix.rank, **super().settings(case)}

    def beginning(self, begins: Begins, case: Case) -> dict[str, Any]:
        """The settings by which it begins so; of source tasks that were trained the last is the exact one."""
        if begins not in SOURCES:
            return super().beginning(begins, case)
        own = {"prompt_tuning_init_task": SOURCE_TASKS - 1} if begins == "exact_task" else {}
        return {"prompt_tuning_init": SOURCES[begins], SOURCE: str(self.source_file(case)), **own}

    def beginnings(self, case: Case, family: Family) -> tuple[Begins, ...]:
        """As the embeddings of a text, or as what was trained for other tasks."""
        return ("text", *SOURCES)

    def begun(self, case: Case, layout: Layout, table: Tensor) -> Beginning:
        """The embeddings of the source tasks, with the average of their matrices' parts, those of the last, or none of them."""
        begins = case.prefix.begins
        if begins not in SOURCES:
            return super().begun(case, layout, table)
        trained = self.source(case, layout)
        shared, columns, rows = (trained[name] for name in (EMBEDDING, COLUMNS, ROWS))
        if begins == "shared_prompt":
            return Beginning({EMBEDDING: shared})
        if begins == "average_task":
            return Beginning(
                {EMBEDDING: shared, COLUMNS: columns.mean(0, keepdim=True), ROWS: rows.mean(0, keepdim=True)}
            )
        return Beginning({EMBEDDING: shared, COLUMNS: columns[-1:], ROWS: rows[-1:]})

    def source(self, case: Case, layout: Layout) -> dict[str, Tensor]:
        """The parameters that were trained for the source tasks."""
        prefix = replace(case.prefix, tasks=SOURCE_TASKS, begins="drawn", seed=(case.prefix.seed + 1) % 100)
        trained = replace(case, prefix=prefix)
        return {name: self.draw(trained, name, shape) for name, shape in self.shapes(trained, layout).items()}

    def source_file(self, case: Case) -> Path:
        """A file of them, as PEFT saves it, with a block for each stack that has a share; kept as long as this process lives."""
        from safetensors.torch import save_file

        trained = self.source(case, self.peft_layout(case, family_named(case.family)))
        path = Path(_folder().name) / f"{case.id}.safetensors"
        save_file({"prompt_embeddings" if name == EMBEDDING else name: value for name, value in trained.items()}, path)
        return path

    def beside(self, case: Case) -> dict[str, Tensor]:
        """The task of each row."""
        import torch

        return {"task_ids": torch.tensor([row.task(case.prefix.tasks) for row in case.rows])}

    def shapes(self, case: Case, layout: Layout) -> dict[str, tuple[int, ...]]:
        """The embeddings, block by block, and the two parts of each task's matrix."""
        shared, tasks, rank = super().shapes(case, layout), case.prefix.tasks, case.prefix.rank
        count, hidden = shared[EMBEDDING]
        return {**shared, COLUMNS: (tasks, count, rank), ROWS: (tasks, rank, hidden)}

    def draw(self, case: Case, name: str, shape: tuple[int, ...]) -> Tensor:
        """Scaled so that the embeddings, and the matrices of the tasks, have a standard deviation of about 1."""
        from conformance.families.weights import near, normal_numbers

        if name == EMBEDDING:
            return super().draw(case, name, shape)
        value: Tensor = normal_numbers(case.prefix.seed, f"prompt/{name}", shape)
        if name == ROWS:
            return value * near(case.prefix.rank**-0.5)
        value = value + (value == 0)  # a column of zeros would leave its virtual token without any number
        if case.prefix.order == "reversed":
            value = value.unflatten(1, (-1, case.prefix.length)).flip(2).flatten(1, 2)
        return value

    def scales(self, case: Case, name: str) -> bool:
        """What all tasks share."""
        return name == EMBEDDING

    def keeps_rows(self, case: Case) -> bool:
        """Never: they are products."""
        return False

    def rows(self, raw: Raw) -> Tensor:
        """The embeddings of one task after the other, ``(tasks * blocks * n, hidden)``."""
        return (raw[EMBEDDING] * (raw[COLUMNS] @ raw[ROWS])).flatten(0, 1)

    def inference_rows(self, raw: Raw) -> Tensor:
        """The same: a loaded adapter keeps its parts."""
        return self.rows(raw)

    def injected(self, rows: Tensor, case: Case, layout: Layout) -> Injected:
        """Of each task the first block, ``(tasks, n, hidden)``."""
        by_task = rows.unflatten(0, (case.prefix.tasks, -1))
        return Injected(embeddings=by_task[:, : case.prefix.length].to(self.dtype(case)))

    def raw_holding(self, read: Injected, case: Case, layout: Layout) -> dict[str, Tensor]:
        """The shared embeddings are those of the text, and the matrix of every task is of ones."""
        import torch

        held = super().raw_holding(read, case, layout)
        shapes, first = self.shapes(case, layout), torch.arange(case.prefix.rank) == 0
        columns, rows = first.expand(shapes[COLUMNS]), first[:, None].expand(shapes[ROWS])
        return {**held, COLUMNS: columns.to(held[EMBEDDING].dtype), ROWS: rows.to(held[EMBEDDING].dtype)}


@cache
def _folder() -> TemporaryDirectory[str]:
    return TemporaryDirectory(prefix="conformance-")


MULTITASK_PROMPT_TUNING = MultitaskPromptTuning()
