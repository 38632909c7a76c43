"""Faults in what a call leaves behind that cannot work, on the reference wrapper."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from conformance.faults.registry import Planted, in_reference
from conformance.faults.weaker import refusals
from conformance.methods.method import DEFAULT_ADAPTER


@in_reference(clause="refusals.never_partial")
class OffAfterARefusal(Planted):
    """Where generate refuses a request the adapter stays off."""

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Switch it off."""
        try:
            return super().generate(max_new_tokens=max_new_tokens, **request)
        except ValueError:
            self.fired()
            self.enabled = False
            raise


@in_reference(clause="refusals.never_partial", weaker=refusals.as_before_a_refused_request)
class HalfLoadedStays(Planted):
    """An adapter is added before its file is read, and stays where that fails."""

    def load(self, folder: str | Path, name: str = DEFAULT_ADAPTER) -> None:
        """Add it first."""
        if self.fired(name not in self.cases):
            self.add(name, self.shape_of)
        super().load(folder, name)


@in_reference(clause="refusals.never_partial", weaker=refusals.as_before_a_refused_request)
class SwitchesToNobody(Planted):
    """A switch to an adapter that is not there is refused, and the first one is no longer active."""

    def switch(self, name: str) -> None:
        """Forget it."""
        if self.fired(name not in self.cases):
            self.active = name
        super().switch(name)


@in_reference(clause="refusals.in_words", weaker=refusals.a_length_is_asked_for)
class OtherTasksAnswerWithoutThePrefix(Planted):
    """A model that is wrapped for another task answers as the base model."""

    def check(self, told: dict[str, Any]) -> None:
        """Take it, and stay off."""
        if self.fired(told["task_type"] != self.family.task):
            self.enabled = False
            return
        super().check(told)


@in_reference(clause="refusals.in_words", weaker=refusals.a_length_is_asked_for)
class UnknownWordsAreForgotten(Planted):
    """A word that no document has is taken for none at all."""

    def check(self, told: dict[str, Any]) -> None:
        """Forget it."""
        unknown = [name for name, words in self.method.documented.items() if told.get(name) not in (None, *words)]
        self.fired(unknown)
        super().check({name: value for name, value in told.items() if name not in unknown})


@in_reference(clause="refusals.in_words")
class LengthIsGuessed(Planted):
    """Where nobody says how many virtual tokens there are, there are as many as there were once."""

    def check(self, told: dict[str, Any]) -> None:
        """Guess."""
        if not self.fired(told["num_virtual_tokens"] is None):
            super().check(told)


@in_reference(clause="refusals.in_words", weaker=refusals.an_unknown_value_ends_in_an_error)
class RefusesWhenItHasAnswered(Planted):
    """What cannot work is refused after the model ran."""

    def check(self, told: dict[str, Any]) -> None:
        """Remember why, and wait."""
        self.why = self.method.amiss(told, self.family)

    def generate(self, *, max_new_tokens: int, **request: Any) -> Any:
        """Answer, and refuse then."""
        out = super().generate(max_new_tokens=max_new_tokens, **request)
        if self.fired(self.why):
            raise ValueError(self.why)
        return out
