"""The reference wrapper of prompts that differ by task: each row of a batch has that of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from conformance.methods.reference.embeddings import ReferencePrompt


class ReferenceTasks(ReferencePrompt):
    """A base model that reads the embeddings of each row's task in front of those of its text."""

    asked: Tensor | None = None
    """The tasks of the rows in the call that is being answered."""

    def front(self, rows: int) -> Tensor:
        """The embeddings of each row's task, ``(rows, n, hidden)``."""
        found = self.method.injected(self.flat(), self.shape_of, self.layout).embeddings
        assert found is not None, "the method acts on embeddings"
        if self.asked is None:
            raise ValueError("`task_ids` is missing: each row says its task")
        tasks = self.tasks(self.asked)
        # A search of several beams runs each row as many times.
        return found.to(self.input_device)[tasks.repeat_interleave(rows // len(tasks))]

    def tasks(self, asked: Tensor) -> Tensor:
        """The task whose embeddings each row reads, ``(rows,)``."""
        return asked

    def without_tasks(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """The ``request`` without its tasks, which are kept."""
        self.asked = request.get("task_ids")
        return {name: value for name, value in request.items() if name != "task_ids"}

    def forward(self, **request: Any) -> Any:
        """As without tasks."""
        return super().forward(**self.without_tasks(request))

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """As without tasks."""
        return super().generate(max_new_tokens=max_new_tokens, **self.without_tasks(request))
