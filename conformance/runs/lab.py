"""The lab runs Cases and remembers what it saw, so that forty clauses on one Case pay for each run once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import torch
from msgspec.structs import replace
from torch import Tensor

from conformance.compat import caches
from conformance.core.case import Case, Row
from conformance.core.relations import first_steps, same_rows, unplaced, without_prefix
from conformance.core.signals import Signal, violation
from conformance.families import Family, family_named
from conformance.families.build import build
from conformance.families.inputs import inputs_of, request
from conformance.methods import method_named
from conformance.methods.method import NOTHING, Injected, Layout, Raw
from conformance.oracles.handmade import handmade_cache, handmade_loop
from conformance.oracles.real_tokens import keys_values_of_text
from conformance.runs.subject import MAKERS, Subject
from conformance.runs.trace import Recorder, Trace, failed, layer_devices, ours, recording
from conformance.runs.training_batch import TrainingBatch, embeds, training_batch

T = TypeVar("T")
Oracle = Callable[[Any, Family, Case, Tensor, Injected], Tensor]
"""``(base, family, case, tokens, injected) -> logits``, of shape ``(rows, steps, vocabulary)``; it knows no Lab."""

ERROR_FACTOR, ERROR_FLOOR, ERROR_CAP = 10.0, 1e-5, 1e-3
"""error(Case) = factor x difference of two right computations; floor and cap relative to the spread of the logits."""


class Lab:
    """Runs for one maker of subjects. Memoises by Case, arguments and dtype; one Lab per fault in force."""

    def __init__(self, maker: str | type[Subject] = "peft") -> None:
        self.maker = MAKERS[maker] if isinstance(maker, str) else maker
        self._memo: dict[Any, Any] = {}

    def fresh(self) -> Lab:
        """The same lab with an empty memory."""
        return Lab(self.maker)

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
        """A base model of the lab's own, which no wrapper has ever touched."""
        key = model_of(unplaced(without_prefix(case)))
        return self.once(("base", key), lambda: build(key))

    def subject(self, case: Case) -> Subject:
        """The wrapped model, shared by all calls on it. Clauses that change it take :meth:`new_subject`."""
        return self.once(("subject", model_of(case)), lambda: self.new_subject(case))

    def new_subject(self, case: Case) -> Subject:
        """A wrapped model that nobody else holds."""
        case = model_of(case)
        if case.prefix.length == 0:
            return Subject(case)
        if case.placement.adapter == "loaded":
            return self._loaded_onto(case)
        subject = guarded("get_peft_model", lambda: self.maker(case))
        raw, method = self.raw(case), method_named(case.method)
        subject.fill(lambda name, shape: raw[name] if raw[name].shape == shape else method.draw(case, name, shape))
        return subject

    def _loaded_onto(self, case: Case) -> Subject:
        """The adapter was saved elsewhere, and is loaded onto the placed model."""
        with TemporaryDirectory(prefix="conformance-") as folder:
            self.new_subject(unplaced(case)).save(Path(folder))
            return guarded("from_pretrained", lambda: self.maker.load(case, Path(folder)))

    # -- the adapter --------------------------------------------------------------------------------------------------
    def layout(self, case: Case) -> Layout:
        """Which row of the adapter serves which layer, for this maker's subjects."""
        return self.maker.layout(case)

    def raw(self, case: Case) -> dict[str, Tensor]:
        """The raw parameters that the Case says, drawn without any wrapper."""
        method, layout = method_named(case.method), self.layout(case)
        if case.prefix.content == "tokens":
            filled = keys_values_of_text(self.base(case), self.family(case), case)
            return method.raw_holding(filled, case, layout)
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
        given = _to(subject.input_device, self.request(case))
        asked = {"max_new_tokens": case.new_tokens, **decoding(case)}
        with recording(subject.base, subject.family, case) as seen, torch.no_grad():
            before = _copies(given)
            out = guarded("generate", lambda: subject.generate(**given, **asked), seen)
        logits = torch.stack([brought("generate", step) for step in out.logits], dim=1)
        tokens = brought("generate", out.sequences)[:, -logits.shape[1] :]
        return Trace(
            case,
            tokens,
            logits,
            lambda: self.error(case, tokens),
            seen.finished(),
            caches.snapshot(caches.read(caches.returned(out), case.roles.layers, case.roles.kv_heads)),
            modified_inputs=_changed(before, given),
            layer_devices=layer_devices(subject.base, subject.family) if case.placed else (),
        )

    def continued(self, case: Case) -> Tensor:
        """The tokens ``(rows, steps)`` of two calls on the bare base model, the second going on from the first one's cache."""
        return self.once(("continued", case), lambda: self._continued(case))

    def _continued(self, case: Case) -> Tensor:
        subject = self.subject(case)
        given = _to(subject.input_device, self.request(case))
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
            given.update(inputs.for_longer_text(beside, first.sequences.shape[1]))
            cache = {caches.argument(subject.base): caches.returned(first)}
            out = guarded("generate", lambda: subject.generate(**given, **cache, max_new_tokens=2))
        found: Tensor = out.sequences.cpu()
        return found

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
        told = torch.zeros(len(case.rows), 1, dtype=torch.long) if tokens is None else tokens
        finished: TrainingBatch = training_batch(case, subject.family, told, self.base(case))
        given = _to(subject.input_device, finished.request)
        with recording(subject.base, subject.family, case) as seen, torch.set_grad_enabled(grad):
            before = _copies(given)
            out = guarded("forward", lambda: subject.model(**given), seen)
        logits = brought("forward", out.logits)[finished.rows, finished.columns]
        if grad and not logits.requires_grad:
            raise violation("gradient of the adapter in forward", "none", "one: the logits depend on the adapter")
        loss = None if out.loss is None else float(out.loss.detach())
        touched = _changed(before, given)
        return Trace(
            case, told, logits, lambda: self.error(case, told), seen.finished(), loss=loss, modified_inputs=touched
        )

    def request(self, case: Case) -> dict[str, Tensor]:
        """What the user passes; embeddings come from the lab's own base model."""
        given = request(case, self.family(case))
        if case.inputs == "embeds":
            given["inputs_embeds"] = embeds(self.base(case), given.pop("input_ids"))
        return given

    # -- oracles ------------------------------------------------------------------------------------------------------
    def predict(self, case: Case, oracle: Oracle, tokens: Tensor) -> Trace:
        """What ``oracle`` says the logits are, teacher-forced with the ``tokens`` that were seen."""
        key = ("predict", case, oracle.__name__, tuple(tokens.flatten().tolist()))
        logits = self.once(key, lambda: oracle(self.base(case), self.family(case), case, tokens, self.injected(case)))
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    def predict_from(self, raw: dict[str, Tensor], case: Case, tokens: Tensor) -> Trace:
        """What the manual forward says for an adapter with the parameters ``raw``; not remembered."""
        logits = handmade_cache(self.base(case), self.family(case), case, tokens, self.injected(case, raw))
        return Trace(case, tokens, logits, lambda: self.error(case, tokens))

    def error(self, case: Case, tokens: Tensor) -> float | None:
        """How far two right computations of the base's logits may be apart, in logits; ``None`` if over the cap."""
        bare = unplaced(without_prefix(case))
        one = self.predict(bare, handmade_cache, tokens).logits
        other = self.predict(bare, handmade_loop, tokens).logits
        spread = float((one.amax(-1) - one.amin(-1)).mean())
        error = max(ERROR_FACTOR * float((one - other).abs().max()), ERROR_FLOOR * spread)
        return error if error <= ERROR_CAP * spread else None


