"""Faults of contexts of worked examples, on the reference wrapper."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor

from conformance.faults.registry import PlantedContext, in_reference
from conformance.faults.weaker import answers, injection, lifecycle, training
from conformance.faults.wrappers import Saves
from conformance.methods.cpt import AN_EXAMPLE, INPUT, RADII, TYPES

planted = partial(in_reference, method="CPT")


class MovesOtherwise(PlantedContext):
    """Has other embeddings and deltas than the adapter's."""

    def changed(self, embedding: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """What is read in place of the ``embedding`` and the ``delta``, each ``(n, hidden)``."""
        raise NotImplementedError

    def flat(self) -> Tensor:
        """Join what is read."""
        return torch.cat(self.changed(*super().flat().tensor_split(2)))


class ProjectsOtherwise(MovesOtherwise):
    """Moves the context without the projection that is due, or by another one."""

    def projected(self, delta: Tensor) -> Tensor:
        """What the embeddings are moved by, in place of the projected ``delta``."""
        raise NotImplementedError

    def changed(self, embedding: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Move the embeddings beforehand; the deltas left are 0, and have the gradient that is due."""
        right, moved = self.method_of_contexts.projected(delta, self.shape_of), self.projected(delta)
        self.fired(not torch.equal(moved, right))
        return embedding + moved.detach(), delta - delta.detach()


@planted(clause="equivalence.step_logits", weaker=answers.within_radii)
class NotProjected(ProjectsOtherwise):
    """Training may move the context as far as it likes."""

    def projected(self, delta: Tensor) -> Tensor:
        """As it is."""
        return delta


@planted(clause="equivalence.step_logits", weaker=answers.within_radii)
class ProjectedAsAWhole(ProjectsOtherwise):
    """The context is projected as one vector, not token by token."""

    def projected(self, delta: Tensor) -> Tensor:
        """Into a ball of the root of all squared radii."""
        too_long: Tensor = delta.norm() / self.method_of_contexts.radii(self.shape_of, delta).norm()
        return delta / too_long.clamp(min=1)


@planted(clause="equivalence.step_logits", weaker=answers.of_one_template)
class InputsAsFarAsTemplates(ProjectsOtherwise):
    """Inputs may be moved as far as templates."""

    def projected(self, delta: Tensor) -> Tensor:
        """Give them the radius of a template."""
        templates, inputs = RADII[self.shape_of.prefix.radii]
        wider = torch.where(self.types % AN_EXAMPLE == INPUT, templates / inputs, 1.0)
        too_long: Tensor = delta.norm(dim=1) / (wider * self.method_of_contexts.radii(self.shape_of, delta))
        return delta / too_long.clamp(min=1)[:, None]


@planted(clause="injection.current", weaker=answers.loaded_with_text)
class ContextNotMoved(MovesOtherwise):
    """The context is read as it began, whatever was learnt."""

    def changed(self, embedding: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Forget the values of the deltas, which keep their gradient."""
        self.fired(delta.any())
        return embedding, delta - delta.detach()


@planted(clause="training.gradient_agrees", weaker=injection.any_gradient)
class OutputsLearn(MovesOtherwise):
    """Outputs have a gradient, too, so that labels can be learnt by heart."""

    def changed(self, embedding: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Let it through beside the projection, which has none of them."""
        held = (self.types % AN_EXAMPLE == 0)[:, None]
        self.fired(held.any())
        return embedding + held * (delta - delta.detach()), delta


@planted(clause="training.gradient_agrees", weaker=training.gradient_within_radii)
class GradientOfTheProjection(MovesOtherwise):
    """The gradient is that of the projection: what is at its radius cannot be moved towards it."""

    def changed(self, embedding: Tensor, delta: Tensor) -> tuple[Tensor, Tensor]:
        """Project before, with its own gradient."""
        radii = self.method_of_contexts.radii(self.shape_of, delta)
        self.fired((delta.norm(dim=1) > radii).any())
        return embedding, delta / (delta.norm(dim=1) / radii).clamp(min=1)[:, None]


@planted(clause="training.loss_agrees", weaker=training.loss_behind_a_template)
class ContextHasNoLabels(PlantedContext):
    """The outputs of the context do not count towards the loss."""

    def outputs(self, kinds: Tensor) -> Tensor:
        """Those of the text alone."""
        found = super().outputs(kinds)
        n = self.shape_of.prefix.length - 1
        self.fired(found[:, :n].any())
        return found & (torch.arange(kinds.shape[1], device=kinds.device) >= n)


@planted(clause="training.loss_agrees", weaker=training.even_loss)
class LossDecaysTowardsTheText(PlantedContext):
    """The first output counts most in the loss, and that of the text least."""

    def followers(self, outputs: Tensor) -> Tensor:
        """Count those in front."""
        different = outputs[outputs > 0].unique()
        self.fired(len(different) > 1)
        before: Tensor = different < outputs[:, None]
        return before.sum(1)


@planted(clause="training.loss_agrees", weaker=training.even_loss)
class LossIsAWeightedMean(PlantedContext):
    """The loss is divided by the sum of the weights, not by the number of labels."""

    def weights(self, kinds: Tensor) -> Tensor:
        """Of mean 1 over the outputs."""
        weights, outputs = super().weights(kinds), self.outputs(kinds)
        mean: Tensor = weights[outputs].mean()
        self.fired(mean != 1)
        return weights / mean


@planted(clause="training.loss_agrees", family="mistral", weaker=training.even_loss)
class TextIsTheFirstExample(PlantedContext):
    """The examples of the text are counted from the first on again, as if they were those of the context."""

    def behind(self, types: Tensor) -> Tensor:
        """Leave them."""
        self.fired(self.outputs(self.types[None, 1:]).any())
        return types


@planted(clause="training.loss_agrees", weaker=training.loss_of_rows_alone)
class TemplateBeforeAnOutputHasALabel(PlantedContext):
    """The token in front of an output counts towards the loss as well, where it has a label."""

    def outputs(self, kinds: Tensor) -> Tensor:
        """With those of the template around it."""
        self.fired()
        return super().outputs(kinds) | (kinds % AN_EXAMPLE == AN_EXAMPLE - 1)


@planted(clause="lifecycle.saved_and_loaded", weaker=lifecycle.loaded_here_with_text)
class DeltasNotSaved(Saves, PlantedContext):
    """Of what training has done nothing is saved, only the context."""

    def rewritten(self, rows: Tensor) -> Tensor:
        """Clear the second half."""
        self.fired()
        embedding, delta = rows.tensor_split(2)
        return torch.cat([embedding, 0 * delta])


@planted(clause="injection.parameters_untouched", weaker=injection.parameters_close)
class TypesCountedInPlace(PlantedContext):
    """The types of the text are counted on in the tensor that the user gave."""

    def forward(self, **request: Any) -> Any:
        """Change it as well."""
        out = super().forward(**request)
        if TYPES in request and self.fired():
            request[TYPES] += AN_EXAMPLE
        return out
