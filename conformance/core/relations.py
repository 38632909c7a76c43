"""Relations: functions from a Case to a follow-up Case. Never a further draw."""

from __future__ import annotations

from itertools import cycle
from typing import Literal

from msgspec.structs import replace

from conformance.core.case import (
    Begins,
    Call,
    Case,
    Decoding,
    Device,
    Dtype,
    Placement,
    Prefix,
    Row,
    Scale,
    Stacked,
    Wrong,
)
from conformance.core.story import ASKS, Act, another_length, legal


def without_prefix(case: Case) -> Case:
    """The control: the base model, without any prefix; of a story what can be asked of it."""
    bare = replace(case, prefix=Prefix(length=0, seed=case.prefix.seed), story=())
    asked = tuple(step for step in case.story if step.do in ASKS)
    return replace(bare, story=legal(bare.begun, asked)) if asked else bare


def row_alone(case: Case, index: int) -> Case:
    """Row ``index`` in a batch of its own, hence without pads."""
    return replace(case, rows=(case.rows[index],)) if len(case.rows) > 1 else case


def rows_reversed(case: Case) -> Case:
    """The same rows in the opposite order."""
    return replace(case, rows=case.rows[::-1])


def one_token(case: Case) -> Case:
    """One row of one token, answered by one."""
    return replace(case, rows=(replace(case.rows[0], length=1),), new_tokens=1)


def first_steps(case: Case, steps: int = 3) -> Case:
    """An answer of at most ``steps`` tokens: the beginning of the longer one."""
    return replace(case, new_tokens=min(steps, case.new_tokens))


def same_rows(case: Case, count: int) -> Case:
    """``count`` copies of the first row."""
    return replace(case, rows=case.rows[:1] * count)


def with_padding(case: Case, side: Literal["left", "right"]) -> Case:
    """The pads on ``side``."""
    return replace(case, padding=side)


def with_mask(case: Case, mask: Literal["long", "bool", "float", "omitted"]) -> Case:
    """The same batch with another way to say which tokens are real."""
    return replace(case, mask=mask)


def with_embeds(case: Case) -> Case:
    """``inputs_embeds`` in place of ``input_ids``."""
    return replace(case, inputs="embeds")


def with_position_ids(case: Case, shift: int = 0) -> Case:
    """Explicit ``position_ids``; without ``shift`` they say what the default says: 0.. over the text, pads skipped."""
    return replace(case, given_positions=True, position_shift=shift)


def filling_positions(case: Case, beyond: int = 0) -> Case | None:
    """One row so long that prefix, text and answer take all of the model's positions, and ``beyond`` more."""
    length = case.roles.positions - case.prefix.length - case.new_tokens + 1 + beyond
    return replace(case, rows=(Row(length=length, seed=case.rows[0].seed),)) if length > 0 else None


def with_attention(case: Case, attention: Literal["default", "eager"]) -> Case:
    """Another attention implementation."""
    return replace(case, attention=attention)


def other_prefix(case: Case) -> Case:
    """A prefix with other contents."""
    return replace(case, prefix=replace(case.prefix, seed=(case.prefix.seed + 1) % 100))


def other_length(case: Case) -> Case:
    """A prefix with other contents and another number of virtual tokens: one less, or two in place of one."""
    other = other_prefix(case)
    return replace(other, prefix=replace(other.prefix, length=another_length(case.prefix.length)))


def with_length(case: Case, length: int) -> Case:
    """The same prefix with so many virtual tokens."""
    return replace(case, prefix=replace(case.prefix, length=length))


def prefix_reversed(case: Case) -> Case:
    """The virtual tokens in the opposite order."""
    return replace(case, prefix=replace(case.prefix, order="reversed"))


def with_real_tokens(case: Case) -> Case:
    """The virtual tokens hold the base model's keys and values, or embeddings, of a real token sequence."""
    return replace(case, prefix=replace(case.prefix, content="tokens", projection=0, order="drawn"))


def begun_as(case: Case, begins: Begins) -> Case:
    """A new adapter, which begins in another way; of source tasks there are several, of its own one."""
    return replace(case, prefix=replace(case.prefix, begins=begins, order="drawn", tasks=1))


def in_double(case: Case) -> Case:
    """The same in float64."""
    return replace(case, dtype="float64")


def in_dtype(case: Case, dtype: Dtype) -> Case:
    """The same in ``dtype``."""
    return replace(case, dtype=dtype)


def in_single(case: Case) -> Case:
    """The same in float32, all of it."""
    return replace(case, dtype="float32", autocast=False)


def under_autocast(case: Case) -> Case:
    """Every call is made under autocast."""
    return replace(case, autocast=True)


def with_scale(case: Case, scale: Scale) -> Case:
    """The same numbers in the virtual tokens, larger or smaller."""
    return replace(case, prefix=replace(case.prefix, scale=scale))


def with_beams(case: Case) -> Case:
    """Decoded with two beams."""
    return replace(case, beams=2)


def beam_searched(case: Case) -> Case:
    """Several answers to each row: with three beams, or with two that stop early, as the Case's seed decides."""
    return (
        replace(case, beams=2, decoding="searched_early")
        if case.seed % 2
        else replace(case, beams=3, decoding="searched")
    )


