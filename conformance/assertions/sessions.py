"""A session that is held against what should be after every step: which adapters there are, their values, and who answers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from dataclasses import replace as changed
from typing import TYPE_CHECKING

from msgspec.structs import replace

from conformance.assertions.decoding import sampled_by_hand, searched_by_hand
from conformance.assertions.logits import agree, agree_on_tokens
from conformance.assertions.state import equal_rows
from conformance.core.relations import added_by, asked_by, without_prefix
from conformance.core.signals import RunFailed, Violation, violation
from conformance.core.story import following
from conformance.methods import method_named
from conformance.methods.method import DEFAULT_ADAPTER, NOTHING
from conformance.runs.judged_code import nothing_is_refused

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.core.case import Case, Prefix
    from conformance.core.story import Act
    from conformance.methods.method import Injected
    from conformance.runs.lab import Lab
    from conformance.runs.sessions import LiveSession

MATTERS = 1e-4
"""A gradient of the manual forward's loss that moves an adapter's values by more than their last bits."""


@dataclass(frozen=True)
class Adapter:
    """An adapter as it should be: what it is like, and its flat rows, which follow from its values and are what is saved."""

    case: Case
    rows: Tensor


@contextmanager
def at_step(number: int) -> Iterator[None]:
    """What is violated within the block is told of step ``number`` of the story."""
    try:
        yield
    except Violation as found:
        raise Violation(replace(found.difference, told=number), found.how, found.where) from None
    except RunFailed as failed:
        why, misleading = failed.error, failed.misleading
        raise RunFailed(failed.call, why, failed.where, failed.refused, misleading, told=number) from why


class Course:
    """The session of a story, and what should be."""

    def __init__(self, lab: Lab, case: Case, session: LiveSession) -> None:
        self.lab, self.session, self.case, self.state = lab, session, replace(case, story=()), case.begun
        self.adapters = {DEFAULT_ADAPTER: self._held(DEFAULT_ADAPTER, self.case)} if case.prefix.length else {}
        self.saved: dict[str, Adapter] = {}
        self.answered: set[tuple[Act, Prefix | None]] = set()

    def take(self, step: Act) -> None:
        """Take one step; then all must be as it should be."""
        asked = self._asking(step)
        getattr(self, f"_{step.do}")(step)
        self.answered.add(asked)
        then = following(self.state, step)
        assert then is not None, "a Case holds only steps that may be taken"
        self.state = then
        if self.adapters:
            self._as_it_should_be()

    def _as_it_should_be(self) -> None:
        """The adapters, their values to the bit, and which is active; nothing is asked of the model, which might put it right."""
        subject, names = self.session.subject, sorted(self.adapters)
        if sorted(subject.adapters()) != names:
            raise violation("the adapters", sorted(subject.adapters()), names)
        if subject.active() != self.state.active:
            raise violation("the active adapter", subject.active(), self.state.active)
        for name, adapter in self.adapters.items():
            if not subject.rows_of(name).equal(adapter.rows):
                raise violation(f"the values of the adapter {name!r}", "others", "those that it was given last")

    # -- what is asked ------------------------------------------------------------------------------------------------
    @property
    def _who(self) -> Adapter | None:
        """The adapter that answers, if any."""
        return None if self.state.off or not self.adapters else self.adapters[self.state.active]

    def _asked(self, step: Act) -> Case:
        """What ``step`` asks, as a Case of who answers."""
        asked, who = asked_by(step, self.case), self._who
        assert asked is not None, f"the step {step.do} asks nothing"
        return replace(asked, prefix=who.case.prefix) if who else without_prefix(asked)

    def _injected(self, asked: Case) -> Injected:
        """What should be in front of the text: of an adapter of another size than the model needs, what the Case says."""
        if self._who is None:
            return NOTHING
        said = method_named(asked.method).rows(self.lab.raw(asked))
        held = self._who.rows
        return self.lab.injected_rows(asked, held) if held.shape == said.shape else self.lab.injected(asked)

    def _may_refuse(self, step: Act) -> AbstractContextManager[None]:
        """While the adapter is switched off nothing is refused, since the base model answers; nor what it answered before."""
        return nothing_is_refused() if self.state.off or self._asking(step) in self.answered else nullcontext()

    def _asking(self, step: Act) -> tuple[Act, Prefix | None]:
        """What is asked, and with which virtual tokens: what the base model alone answers may be refused with them."""
        return step, self._who.case.prefix if self._who else None

    def _generate(self, step: Act) -> None:
        asked = self._asked(step)
        with self._may_refuse(step):
            got = self.session.answer(asked)
        injected = self._injected(asked)
        if step.decoding == "searched":
            searched_by_hand(got, self.lab.searched_with(asked, injected))
            return
        expected = self.lab.predict_with(injected, asked, got.tokens)
        agree(got, expected, "generate answers otherwise than the manual forward with the values of who answers")
        if step.decoding == "sampled":
            sampled_by_hand(got)
        else:
            agree_on_tokens(got, expected)

    def _go_on(self, step: Act) -> None:
        import torch

        asked = self._asked(step)
        with self._may_refuse(step):
            said, got = self.session.go_on(asked)
        whole = torch.cat([said, got.tokens], dim=1)
        right = self.lab.predict_with(self._injected(asked), asked, whole)
        expected = changed(right, tokens=got.tokens, logits=right.logits[:, said.shape[1] :])
        agree(changed(got, error=right.error), expected, "going on from the cache answers otherwise")

    def _train(self, step: Act) -> None:
        asked = self._asked(step)
        tokens, session = self.lab.some_tokens(asked), self.session
        got = session.learn(asked, tokens) if self.adapters else self.lab.forward_on(session.subject, asked, tokens)
        expected = self.lab.predict_with(self._injected(asked), asked, tokens)
        agree(got, expected, "the training forward answers otherwise than the manual one")
        if not self.adapters:
            return
        name = self.state.active
        before, self.adapters[name] = self.adapters[name], self._held(name, asked)
        if self.adapters[name].rows.equal(before.rows) and self._matters(asked, tokens, before):
            raise violation(
                f"the values of the adapter {name!r} after training", "as before", "others: the loss moves them"
            )

    def _matters(self, asked: Case, tokens: Tensor, adapter: Adapter) -> bool:
        """Whether the manual forward's loss depends on what is trained of the rows of ``adapter``."""
        import torch

        rows = adapter.rows.clone().requires_grad_()
        loss = self.lab.loss_with(self.lab.injected_rows(asked, rows), asked, tokens)
        if not loss.requires_grad:
            return False
        gradient = torch.autograd.grad(loss, rows)[0]
        return bool((method_named(asked.method).learnt(gradient, asked).abs() > MATTERS).any())

    def _raise(self, step: Act) -> None:
        with self._may_refuse(step):
            self.session.stop(self._asked(step), RuntimeError("raised in a layer"))

    def _interrupt(self, step: Act) -> None:
        with self._may_refuse(step):
            self.session.stop(self._asked(step), KeyboardInterrupt())

    # -- what is done to the adapters ---------------------------------------------------------------------------------
    def _held(self, name: str, case: Case) -> Adapter:
        """The adapter ``name`` with the values that it has now."""
        return Adapter(replace(self.case, prefix=case.prefix), self.session.subject.rows_of(name))

    def _loaded(self, name: str, saved: Adapter) -> Adapter:
        """The adapter ``name``, which must have the values that were ``saved``, but for the last bits of what is computed."""
        found = self._held(name, saved.case)
        settled = method_named(self.case.method).settled
        equal_rows(settled(found.rows, saved.case), settled(saved.rows, saved.case), f"the loaded adapter {name!r}")
        return found

    def _save(self, step: Act) -> None:
        self.session.save()
        self.saved = dict(self.adapters)

    def _load(self, step: Act) -> None:
        self.session.load(step.source, step.adapter)
        self.adapters[step.adapter] = self._loaded(step.adapter, self.saved[step.source])

    def _resume(self, step: Act) -> None:
        saved = self.saved[step.source]
        self.session.resume(saved.case, step.source)
        self.adapters = {DEFAULT_ADAPTER: self._loaded(DEFAULT_ADAPTER, saved)}

    def _add(self, step: Act) -> None:
        added = added_by(step, self.case)
        self.session.add(added, step.adapter)
        self.adapters[step.adapter] = self._held(step.adapter, added)

    def _switch(self, step: Act) -> None:
        self.session.switch(step.adapter)

    def _delete(self, step: Act) -> None:
        self.session.delete(step.adapter)
        del self.adapters[step.adapter]

    def _disable(self, step: Act) -> None:
        self.session.disable()

    def _enable(self, step: Act) -> None:
        self.session.enable()
