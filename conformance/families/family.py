"""A Family: a kind of model, as data. One TOML file each; the file says what derivation cannot know."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from conformance.compat.versions import within
from conformance.core.case import Roles
from conformance.core.errors import UserError
from conformance.core.toml import MalformedTomlError, read_toml
from conformance.families.inputs import kinds

Sizes = tuple[Annotated[int, Meta(ge=1, le=64)], ...]


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of a table of a family file: frozen, unknown keys refused."""


class Draw(Table, frozen=True):
    """What varies within the family: the values that each neutral role may take, simplest first.

    ``grouped``: fewer key/value heads than query heads; ``own_head_dim``: a head size other than width / heads;
    ``sliding``: patterns of sliding layers, repeated over the layers; ``windows``: window lengths in tokens.
    """

    layers: Sizes = (1, 2, 3, 4)
    encoder_layers: Literal["none", "equal", "free"] = "none"
    heads: Sizes = (1, 2, 3, 4)
    head_dim: Sizes = (4, 8)
    ffn: Sizes = (8, 12)
    positions: Sizes = (64, 32)
    grouped: bool = False
    own_head_dim: bool = False
    tied: tuple[bool, ...] = (False,)
    activation: tuple[str, ...] = ("",)
    rope: tuple[Literal["", "default", "linear", "llama3"], ...] = ("",)
    rotary: tuple[Annotated[int, Meta(ge=0, le=100)], ...] = (0,)
    sliding: tuple[tuple[bool, ...], ...] = ((),)
    windows: Sizes = ()

    @property
    def room(self) -> int:
        """Number of positions that the longest drawn Case takes: prefix, at most 6 tokens of text and 6 of answer."""
        return max((7, *(window + 1 for window in self.windows))) + 6 + 6

    @property
    def simplest(self) -> Roles:
        """Of every role the first value."""
        return Roles(
            layers=self.layers[0],
            encoder_layers=0 if self.encoder_layers == "none" else self.layers[0],
            heads=self.heads[0],
            kv_heads=self.heads[0],
            head_dim=self.head_dim[0],
            width=self.heads[0] * self.head_dim[0],
            ffn=self.ffn[0],
            positions=self.positions[0],
            tied=self.tied[0],
            activation=self.activation[0],
            rope=self.rope[0],
            rotary=self.rotary[0],
            window=self.windows[0] if any(self.sliding[0]) else 0,
            sliding=self.sliding[0],
        )

    @property
    def roles(self) -> tuple[tuple[object, ...], ...]:
        """The values of every role that has to take one."""
        sizes = (self.layers, self.heads, self.head_dim, self.ffn, self.positions)
        return (*sizes, self.tied, self.activation, self.rope, self.rotary, self.sliding)


class Anatomy(Table, frozen=True):
    """Where things are inside the model, as dotted module names; where its positions can be seen."""

    layers: str
    positions: Literal["rotary", "learned", "none"]
    table: str = ""


class Pixels(Table, frozen=True):
    """Images that belong to the text: one per row, ``channels`` x ``size`` x ``size``."""

    size: int
    channels: int = 3


class Family(Table, frozen=True):
    """A kind of model and, in one sentence, the hazard it stands for.

    ``model`` and ``config`` are class names of transformers, or ``module:Class``; ``text_config`` is the class of the config
    that a model of several parts keeps for its text, to which roles are then said; ``task`` is PEFT's task type; ``fix``
    holds fields of ``config`` with the same value in every member; ``learns`` marks the families that are taught ``1+1=`` in
    ``lifecycle.learned_mapping_survives``; ``bias_by_distance`` says that attention depends on the distance between
    positions in the cache (ALiBi, relative biases), so that the order of the virtual tokens matters by design. ``inputs`` is
    the kind of input, a module of :mod:`conformance.families.inputs`; ``pixels`` its images. ``flagship`` says in a sentence
    which code of PEFT or transformers only this family reaches: those are the ones that tests build and run. ``transformers``
    is the range of releases that have the classes, for a file of another repository: outside of it the family is *absent*.
    """

    schema: Literal[1]
    name: str
    hazard: str
    model: str
    config: str
    anatomy: Anatomy
    text_config: str = ""
    task: Literal["CAUSAL_LM", "SEQ_2_SEQ_LM"] = "CAUSAL_LM"
    draw: Draw = Draw()
    fix: dict[str, Any] = {}
    inputs: str = "text"
    pixels: Pixels | None = None
    learns: bool = False
    bias_by_distance: bool = False
    flagship: str = ""
    transformers: str = ""

    @property
    def encoder_decoder(self) -> bool:
        """Whether the text is read by an encoder and the answer written by a decoder."""
        return self.task == "SEQ_2_SEQ_LM"


