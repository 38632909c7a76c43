"""The lab runs Cases and remembers what it saw, so that all clauses on one Case pay for each run once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from conformance.compat import caches
from conformance.core.case import FIRST_TEXT_TOKEN, Case
from conformance.core.decodings import DECODINGS
from conformance.core.relations import (
    first_steps,
    in_single,
    other_prefix,
    same_rows,
    unplaced,
    with_labels,
    without_prefix,
    without_story,
)
from conformance.core.signals import Undecided, violation
from conformance.devices.place_model import temporary_folder
from conformance.families.precision import autocasting
from conformance.methods.method import Injected
from conformance.oracles.beams import Asked, Searched, beam_search, following_in
from conformance.oracles.loss import log_probabilities, loss_of
from conformance.oracles.returned import Fields, returned_of_row
from conformance.oracles.table import Oracle, handmade_cache, handmade_loop
from conformance.runs import fresh_process
from conformance.runs.calls import changed, copies, forward, generate, on_cpu, on_device
from conformance.runs.configuring import Way, answer_as_told
from conformance.runs.judged_code import guarded
from conformance.runs.models import Models
from conformance.runs.recording import layer_devices, recording
from conformance.runs.repetition import first_change
from conformance.runs.sessions import LiveSession
from conformance.runs.stopping import cut_short, must_fail, stop_midway
from conformance.runs.subject import Subject
from conformance.runs.tolerance import ERROR_CAP, ERROR_FACTOR, ERROR_FLOOR
from conformance.runs.trace import Learnt, Trace
from conformance.runs.training_batch import TrainingBatch, embedded_request, training_batch
from conformance.runs.turns import FURTHER, goes_on, second_answer


class Lab(Models):
    """Runs for one maker of subjects. Memoises by Case, arguments and dtype; one Lab per fault in force."""

    def fresh(self) -> Lab:
        """The same lab with an empty memory."""
        return Lab(self.maker)

    def beside(self, maker: type[Subject]) -> Lab:
        """A lab for another maker, the same one whenever it is asked for: what clauses run there is remembered, too."""
        return self.once(("beside", maker.maker, maker.mended), lambda: Lab(maker))

    def reference(self) -> Lab:
        """A lab whose subjects are the healthy reference wrapper."""
        return Lab("reference")

    # -- runs ---------------------------------------------------------------------------------------------------------
    def generate(self, case: Case) -> Trace:
        """Generate on the shared subject, decoded as the Case says. Raises :class:`~conformance.core.signals.RunFailed`."""
        return self.once(("generate", case), lambda: self.generate_on(self.subject(case), case))

    def generate_on(self, subject: Subject, case: Case) -> Trace:
        """Generate on ``subject``, not remembered."""
        return self.answered(subject, case, self.request(case))[0]

    def answered(
        self, subject: Subject, case: Case, request: dict[str, Tensor], cache: dict[str, Any] | None = None
    ) -> tuple[Trace, Any]:
        """Generate on ``subject`` as ``case`` says, from the arguments ``request``; and the cache that was returned.

        ``cache``: that of an earlier answer, by the name of its argument, to go on from.
        """
        given = on_device(subject.input_device, request)
        before = copies(given)
        beside = {"assistant_model": self.assistant(case)} if case.decoding == "assisted" else {}
        with recording(subject.base, subject.family, case) as seen:
            got = generate(subject, case, {**given, **beside, **(cache or {})}, seen)
        # Of several answers to a row the first.
        one_each = got.tokens[:: len(got.tokens) // len(case.rows)]
        held = caches.returned(got.out)
        trace = Trace(
            case,
            got.tokens,
            got.logits,
            lambda: self.error(case, one_each),
            seen.finished(),
            caches.snapshot(caches.read_cache(held, case.roles.layers, case.roles.kv_heads)),
            sequences=got.sequences,
            streamed=got.streamed,
            modified_inputs=changed(before, given),
            layer_devices=layer_devices(subject.base, subject.family) if case.placed else (),
            random=got.random,
            told_to_processor=got.noted[0],
            told_to_criterion=got.noted[1],
            scores=got.scores,
            returned=got.returned,
            cache_kind=got.cache_kind,
            embeddings=seen.embeddings,
        )
        return trace, held

    @contextmanager
    def session(self, case: Case) -> Iterator[LiveSession]:
        """A session with a model of ``case`` that nobody else holds."""
        with temporary_folder() as folder:
            yield LiveSession(self, without_story(case), Path(folder))

    def stop_midway(self, subject: Subject, case: Case, error: BaseException) -> None:
        """Generate on ``subject``, which nobody else holds, until ``error`` ends it in the second step."""
        stop_midway(subject, case, on_device(subject.input_device, self.request(case)), error)

    def answer_as_told(self, subject: Subject, case: Case, way: Way) -> Tensor:
        """The tokens ``(rows, steps)`` that ``subject`` answers, where a generation config alone says how many, put there so."""
        return answer_as_told(subject, case, on_device(subject.input_device, self.request(case)), way)

    def fail_in_every_way(self, subject: Subject, case: Case, name: str) -> None:
        """Ask ``subject``, which nobody else holds, for what cannot work; it has no adapter called ``name``.

        A generate of no tokens, a switch to an adapter that is not there, and loading one of which half is missing: beside its
        own, and over it.
        """
        given = on_device(subject.input_device, self.request(case))
        must_fail("generate with max_new_tokens=0", lambda: subject.generate(**given, max_new_tokens=0))
        must_fail("set_adapter to one that is not there", lambda: subject.switch(name))
        with cut_short(self.saved_folder(case)) as folder:
            must_fail("load_adapter of half a file", lambda: subject.load_live(folder, name))
            must_fail("load_adapter of half a file", lambda: subject.load_live(folder))

    def generate_in_fresh_process(self, case: Case, folder: Path) -> Trace:
        """What generate answers in a fresh process that loads the adapter in ``folder``."""
        tokens, logits = fresh_process.generate_elsewhere(self.maker, case, folder)
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    def repeats_itself(self, case: Case) -> bool:
        """Whether generate on two models that are built anew gives the same logits, to the last bit."""
        return self.once(("repeats", case), lambda: self._repeats_itself(case))

    def _repeats_itself(self, case: Case) -> bool:
        one, other = (self.fresh().generate(case).logits for _ in range(2))
        return torch.equal(one.nan_to_num(), other.nan_to_num())

    def continued(self, case: Case) -> Tensor:
        """The tokens ``(rows, steps)`` of two calls on the bare base model, the second going on from the first one's cache."""
        return self.once(("continued", case), lambda: goes_on(self, case))

    def second_answer(self, case: Case, *, from_cache: bool, further: tuple[int, ...] = FURTHER) -> Trace:
        """The answer to a further text, going on from the first one's cache or not; see :mod:`conformance.runs.turns`."""
        key = ("second answer", case, from_cache, further)
        return self.once(key, lambda: second_answer(self, case, from_cache, further))

    def again(self, case: Case) -> Trace:
        """A second, shorter call of generate on the shared subject, after the first one and one of another batch."""
        return self.once(("again", case), lambda: self._again(case))

    def _again(self, case: Case) -> Trace:
        self.generate(case)
        self.generate_on(self.subject(case), first_steps(same_rows(case, len(case.rows) + 1), 1))
        return self.generate_on(self.subject(case), first_steps(case))

    def forward(self, case: Case, tokens: Tensor | None = None) -> Trace:
        """The training path over the text and all but the last of ``tokens`` ``(rows, steps)``, with labels."""
        key = None if tokens is None else tuple(tokens.flatten().tolist())
        return self.once(("forward", case, key), lambda: self.forward_on(self.subject(case), case, tokens))

    def forward_on(self, subject: Subject, case: Case, tokens: Tensor | None = None, grad: bool = False) -> Trace:
        """The training path on ``subject``, not remembered; with ``grad`` the logits carry a graph."""
        forced = torch.zeros(len(case.rows), 1, dtype=torch.long) if tokens is None else tokens
        batch: TrainingBatch = training_batch(case, subject.family, forced, self.base(case))
        given = on_device(subject.input_device, batch.request)
        with (
            recording(subject.base, subject.family, case) as seen,
            torch.set_grad_enabled(grad),
            subject.in_mode_of(case),
        ):
            before = copies(given)
            found, its_loss = forward(subject, case, given, seen)
        logits = on_cpu("forward", found)[batch.rows, batch.columns]
        if grad and not logits.requires_grad:
            raise violation("gradient of the adapter in forward", "none", "one: the logits depend on the adapter")
        loss = None if its_loss is None else float(its_loss.detach())
        modified = changed(before, given)
        return Trace(
            case,
            forced,
            logits,
            lambda: self.error(case, forced),
            seen.finished(),
            loss=loss,
            loss_to_learn=its_loss if grad else None,
            embeddings=seen.embeddings,
            modified_inputs=modified,
            layer_devices=layer_devices(subject.base, subject.family) if case.placed else (),
        )

    def request(self, case: Case) -> dict[str, Tensor]:
        """What the user passes; embeddings come from the lab's own base model."""
        return embedded_request(case, self.family(case), lambda: self.base(case))

    def some_tokens(self, case: Case) -> Tensor:
        """Any tokens ``(rows, steps)``, for computations that must agree whatever is read."""
        return torch.full((len(case.rows), case.new_tokens), FIRST_TEXT_TOKEN)

    def unrepeatable(self, case: Case) -> str:
        """Where the base model or the oracle does not repeat itself to the bit on the bare ``case``; nothing if they do."""
        return first_change(self, case)

    # -- oracles ------------------------------------------------------------------------------------------------------
    def predict(self, case: Case, oracle: Oracle, tokens: Tensor) -> Trace:
        """What ``oracle`` says the logits are, teacher-forced with the ``tokens`` that were seen."""
        key = ("predict", case, oracle.where, tuple(tokens.flatten().tolist()))
        logits = self.once(key, lambda: self._predict(case, oracle, tokens))
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    def _predict(self, case: Case, oracle: Oracle, tokens: Tensor) -> Tensor:
        with autocasting(case):
            # Under autocast a network computes in another precision, and so are the rows that it makes.
            injected = self.injected(case, self.raw(case)) if case.autocast else self.injected(case)
            return oracle(self.base(case), self.family(case), case, tokens, injected)

    def returned(self, case: Case, tokens: Tensor, stepwise: bool = False) -> list[Fields]:
        """What the base model returns of each row beside its logits, teacher-forced with ``tokens`` that were seen."""
        key = ("returned", case, tuple(tokens.flatten().tolist()), stepwise)
        return self.once(key, lambda: self._returned(case, tokens, stepwise))

    def _returned(self, case: Case, tokens: Tensor, stepwise: bool) -> list[Fields]:
        base, family, injected = self.base(case), self.family(case), self.injected(case)
        rows = range(len(case.rows))
        return [returned_of_row(base, family, case, row, tokens, injected, stepwise) for row in rows]

    def loss_by_hand(self, case: Case, tokens: Tensor) -> float:
        """The loss that the training path is to have over the text and all but the last of ``tokens`` ``(rows, steps)``."""
        every = with_labels(case, "all")
        key = ("log-probabilities", every, tuple(tokens.flatten().tolist()))
        made = lambda: log_probabilities(self.base(every), self.family(every), every, tokens, self.injected(every))  # noqa: E731
        return float(loss_of(case, self.once(key, made)))

    def loss_from(self, raw: dict[str, Tensor], case: Case, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """The same for an adapter with the parameters ``raw``, with its graph; not remembered."""
        return self.loss_with(self.injected(case, raw), case, tokens, smoothing)

    def loss_with(self, injected: Injected, case: Case, tokens: Tensor, smoothing: float = 0.0) -> Tensor:
        """The same with what is ``injected``, and with that much label smoothing."""
        base, family = self.base(case), self.family(case)
        return loss_of(case, log_probabilities(base, family, case, tokens, injected, grad=True, smoothing=smoothing))

    @contextmanager
    def trainer(self, case: Case, tokens: Tensor, smoothing: float = 0.0) -> Iterator[Callable[[int], Learnt]]:
        """What trains a fresh subject over the batch of the training path, afresh or after so many steps of those before.

        ``smoothing``: with that much label smoothing, for one step. See :mod:`conformance.runs.trainer`.
        """

        def train(resume: int) -> Learnt:
            subject = self.new_subject(case)
            if resume:
                # Who goes on from a checkpoint has other values before: those of the checkpoint must come.
                self.fill(subject, other_prefix(case))
            batch = training_batch(case, subject.family, tokens, self.base(case)).request
            losses = guarded("Trainer", lambda: subject.train(batch, Path(folder), resume, smoothing))
            return Learnt(losses, subject.raw())

        with temporary_folder() as folder:
            yield train

    def searched(self, case: Case) -> list[Searched]:
        """For every row of ``case`` what a beam search by hand finds, and how it asks what follows."""
        return self.once(("searched", case), lambda: self.searched_with(case, self.injected(case)))

    def searched_with(self, case: Case, injected: Injected) -> list[Searched]:
        """The same with what is ``injected``; not remembered."""
        asked = Asked.of(case, DECODINGS[case.decoding])
        base, family = self.base(case), self.family(case)
        ways = [following_in(base, family, case, row, injected) for row in range(len(case.rows))]
        return [Searched(beam_search(following, asked), following, asked) for following in ways]

    def predict_from(self, raw: dict[str, Tensor], case: Case, tokens: Tensor, grad: bool = False) -> Trace:
        """What the manual forward says for an adapter with the parameters ``raw``; not remembered; ``grad`` as for an oracle."""
        return self.predict_with(self.injected(case, raw), case, tokens, grad)

    def predict_with(self, injected: Injected, case: Case, tokens: Tensor, grad: bool = False) -> Trace:
        """The same with what is ``injected``."""
        with autocasting(case):
            logits = handmade_cache(self.base(case), self.family(case), case, tokens, injected, grad)
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    def error(self, case: Case, tokens: Tensor) -> float | None:
        """How far two right computations of the base's logits may be apart, in logits; ``None`` if over the cap.

        In half precision: the Case's own logits, once in float32, and without a cap, since no two come nearer. Raises
        :class:`~conformance.core.signals.Undecided` for a base model whose logits are not numbers.
        """
        if case.in_half:
            return self._rounding(unplaced(case), tokens)
        bare = unplaced(without_prefix(case))
        one = self.predict(bare, handmade_cache, tokens).logits
        other = self.predict(bare, handmade_loop, tokens).logits
        if not one.isfinite().all():
            raise Undecided("nothing to compare with: the base model alone answers NaN or infinities")
        spread = float((one.amax(-1) - one.amin(-1)).mean())
        error = max(ERROR_FACTOR * float((one - other).abs().max()), ERROR_FLOOR * spread)
        return error if error <= ERROR_CAP * spread else None

    def _rounding(self, case: Case, tokens: Tensor) -> float:
        rounded = self.predict(case, handmade_cache, tokens).logits.double()
        apart = float((rounded - self.predict(in_single(case), handmade_cache, tokens).logits).abs().max())
        if not math.isfinite(apart):
            raise Undecided("nothing to compare with: the manual forward gives NaN or infinities")
        return ERROR_FACTOR * apart