def model_of(case: Case) -> Case:
    """The Case with everything forgotten that does not change the wrapped model."""
    # An encoder-decoder's keys of a real text depend on what the encoder read.
    rows = case.rows[:1] if case.prefix.content == "tokens" else (Row(),)
    return replace(
        case,
        rows=rows,
        new_tokens=5,
        padding="left",
        mask="long",
        inputs="ids",
        given_positions=False,
        position_shift=0,
        beams=1,
        cache="dynamic",
    )


def decoding(case: Case) -> dict[str, Any]:
    """How generate is told to decode, beyond the defaults."""
    beams = {"num_beams": case.beams} if case.beams > 1 else {}
    return beams | ({"cache_implementation": case.cache} if case.cache != "dynamic" else {})


def _to(device: torch.device, given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.to(device) for name, value in given.items()}


def brought(call: str, answer: Tensor) -> Tensor:
    """``answer`` on the CPU. One without data, for want of weights that were loaded, is no answer: a crash of the subject."""
    if answer.is_meta:
        raise failed(call, NotImplementedError("the answer has no data: it is on the meta device"), True)
    return answer.cpu()


def _copies(given: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in given.items()}


def _changed(before: dict[str, Tensor], given: dict[str, Tensor]) -> tuple[str, ...]:
    return tuple(name for name, value in before.items() if not torch.equal(value, given[name]))


def guarded(call: str, run: Callable[[], T], seen: Recorder | None = None) -> T:
    """Run judged code; its exceptions become :class:`~conformance.core.signals.RunFailed`, ours pass through."""
    try:
        return run()
    except Signal:
        raise
    except Exception as error:
        if ours(error):
            raise
        raise failed(call, error, bool(seen and seen.layer_ran)) from error