def with_decoding(case: Case, decoding: Decoding) -> Case:
    """Decoded in another way."""
    return replace(case, decoding=decoding)


def with_cache(case: Case, cache: str) -> Case:
    """Decoded with another kind of cache, or without."""
    return replace(case, cache=cache)


def told_by_length(case: Case) -> Case:
    """How long the answer is at most, and at least, is said together with the text."""
    return replace(case, limit="length")


def told_by_tokens(case: Case) -> Case:
    """How long the answer is at most is said of the answer alone; no token ends it, and nobody is told of it."""
    return replace(case, limit="new_tokens", ends=False, streamed=False)


def with_ends(case: Case) -> Case:
    """Most tokens end an answer, but none before the last step."""
    return replace(case, ends=True)


def streamed(case: Case) -> Case:
    """Whoever asks is told of each token as it comes."""
    return replace(case, streamed=True)


def with_decoder_mask(case: Case, mask: Literal["omitted", "ones", "padded", "left"]) -> Case:
    """Another ``decoder_attention_mask``."""
    return replace(case, decoder_mask=mask)


def with_labels(case: Case, labels: Literal["all", "some"]) -> Case:
    """Other tokens count towards the loss."""
    return replace(case, labels=labels)


def called(case: Case, call: Call) -> Case:
    """Called in another way."""
    return replace(case, call=call)


def in_mode(case: Case, mode: Literal["eval", "train"]) -> Case:
    """The model in training mode, or not."""
    return replace(case, mode=mode)


def checkpointed(case: Case, when: Literal["before", "after"]) -> Case:
    """In training, with gradient checkpointing, switched on before the base model is wrapped, or after."""
    return replace(case, mode="train", checkpointing=when)


def asked_wrongly(case: Case, wrong: Wrong) -> Case:
    """Asked for in a way that cannot work."""
    return replace(case, wrong=wrong)


def with_lora(case: Case, stacked: Stacked) -> Case:
    """On a base model that has a LoRA, too."""
    return replace(case, stacked=stacked) if case.stacked != stacked else case


def not_checkpointed(case: Case) -> Case:
    """Without gradient checkpointing."""
    return replace(case, checkpointing="off")


def without_story(case: Case) -> Case:
    """The model alone, of which nothing is told."""
    return replace(case, story=())


def asked_by(step: Act, case: Case) -> Case | None:
    """What ``step`` of a story asks the model of ``case``: an answer of two tokens, or a training forward; or nothing.

    What is looked up needs one row, and an answer that says something twice. One row is trained on: pads in training are other
    claims'.
    """
    short = replace(case, story=(), new_tokens=2)
    if step.do == "train":
        return in_mode(row_alone(short, 0), "train")
    if step.do == "generate" and step.decoding == "looked_up":
        return with_decoding(replace(row_alone(short, 0), new_tokens=4), "looked_up")
    if step.do == "generate" and step.decoding != "plain":
        return beam_searched(short) if step.decoding == "searched" else with_decoding(short, step.decoding)
    return short if step.do in ("generate", "go_on", "raise", "interrupt") else None


def asked_in(case: Case) -> tuple[Case, ...]:
    """What the steps of a story ask, each once."""
    return tuple(dict.fromkeys(filter(None, (asked_by(step, case) for step in case.story))))


def added_by(step: Act, case: Case) -> Case:
    """The adapter that ``step`` adds to the model of ``case``."""
    other = without_story(other_length(without_story(case)) if step.other_length else other_prefix(case))
    return replace(other, prefix=replace(other.prefix, seed=(other.prefix.seed + step.seed) % 100))


def unplaced(case: Case) -> Case:
    """The whole model in one place, without any hook."""
    return replace(case, placement=Placement())


def on_one_device(case: Case) -> Case:
    """The whole model on the first device. A loaded adapter stays loaded: its rows were computed one batch earlier."""
    return replace(case, placement=Placement(way="dispatched", adapter=case.placement.adapter))


def nothing_waits(case: Case) -> Case:
    """The same map with what waits on a device that the rest of its pattern does not name, and the adapter made there."""
    layers, others = map(_on_devices, (case.placement.layers, case.placement.others))
    return replace(case, placement=replace(case.placement, layers=layers, others=others, adapter="made"))


def _on_devices(pattern: tuple[Device, ...]) -> tuple[Device, ...]:
    free = cycle([number for number in (2, 1, 0) if number not in pattern] or [0])
    return tuple(device if isinstance(device, int) else next(free) for device in pattern)


def spelled_plainly(case: Case) -> Case:
    """The same map with its keys in the model's order, none merged, devices called by name, and the first named called 0."""
    numbers: dict[object, int] = {}

    def number(device: object) -> object:
        return device if isinstance(device, str) else numbers.setdefault(device, len(numbers))

    layers, others = (tuple(map(number, devices)) for devices in (case.placement.layers, case.placement.others))
    plain = replace(case.placement, layers=layers, others=others, spelling="name", order="model", merged=False)
    return replace(case, placement=plain)
