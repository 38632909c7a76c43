"""A processor of logits, a stopping criterion and a streamer of our own, which change nothing and note what they are given."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

Told = tuple[Tensor, ...]
"""For each call the real tokens ``(rows, length)`` that were given."""


class Watching:
    """What both were told so far."""

    def __init__(self) -> None:
        self.processor: list[Tensor] = []
        self.criterion: list[Tensor] = []

    @property
    def told(self) -> tuple[Told, Told]:
        """What the processor was given in each step, and what the criterion was."""
        return tuple(self.processor), tuple(self.criterion)

    def arguments(self) -> dict[str, Any]:
        """The arguments of generate that put them in place."""
        from transformers import LogitsProcessor, LogitsProcessorList, StoppingCriteria, StoppingCriteriaList

        processor, criterion = self.processor, self.criterion

        class Notes:
            # PEFT copies what an encoder-decoder's generate is given: what a copy is told shall be seen, too.
            def __deepcopy__(self, memo: object) -> Any:
                return self

        class Processor(Notes, LogitsProcessor):
            def __call__(self, input_ids: Any, scores: Any) -> Any:
                processor.append(input_ids.cpu().clone())
                return scores

        class Criterion(Notes, StoppingCriteria):
            def __call__(self, input_ids: Any, scores: Any, **kwargs: Any) -> Any:
                criterion.append(input_ids.cpu().clone())
                return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)

        return {
            "logits_processor": LogitsProcessorList([Processor()]),
            "stopping_criteria": StoppingCriteriaList([Criterion()]),
        }


class Streamer:
    """What is told of each token as it comes: of the text's first, all rows at once, and at last of the end."""

    def __init__(self) -> None:
        self.heard: list[Tensor] = []
        self.ended = False

    def put(self, tokens: Tensor) -> None:
        """Hear the text ``(rows, columns)``, and then one token of each row ``(rows,)``."""
        self.heard.append(tokens.reshape(len(tokens), -1))

    def end(self) -> None:
        """Hear that this was all."""
        self.ended = True

    def told(self) -> Tensor:
        """All that was heard, ``(rows, columns)``; nothing, if not that it has ended."""
        return torch.cat(self.heard, dim=1) if self.heard and self.ended else torch.empty(0, 0, dtype=torch.long)