NAME = r"(?! )[^,/\[\]*?]+(?<! )"
"""What a family may be called."""


def read_family(path: Path) -> Family:
    """Read one family file. Raises :class:`~conformance.core.errors.UserError` for unknown keys or contradictory ranges."""
    try:
        family = read_toml(path, Family, "family file")
    except MalformedTomlError as error:
        raise UserError(
            "malformed-family",
            f"{path.name} is not a family file: {error}",
            "a family file is TOML with the tables and keys of `conformance.families.family.Family`; unknown ones are refused",
            "mend the key it names",
        ) from error
    if family.inputs not in kinds():
        raise UserError(
            "unknown-inputs",
            f"{path.name}: there is no kind of input {family.inputs!r}",
            f"a kind of input is a file in conformance/families/inputs: {', '.join(kinds())}",
            "name one of these, or add a file for another kind of input",
        )
    for problem in _contradictions(family, path.stem):
        raise UserError(
            "contradictory-family", f"{path.name}: {problem}", "no Case could be drawn from it", "make the two agree"
        )
    return family


def _contradictions(family: Family, stem: str) -> list[str]:
    """What in the file cannot hold together, in words."""
    draw = family.draw
    checks = [
        (
            not re.fullmatch(NAME, family.name) or not family.name.isprintable(),
            f"name is {family.name!r}: a name is selected between commas, and stands in brackets before a slash; it has none "
            "of , / [ ] * ? in it, and no space around it",
        ),
        (family.name != stem, f"name is {family.name!r} but the file is called {stem!r}"),
        (
            any(any(p) for p in draw.sliding) and not draw.windows,
            "draw.sliding has sliding layers but draw.windows is empty",
        ),
        (bool(draw.windows) and not any(any(p) for p in draw.sliding), "draw.windows is given but no layer slides"),
        (
            family.encoder_decoder == (draw.encoder_layers == "none"),
            "task and draw.encoder_layers disagree about an encoder",
        ),
        (
            family.anatomy.positions == "learned" and not family.anatomy.table,
            "anatomy.positions is learned but anatomy.table is empty",
        ),
        (
            family.anatomy.positions == "rotary" and any(size % 2 for size in draw.head_dim),
            "rotary heads need an even draw.head_dim",
        ),
        (bool(family.pixels) and family.inputs == "text", "[pixels] belongs to inputs of images, and inputs is 'text'"),
        (
            not family.pixels and family.inputs != "text",
            f"inputs is {family.inputs!r}, which has images, and there is no [pixels]",
        ),
        (not all(draw.roles), "a role has no value to take"),
        (
            bool(astray := sorted({*family.fix} & {*family.__struct_fields__})),
            f"{', '.join(astray)} stands in [fix], after which no key of the file itself can follow: put it above all tables",
        ),
        (within("transformers", family.transformers) is None, f"transformers is no range: {family.transformers!r}"),
        (draw.grouped and set(draw.heads) <= {1}, "draw.grouped needs a value of draw.heads above 1"),
        (
            min(draw.positions, default=draw.room) < draw.room,
            f"draw.positions must hold {draw.room}: prefix, text and answer",
        ),
    ]
    return [words for wrong, words in checks if wrong]
