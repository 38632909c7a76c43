"""A Case: everything that determines one example, as frozen plain data in neutral roles.

A Case holds no tensor and no field name of any transformers release, so that it replays on every one of them. Its repr
is code, its JSON is stable, its id is the hash of that JSON.
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Annotated, Any, Literal, Union

import msgspec
from msgspec import Meta
from msgspec.structs import force_setattr

from conformance.core.errors import UserError
from conformance.core.part import Part
from conformance.core.story import Act, Situation, begin, legal

VOCABULARY = 97
"""Size of every vocabulary, a prime: PEFT finds the word embedding by looking for a parameter of this many rows."""
PAD, START, FIRST_TEXT_TOKEN = 0, 1, 3
"""Token ids. Texts are drawn from ``FIRST_TEXT_TOKEN`` up, so that no text holds the pad id."""
FIRST_END_TOKEN = 13
"""Where a Case has tokens that end an answer, this one and all above do: nearly any token would end it."""
IGNORED = -100
"""The label of positions that do not count towards the loss."""

EVERYTHING = 9999
"""More positions than any model here has."""

Small = Annotated[int, Meta(ge=0, le=99)]
Count = Annotated[int, Meta(ge=1, le=64)]


class Roles(Part, frozen=True):
    """What the model is, in neutral roles; ``None`` or 0 where a family has no such thing.

    ``layers`` counts the layers that own a self-attention cache (the decoder's), ``encoder_layers`` an encoder's;
    ``width`` is the hidden size, ``ffn`` the inner size of the feed-forward part, ``window`` the length of a sliding
    attention window in tokens, ``sliding`` which layers have it (repeated over the layers), ``positions`` the largest
    number of positions, ``rotary`` the percentage of each head that is rotated.
    """

    layers: Count = 1
    encoder_layers: Small = 0
    heads: Count = 1
    kv_heads: Count = 1
    head_dim: Count = 8
    width: Count = 8
    ffn: Count = 8
    positions: Count = 64
    tied: bool = False
    activation: str = ""
    rope: str = ""
    rotary: Annotated[int, Meta(ge=0, le=100)] = 0
    window: Small = 0
    sliding: tuple[bool, ...] = ()

    def slides(self, layer: int) -> bool:
        """Whether decoder layer number ``layer`` has a sliding window."""
        return bool(self.sliding) and self.sliding[layer % len(self.sliding)]

    def seen_back(self, layer: int) -> int:
        """How many positions before a query the layer sees: a window of w sees w - 1 besides the query itself."""
        return self.window - 1 if self.slides(layer) else EVERYTHING


Begins = Literal[
    "drawn",
    "zero",
    "text",
    "vocabulary",
    "average_task",
    "exact_task",
    "shared_prompt",
    "cache",
    "cached_text",
]
"""How an adapter begins: filled with drawn numbers, or as its method is told (:mod:`conformance.methods.beginning`)."""

Scale = Literal["drawn", "large", "small"]
"""How large the numbers in the virtual tokens are."""
Dtype = Literal["float32", "float64", "bfloat16", "float16"]
"""What a model's weights are, and what it computes in."""


class Prefix(Part, frozen=True):
    """The virtual tokens: how many, how they are encoded, and what is in them.

    ``projection`` is the hidden size of the network that computes them (0: none; where a method cannot be without, one as wide as
    the model), and ``lstm_layers`` how many layers of an LSTM it begins with. ``content`` is ``random``, or ``tokens``: what a
    real token sequence is in the base model, its keys and values or its embeddings. ``order`` permutes the virtual tokens.
    ``frozen``: how many of the first ones are not trained, all of them at most. ``tasks``: how many there are, each with a matrix
    of that ``rank``. Where they are tokens of a ``context``, that is one ``template``, or worked ``examples``, or ``decaying``
    ones, of which each counts less in the loss for each that is behind it; ``radii`` says how far they may be moved.
    ``begins``: what the parameters of a new adapter are. ``scale``: numbers of about 1, or a few hundred times
    as ``large``, or some ten thousand times as ``small``, which are then exact in no half precision. Length 0 is the base model
    without any prefix, the control.
    """

    length: Small = 1
    projection: Small = 0
    lstm_layers: Small = 0
    content: Literal["random", "tokens"] = "random"
    order: Literal["drawn", "reversed"] = "drawn"
    scale: Scale = "drawn"
    frozen: Small = 0
    tasks: Count = 1
    rank: Count = 1
    begins: Begins = "drawn"
    context: Literal["template", "examples", "decaying"] = "template"
    radii: Literal["wide", "narrow"] = "wide"
    seed: Small = 0

    def __post_init__(self) -> None:
        """A relation may make it shorter: then those that are left are frozen."""
        if self.frozen > self.length:
            force_setattr(self, "frozen", self.length)


class Row(Part, frozen=True):
    """One text of the batch: its length in tokens and the seed of its tokens (and of its image).

    With ``text`` the tokens are those of a byte-level tokenizer instead: one for each printable ASCII character.
    """

    length: Count = 1
    seed: Small = 0
    text: Annotated[str, Meta(pattern="^[!-~]*$", max_length=64)] = ""

    def __post_init__(self) -> None:
        """A text says its length itself."""
        if self.text and len(self.text) != self.length:
            raise ValueError(f"a row with the text {self.text!r} has length {len(self.text)}, not {self.length}")

    def task(self, count: int) -> int:
        """Which of ``count`` tasks it is of: its seed says it, so that a row keeps its task in whatever batch it stands."""
        return self.seed % count


Decoding = Literal[
    "plain",
    "sampled",
    "processed",
    "stopped",
    "searched",
    "searched_early",
    "looked_up",
    "assisted",
    "all_returned",
    "chunked",
]
"""How generate is told to decode: the names of :data:`conformance.core.decodings.DECODINGS`."""

HANDED_IN = ("given", "given_static")
"""An empty cache that the user hands in: one that grows, or one of fixed size, which has room for all there will be."""

Call = Literal["usual", "position", "tuple", "counted", "counted_alone", "labels", "types"]
"""How a model is called; the last five are ways to train."""

Device = Union[Annotated[int, Meta(ge=0, le=7)], Literal["cpu", "disk"]]  # noqa: UP007 - evaluated on Python 3.10 too
"""Number of a device, or where weights wait that no device holds."""


_FIRST: tuple[Device, ...] = (0,)


class Placement(Part, frozen=True):
    """Where the parts of the base model are, and who put them there.

    ``way``: nobody (all in one place, without any hook), ``dispatched`` by accelerate's ``dispatch_model`` along a map,
    ``pretrained`` by ``from_pretrained`` with that map, or ``auto``, ``balanced`` and ``sequential``, where transformers
    makes the map itself, given how much each device holds: ``memory``, in percent of the model.

    The map gives the decoder's layers the devices in ``layers`` and all that lies around them (embeddings, norms, head,
    an encoder's or a vision tower's parts), in the model's order, those in ``others``; both are repeated as needed.
    ``spelling`` is how a device is called (``sim:1``, 1, ``torch.device``), ``order`` that of the map's keys; ``merged``
    joins what has one device under its parent. ``adapter``: made on the placed model, or saved before and loaded onto it.
    """

    way: Literal["none", "dispatched", "pretrained", "auto", "balanced", "sequential"] = "none"
    layers: Annotated[tuple[Device, ...], Meta(min_length=1, max_length=8)] = _FIRST
    others: Annotated[tuple[Device, ...], Meta(min_length=1, max_length=8)] = _FIRST
    memory: Annotated[tuple[Annotated[int, Meta(ge=0, le=400)], ...], Meta(max_length=8)] = ()
    spelling: Literal["name", "number", "device"] = "name"
    order: Literal["model", "reversed"] = "model"
    merged: bool = False
    adapter: Literal["made", "loaded"] = "made"

    def __post_init__(self) -> None:
        """Only an automatic way is told about memory, and it has to be. Equal placements have equal JSON, as Cases do."""
        for name in ("layers", "others"):
            if getattr(self, name) == _FIRST:
                force_setattr(self, name, _FIRST)
        if bool(self.memory) != self.automatic:
            raise ValueError(f"placement.memory belongs to the ways auto, balanced and sequential, not to {self.way}")

    @property
    def automatic(self) -> bool:
        """Whether transformers makes the map."""
        return self.way in ("auto", "balanced", "sequential")

    def of_layers(self, count: int) -> tuple[Device, ...]:
        """The devices of so many decoder layers, in their order."""
        return tuple(self.layers[index % len(self.layers)] for index in range(count))

    @property
    def named(self) -> tuple[Device, ...]:
        """Every device that the map names, as often as it does."""
        return (*self.layers, *self.others)


Wrong = Literal[
    "nothing",
    "no_length",
    "no_task",
    "answerless_task",
    "task_of_others",
    "unknown_value",
    "missing_setting",
    "missing_argument",
]
"""What is wrong with what is asked for: what each is of a method, :mod:`conformance.methods.wrong` says."""

Stacked = Literal["alone", "merged", "inside", "over", "under"]
"""Where a LoRA is beside the virtual tokens: nowhere, merged into the base model, in its layers, wrapped first, or last."""

_ROLES, _PREFIX, _ROWS, _PLACEMENT = Roles(), Prefix(), (Row(),), Placement()


class Case(Part, frozen=True):
    """One example. Shapes follow from it: a batch of ``len(rows)`` texts padded to the longest, ``new_tokens`` steps.

    ``given_positions`` passes explicit ``position_ids``: 0.. over each text, pads skipped, plus ``position_shift``.
    ``decoding`` names arguments of generate (:mod:`conformance.core.decodings`); sampling begins with the random ``seed``.
    ``beams`` above 1 decodes with that many beams, 1 greedily; ``cache`` is generate's ``cache_implementation``, which releases
    have different ones of, or ``none`` of any kind: ``use_cache=False``; or an empty one is handed in (:data:`HANDED_IN`).
    ``limit``: how long an answer may be is said as ``max_new_tokens``, or as ``max_length``, which counts the text too. ``ends``:
    most tokens end an answer, but none may before the last step (``min_new_tokens``, or ``min_length``). ``streamed``: a streamer
    is told of each token as it comes.
    ``decoder_mask`` is an encoder-decoder's ``decoder_attention_mask``: none, ones, or, in the training path, one with pads on
    the right, or on the ``left``, of answers that are shorter the further down the row is. ``labels``: in the training path all
    tokens have one, or only ``some``: the last of each row, and every other one before it. ``mode``: after ``eval()`` or
    ``train()``.
    ``call``: how the model is called, beside the ``usual`` way: with the text by ``position``, that is, without a name; in
    training also for a ``tuple`` in place of an output with names, with the items before a step ``counted``, with the ``labels``
    of an encoder-decoder alone, of which it makes what its decoder reads, or with the ``types`` of the tokens.
    ``autocast``: every call is made under ``torch.autocast``, which computes in bfloat16 what may be.
    ``checkpointing``: gradient checkpointing is off, or switched on, on the base model ``before`` it is wrapped, or ``after``.
    ``wrong`` is what is wrong with what is asked for, such that it cannot work. ``stacked``: the base model has a LoRA, too.
    ``story``: the steps of a session, each of which may follow those before it.
    """

    family: str
    roles: Roles = _ROLES
    method: Annotated[str, Meta(pattern="^[A-Z][A-Z0-9_]*$")] = "PREFIX_TUNING"
    prefix: Prefix = _PREFIX
    rows: Annotated[tuple[Row, ...], Meta(min_length=1, max_length=8)] = _ROWS
    new_tokens: Annotated[int, Meta(ge=1, le=32)] = 5
    padding: Literal["left", "right"] = "left"
    mask: Literal["long", "bool", "float", "omitted"] = "long"
    inputs: Literal["ids", "embeds"] = "ids"
    given_positions: bool = False
    position_shift: Small = 0
    attention: Literal["default", "eager"] = "default"
    beams: Annotated[int, Meta(ge=1, le=8)] = 1
    decoding: Decoding = "plain"
    cache: Annotated[str, Meta(pattern="^[a-z_]+$")] = "dynamic"
    limit: Literal["new_tokens", "length"] = "new_tokens"
    ends: bool = False
    streamed: bool = False
    decoder_mask: Literal["omitted", "ones", "padded", "left"] = "omitted"
    labels: Literal["all", "some"] = "all"
    call: Call = "usual"
    mode: Literal["eval", "train"] = "eval"
    checkpointing: Literal["off", "before", "after"] = "off"
    wrong: Wrong = "nothing"
    stacked: Stacked = "alone"
    dtype: Dtype = "float32"
    autocast: bool = False
    placement: Placement = _PLACEMENT
    seed: Small = 0
    story: Annotated[tuple[Act, ...], Meta(max_length=32)] = ()

    def __post_init__(self) -> None:
        """Equal Cases have equal JSON: msgspec leaves out a default only if it is the very same object."""
        for name, default in _DEFAULTS:
            if (value := getattr(self, name)) is not default and value == default:
                force_setattr(self, name, default)
        if self.story and legal(self.begun, self.story) != self.story:
            raise ValueError("a step of the story may not be taken where it stands")

    @property
    def begun(self) -> Situation:
        """Where its story begins."""
        room = 0 if self.roles.encoder_layers else self.roles.positions - self.longest
        return begin(self.prefix.length, self.prefix.frozen, room)

    @property
    def id(self) -> str:
        """Twelve hexadecimal digits: the hash of the canonical JSON."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:12]

    @property
    def longest(self) -> int:
        """Length in tokens of the longest row, the width of the padded batch."""
        return max(row.length for row in self.rows)

    @property
    def placed(self) -> bool:
        """Whether a device map places the model."""
        return self.placement.way != "none"

    @property
    def padded(self) -> bool:
        """Whether any row needs pads."""
        return any(row.length != self.longest for row in self.rows)

    @property
    def in_half(self) -> bool:
        """Whether all of it, or under autocast most, is computed in a half precision."""
        return self.autocast or self.dtype in ("bfloat16", "float16")

    def answered(self, row: int) -> int:
        """How many tokens answer a row in the training path of an encoder-decoder: all, or one less for each row above it."""
        return self.new_tokens - row % self.new_tokens if self.decoder_mask in ("padded", "left") else self.new_tokens

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, defaults left out."""
        return msgspec.json.encode(self, order="sorted").decode()


_DEFAULTS = [
    (f.name, f.default)
    for f in msgspec.structs.fields(Case)
    if not isinstance(f.default, (int, type(msgspec.NODEFAULT)))
]

OF_REQUEST = frozenset(
    {"rows", "new_tokens", "padding", "mask", "inputs", "given_positions", "position_shift", "beams", "cache"}
    | {"decoder_mask", "labels", "call", "mode", "decoding", "limit", "ends", "streamed", "autocast", "story"}
)
"""Fields that say what is asked of a model, and how. All others, a new one too, say what the model is."""
OF_WRAPPER = frozenset({"method", "prefix", "placement", "checkpointing", "wrong"})
"""Fields that say what is put around the base model, or where it lies, or what is switched on. What is left says what it is."""


def model_of(case: Case) -> Case:
    """``case`` with every field at its default that does not change the wrapped model: what subjects are remembered by."""
    plain = _with_defaults(case, OF_REQUEST)
    # An encoder-decoder's keys of a real text depend on what the encoder read.
    return msgspec.structs.replace(plain, rows=case.rows[:1]) if case.prefix.content == "tokens" else plain


def base_of(case: Case) -> Case:
    """``case`` with every field at its default that does not change the base model: what builds are remembered by."""
    return _with_defaults(case, OF_REQUEST | OF_WRAPPER)


def _with_defaults(case: Case, names: frozenset[str]) -> Case:
    return msgspec.structs.replace(case, **_defaults(names))


@cache
def _defaults(names: frozenset[str]) -> dict[str, Any]:
    """The defaults of the fields ``names``. Kept: msgspec evaluates every annotation of the record each time it is asked."""
    return {f.name: f.default for f in msgspec.structs.fields(Case) if f.name in names}


def from_json(text: str | bytes, source: str = "the given text") -> Case:
    """Read a Case back. Raises :class:`~conformance.core.errors.UserError` for anything that is not exactly one."""
    try:
        return msgspec.json.decode(text, type=Case)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UserError(
            "malformed-case",
            f"{source} is not a Case: {error}",
            "a Case is one JSON object whose keys and ranges `peft-conformance schema case` lists; unknown keys are refused",
            "give the JSON exactly as a report printed it",
        ) from error
