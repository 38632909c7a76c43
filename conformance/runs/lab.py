"""The lab runs Cases and remembers what it saw, so that all clauses on one Case pay for each run once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from torch import Tensor

from conformance.compat import caches, checkpointing
from conformance.core.case import FIRST_TEXT_TOKEN, Case, base_of, model_of
from conformance.core.decodings import DECODINGS
from conformance.core.relations import first_steps, same_rows, unplaced, without_prefix
from conformance.core.signals import Signal, Undecided, violation
from conformance.devices.place_model import keeping, temporary_folder
from conformance.families import Family, family_named
from conformance.families.build import build
from conformance.families.inputs import inputs_of
from conformance.methods import method_named
from conformance.methods.method import NOTHING, Injected, Layout, Raw
from conformance.oracles.beams import Asked, Searched, beam_search, following_in
from conformance.oracles.real_tokens import injected_of_text
from conformance.oracles.table import Oracle, handmade_cache, handmade_loop
from conformance.runs import fresh_process
from conformance.runs.calls import changed, copies, generate, on_cpu, on_device
from conformance.runs.configuring import Way, answer_as_told
from conformance.runs.judged_code import guarded
from conformance.runs.recording import layer_devices, recording
from conformance.runs.repetition import first_change
from conformance.runs.stopping import cut_short, must_fail, stop_midway
from conformance.runs.subject import MAKERS, Before, Subject, as_it_is
from conformance.runs.tolerance import ERROR_CAP, ERROR_FACTOR, ERROR_FLOOR
from conformance.runs.trace import Trace
from conformance.runs.training_batch import TrainingBatch, embedded_request, training_batch
from conformance.runs.turns import FURTHER, second_answer

T = TypeVar("T")


class Lab:
    """Runs for one maker of subjects. Memoises by Case, arguments and dtype; one Lab per fault in force."""

    def __init__(self, maker: str | type[Subject] = "peft") -> None:
        self.maker = MAKERS[maker] if isinstance(maker, str) else maker
        self._memo: dict[Any, Any] = {}

    def fresh(self) -> Lab:
        """The same lab with an empty memory."""
        return Lab(self.maker)

    def beside(self, maker: type[Subject]) -> Lab:
        """A lab for another maker, the same one whenever it is asked for: what clauses run there is remembered, too."""
        return self.once(("beside", maker.maker, maker.mended), lambda: Lab(maker))

    @property
    def mended(self) -> tuple[str, ...]:
        """The known failures that are mended in what is judged."""
        return self.maker.mended

    def reference(self) -> Lab:
        """A lab whose subjects are the healthy reference wrapper."""
        return Lab("reference")

    def once(self, key: Any, make: Callable[[], T]) -> T:
        """What ``make`` gives or raises, remembered under ``key``."""
        if key not in self._memo:
            try:
                self._memo[key] = (make(), None)
            except Signal as signal:
                self._memo[key] = (None, signal)
        value, ended = self._memo[key]
        if ended is not None:
            raise ended.with_traceback(None)
        found: T = value
        return found

    # -- models -------------------------------------------------------------------------------------------------------
    def family(self, case: Case) -> Family:
        """The Case's family."""
        return family_named(case.family)

    def base(self, case: Case) -> Any:
        """A base model of the lab's own, which no wrapper has ever modified."""
        key = base_of(case)
        return self.once(("base", key), lambda: build(key))

    def subject(self, case: Case) -> Subject:
        """The wrapped model, shared by all calls on it. Clauses that change it take :meth:`new_subject`."""
        return self.once(("subject", model_of(case)), lambda: self.new_subject(case))

    def new_subject(self, case: Case, before: Before = as_it_is) -> Subject:
        """A wrapped model that nobody else holds; ``before`` it is wrapped that is done with its base model."""
        case = model_of(case)
        if case.prefix.length == 0:
            return Subject(case, _checkpointed if case.checkpointing != "off" else before)
        if case.placement.adapter == "loaded":
            return self._loaded_onto(case)
        prepared = _checkpointed if case.checkpointing == "before" else before
        subject = guarded("get_peft_model", lambda: self.maker(case, before=prepared))
        if case.checkpointing == "after":
            _checkpointed(subject.model)
        self._fill(subject, case)
        return subject

    def _fill(self, subject: Subject, case: Case) -> None:
        """Give the active adapter of ``subject`` the parameters that ``case`` says."""
        raw, method = self.raw(case), method_named(case.method)
        subject.fill(lambda name, shape: raw[name] if raw[name].shape == shape else method.draw(case, name, shape))

    def add_adapter(self, subject: Subject, case: Case, name: str) -> None:
        """Add the adapter of ``case`` to ``subject``, which nobody else holds, under ``name``, and switch to it."""
        case = model_of(case)
        guarded("add_adapter", lambda: subject.add(case, name))
        self.switch(subject, name)
        self._fill(subject, case)

    def switch(self, subject: Subject, name: str) -> None:
        """Switch ``subject`` to its adapter called ``name``."""
        guarded("set_adapter", lambda: subject.switch(name))

    def _loaded_onto(self, case: Case) -> Subject:
        """The adapter was saved elsewhere, and is loaded onto the placed model; weights may then wait in its folder."""
        folder = temporary_folder()
        shutil.copytree(self.saved_folder(unplaced(case)), folder.name, dirs_exist_ok=True)
        subject = guarded("from_pretrained", lambda: self.maker.load(case, Path(folder.name)))
        keeping(folder, subject.base)
        return subject

    # -- saving and loading -------------------------------------------------------------------------------------------
    @contextmanager
    def saved(self, subject: Subject) -> Iterator[Path]:
        """A folder that holds the saved adapter of ``subject``, for as long as the block lasts."""
        with temporary_folder() as name:
            guarded("save_pretrained", lambda: subject.save(Path(name)))
            yield Path(name)

    def saved_folder(self, case: Case) -> Path:
        """A folder that holds the saved adapter of the shared subject, for as long as the lab lives."""

        def save() -> TemporaryDirectory[str]:
            folder = temporary_folder()
            guarded("save_pretrained", lambda: self.subject(case).save(Path(folder.name)))
            return folder

        return Path(self.once(("saved", model_of(case)), save).name)

    def reloaded(self, case: Case) -> Subject:
        """A fresh base model with the adapter loaded in this process, shared by those who do not change it."""
        folder = self.saved_folder(case)
        load = lambda: guarded("from_pretrained", lambda: self.maker.load(case, folder))  # noqa: E731
        return self.once(("loaded", model_of(case)), load)

    def generate_in_fresh_process(self, case: Case, folder: Path) -> Trace:
        """What generate answers in a fresh process that loads the adapter in ``folder``."""
        tokens, logits = fresh_process.generate_elsewhere(self.maker, case, folder)
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    # -- the adapter --------------------------------------------------------------------------------------------------
    def layout(self, case: Case) -> Layout:
        """Which row of the adapter serves which layer, for this maker's subjects."""
        return self.maker.layout(case)

    def raw(self, case: Case) -> dict[str, Tensor]:
        """The raw parameters that the Case says, drawn without any wrapper."""
        key = model_of(case)
        return self.once(("raw", key), lambda: self._raw(key))

    def _raw(self, case: Case) -> dict[str, Tensor]:
        method, layout = method_named(case.method), self.layout(case)
        if case.prefix.content == "tokens":
            read = injected_of_text(self.base(case), self.family(case), case)
            return method.raw_holding(read, case, layout)
        return {name: method.draw(case, name, shape) for name, shape in method.shapes(case, layout).items()}

    def injected(self, case: Case, raw: Raw | None = None) -> Injected:
        """What is in front of the text: by our own arithmetic from ``raw``, or the parameters that the Case says."""
        if case.prefix.length == 0:
            return NOTHING
        method, key = method_named(case.method), model_of(case)
        if raw is not None:
            return method.injected(method.rows(raw), key, self.layout(key))
        return self.once(("injected", key), lambda: self.injected(key, self.raw(key)))

    # -- runs ---------------------------------------------------------------------------------------------------------
    def generate(self, case: Case) -> Trace:
        """Generate on the shared subject, decoded as the Case says. Raises :class:`~conformance.core.signals.RunFailed`."""
        return self.once(("generate", case), lambda: self.generate_on(self.subject(case), case))

    def generate_on(self, subject: Subject, case: Case) -> Trace:
        """Generate on ``subject``, not remembered."""
        given = on_device(subject.input_device, self.request(case))
        before = copies(given)
        with recording(subject.base, subject.family, case) as seen:
            got = generate(subject, case, given, seen)
        # Of several answers to a row the first.
        one_each = got.tokens[:: len(got.tokens) // len(case.rows)]
        return Trace(
            case,
            got.tokens,
            got.logits,
            lambda: self.error(case, one_each),
            seen.finished(),
            caches.snapshot(caches.read_cache(caches.returned(got.out), case.roles.layers, case.roles.kv_heads)),
            sequences=got.sequences,
            streamed=got.streamed,
            modified_inputs=changed(before, given),
            layer_devices=layer_devices(subject.base, subject.family) if case.placed else (),
            random=got.random,
            told_to_processor=got.noted[0],
            told_to_criterion=got.noted[1],
            scores=got.scores,
        )

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

    def repeats_itself(self, case: Case) -> bool:
        """Whether generate on two models that are built anew gives the same logits, to the last bit."""
        return self.once(("repeats", case), lambda: self._repeats_itself(case))

    def _repeats_itself(self, case: Case) -> bool:
        one, other = (self.fresh().generate(case).logits for _ in range(2))
        return torch.equal(one.nan_to_num(), other.nan_to_num())

    def continued(self, case: Case) -> Tensor:
        """The tokens ``(rows, steps)`` of two calls on the bare base model, the second going on from the first one's cache."""
        return self.once(("continued", case), lambda: self._continued(case))

    def _continued(self, case: Case) -> Tensor:
        subject = self.subject(case)
        given = on_device(subject.input_device, self.request(case))
        text = "decoder_input_ids" if subject.family.encoder_decoder else "input_ids"
        inputs = inputs_of(subject.family)
        beside = {name: value for name, value in given.items() if name in inputs.arguments}
        with torch.no_grad():
            first = guarded("generate", lambda: subject.generate(**given, max_new_tokens=2))
            given[text] = first.sequences
            if not subject.family.encoder_decoder and "attention_mask" in given:
                answered = torch.ones_like(first.sequences[:, :2])
                given["attention_mask"] = torch.cat(
                    [given["attention_mask"], answered.to(given["attention_mask"])], dim=1
                )
            later = inputs.for_longer_text(beside, first.sequences.shape[1])
            given = {name: value for name, value in given.items() if name not in beside} | later
            cache = {caches.argument(subject.base): caches.returned(first)}
            out = guarded("generate", lambda: subject.generate(**given, **cache, max_new_tokens=2))
        found: Tensor = out.sequences.cpu()
        return found

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
            out = guarded("forward", lambda: subject.model(**given), lambda: seen.layer_ran)
        logits = on_cpu("forward", out.logits)[batch.rows, batch.columns]
        if grad and not logits.requires_grad:
            raise violation("gradient of the adapter in forward", "none", "one: the logits depend on the adapter")
        loss = None if out.loss is None else float(out.loss.detach())
        modified = changed(before, given)
        return Trace(
            case,
            forced,
            logits,
            lambda: self.error(case, forced),
            seen.finished(),
            loss=loss,
            loss_to_learn=out.loss if grad else None,
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
        logits = self.once(key, lambda: oracle(self.base(case), self.family(case), case, tokens, self.injected(case)))
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    def searched(self, case: Case) -> list[Searched]:
        """For every row of ``case`` what a beam search by hand finds, and how it asks what follows."""
        return self.once(("searched", case), lambda: self._searched(case))

    def _searched(self, case: Case) -> list[Searched]:
        asked = Asked.of(case, DECODINGS[case.decoding])
        base, family, injected = self.base(case), self.family(case), self.injected(case)
        ways = [following_in(base, family, case, row, injected) for row in range(len(case.rows))]
        return [Searched(beam_search(following, asked), following, asked) for following in ways]

    def predict_from(self, raw: dict[str, Tensor], case: Case, tokens: Tensor, grad: bool = False) -> Trace:
        """What the manual forward says for an adapter with the parameters ``raw``; not remembered; ``grad`` as for an oracle."""
        logits = handmade_cache(self.base(case), self.family(case), case, tokens, self.injected(case, raw), grad)
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    def error(self, case: Case, tokens: Tensor) -> float | None:
        """How far two right computations of the base's logits may be apart, in logits; ``None`` if over the cap.

        Raises :class:`~conformance.core.signals.Undecided` for a base model whose logits are not numbers.
        """
        bare = unplaced(without_prefix(case))
        one = self.predict(bare, handmade_cache, tokens).logits
        other = self.predict(bare, handmade_loop, tokens).logits
        if not one.isfinite().all():
            raise Undecided("nothing to compare with: the base model alone answers NaN or infinities")
        spread = float((one.amax(-1) - one.amin(-1)).mean())
        error = max(ERROR_FACTOR * float((one - other).abs().max()), ERROR_FLOOR * spread)
        return error if error <= ERROR_CAP * spread else None


def _checkpointed(model: Any) -> None:
    """Some models do not know gradient checkpointing, and say so."""
    guarded("gradient_checkpointing_enable", lambda: checkpointing.enable(model))
