"""The reference wrapper of a context of worked examples: it has a loss of its own, over the outputs of context and text."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from conformance.core.case import IGNORED
from conformance.methods.cpt import AN_EXAMPLE, DECAY, TYPES, ContextAwarePromptTuning
from conformance.methods.reference.embeddings import ReferencePrompt


class ReferenceContext(ReferencePrompt):
    """A base model that reads the embeddings of a context in front of those of the text."""

    @property
    def method_of_contexts(self) -> ContextAwarePromptTuning:
        """The method."""
        return cast("ContextAwarePromptTuning", self.method)

    @property
    def types(self) -> Tensor:
        """The types of the context, ``(n,)``."""
        return torch.tensor(self.method_of_contexts.types(self.shape_of), device=self.input_device)

    @property
    def context(self) -> Tensor:
        """The tokens of the context, ``(n,)``."""
        return torch.tensor(self.method_of_contexts.tokens(self.shape_of), device=self.input_device)

    def forward(self, *, return_dict: bool = True, **request: Any) -> Any:
        """Without labels as without types; with labels the loss is made here.

        A trainer that counts the labels of several batches wants of each its share: so many of those that it counts are here.
        """
        labels, types = request.get("labels"), request.pop(TYPES, None)
        if not self.enabled or labels is None:
            return super().forward(return_dict=return_dict, **request)
        items = request.pop("num_items_in_batch", None)
        out = super().forward(**{name: value for name, value in request.items() if name != "labels"})
        types = torch.full_like(labels, AN_EXAMPLE) if types is None else types
        share = 1 if items is None else (labels[:, 1:] != IGNORED).sum() / items
        out.loss = share * self.costs(out.logits, labels, types).mean()
        return out if return_dict else (out.loss, *out.to_tuple())

    def costs(self, logits: Tensor, labels: Tensor, types: Tensor) -> Tensor:
        """What each output that has a label costs, times its weight: ``(outputs,)``."""
        rows = len(labels)
        whole = torch.cat([self.context.expand(rows, -1), labels], dim=1)[:, 1:].to(logits.device)
        kinds = torch.cat([self.types.expand(rows, -1), self.behind(types)], dim=1)[:, 1:].to(logits.device)
        costs = cross_entropy(logits[:, :-1].transpose(1, 2), whole, reduction="none", ignore_index=IGNORED)
        counted = self.outputs(kinds) & (whole != IGNORED)
        return (costs * self.weights(kinds))[counted]

    def behind(self, types: Tensor) -> Tensor:
        """The ``types`` of the text ``(rows, width)``, counted behind the examples of the context."""
        examples = (int(self.types.max()) + AN_EXAMPLE - 1) // AN_EXAMPLE
        return types + AN_EXAMPLE * examples * (types > 0)

    def outputs(self, kinds: Tensor) -> Tensor:
        """Which of the types ``kinds`` ``(rows, columns)`` are those of an output."""
        return (kinds > 0) & (kinds % AN_EXAMPLE == 0)

    def weights(self, kinds: Tensor) -> Tensor:
        """What each column weighs, ``(rows, columns)``: less for each output that is behind its own."""
        found = kinds * self.outputs(kinds)
        if self.shape_of.prefix.context != "decaying":
            return torch.ones_like(kinds, dtype=torch.float32)
        return torch.stack([DECAY ** self.followers(row).float() for row in found])

    def followers(self, outputs: Tensor) -> Tensor:
        """How many outputs are behind that of each column: ``outputs`` ``(columns,)`` are their types, 0 where there is none."""
        behind: Tensor = outputs.unique() > outputs[:, None]
        return behind.sum(1)
