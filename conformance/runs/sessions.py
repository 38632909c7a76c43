"""A session with one model: what its user does, step by step, and what the user holds in the meantime."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.core.case import Case
from conformance.core.signals import violation
from conformance.methods import method_named
from conformance.methods.method import DEFAULT_ADAPTER
from conformance.runs.judged_code import guarded
from conformance.runs.trace import Trace
from conformance.runs.turns import FURTHER, all_of_it

if TYPE_CHECKING:
    from conformance.runs.lab import Lab


class LiveSession:
    """A model that nobody else holds, a folder with what was saved last, and the last answer with its cache."""

    def __init__(self, lab: Lab, case: Case, folder: Path) -> None:
        self.lab, self.subject, self.folder = lab, lab.new_subject(case), folder
        self.saves = 0
        self.switched_off = ExitStack()
        self.said, self.cache = torch.empty(0), None

    # -- what is asked ------------------------------------------------------------------------------------------------
    def answer(self, asked: Case) -> Trace:
        """An answer to the texts of ``asked``."""
        got, self.cache = self.lab.answered(self.subject, asked, self.lab.request(asked))
        self.said = got.tokens
        return got

    def go_on(self, asked: Case) -> tuple[Tensor, Trace]:
        """The answer to a further text, from the last cache; and what was said before it, behind the first text."""
        further = torch.tensor([FURTHER], dtype=torch.long).expand(len(asked.rows), -1)
        said = torch.cat([self.said, further], dim=1)
        request = all_of_it(self.lab, asked, said)
        got, _ = self.lab.answered(self.subject, asked, request, {caches.argument(self.subject.base): self.cache})
        return said, got

    def learn(self, asked: Case, tokens: Tensor) -> Trace:
        """One step of an optimiser: the training forward with these labels, its loss, and what follows from it.

        Where the method trains no virtual token of this Case there may be nothing to take a step with.
        """
        learning = list(self.subject.learning().values())
        if not learning and not method_named(asked.method).trained(asked):
            return self.lab.forward_on(self.subject, asked, tokens)
        if not learning:
            raise violation("parameters of the adapter that are trained", "none", "some: nothing has frozen them")
        for parameter in learning:
            parameter.grad = None
        seen = self.lab.forward_on(self.subject, asked, tokens, grad=True)
        if seen.loss_to_learn is None:
            raise violation("the loss of the training forward", "none", "one: there are labels")
        guarded("backward", seen.loss_to_learn.backward, lambda: True)
        torch.optim.SGD(learning, lr=1.0).step()
        return replace(seen, logits=seen.logits.detach(), loss_to_learn=None)

    def stop(self, asked: Case, error: BaseException) -> None:
        """A generate that ``error`` ends in its second step."""
        self.lab.stop_midway(self.subject, asked, error)

    # -- what is done to the adapters ---------------------------------------------------------------------------------
    def save(self) -> None:
        """All adapters, into a folder of their own: what was saved before is gone for the user."""
        self.saves += 1
        self.latest.mkdir()
        guarded("save_pretrained", lambda: self.subject.save(self.latest))

    @property
    def latest(self) -> Path:
        """Where all was saved last."""
        return self.folder / str(self.saves)

    def load(self, source: str, name: str) -> None:
        """Load what was saved of ``source`` into the live model as ``name``."""
        where = self.latest if source == DEFAULT_ADAPTER else self.latest / source
        guarded("load_adapter", lambda: self.subject.load_live(where, name))

    def resume(self, case: Case, source: str) -> None:
        """A new model of ``case``, over whose adapter is loaded what was saved of ``source``."""
        self.subject = self.lab.new_subject(case)
        self.load(source, DEFAULT_ADAPTER)

    def add(self, case: Case, name: str) -> None:
        """Another adapter, with the values that ``case`` says."""
        guarded("add_adapter", lambda: self.subject.add(case, name))
        self.lab.fill(self.subject, case, name)

    def switch(self, name: str) -> None:
        """From now on ``name`` answers."""
        self.lab.switch(self.subject, name)

    def delete(self, name: str) -> None:
        """``name`` is gone."""
        guarded("delete_adapter", lambda: self.subject.remove(name))

    def disable(self) -> None:
        """Enter disable_adapter()."""
        guarded("disable_adapter", lambda: self.switched_off.enter_context(self.subject.disabled()))

    def enable(self) -> None:
        """Leave it."""
        guarded("disable_adapter", self.switched_off.close)
