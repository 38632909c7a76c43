"""Pairs of releases: what they are called, here and on GitHub."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from msgspec import Struct

from conformance.core.errors import UserError

AXES = ("peft", "transformers")
SPELLINGS = (
    r"(?:[a-z]+[-(])?peft-(.+)-transformers-(.+?)\)?",
    r"(?:peft\s+)?(.+?)\s*[x,]\s*(?:transformers\s+)?(.+)",
)
"""As files and the environments of nox and tox are called; and as people write it."""


class Pair(Struct, frozen=True):
    """One release of PEFT with one of transformers."""

    peft: str
    transformers: str

    @classmethod
    def of(cls, versions: Mapping[str, str]) -> Pair:
        """The pair in ``versions`` of packages."""
        return cls(versions["peft"], versions["transformers"])

    def __str__(self) -> str:
        return f"peft {self.peft} x transformers {self.transformers}"

    @property
    def name(self) -> str:
        """What its files are called, as are the environments of nox and tox."""
        return f"peft-{self.peft}-transformers-{self.transformers}"

    def on(self, axis: str) -> str:
        """The release of ``axis``."""
        return self.peft if axis == "peft" else self.transformers

    def moved(self, axis: str, release: str) -> Pair:
        """The pair with another release of ``axis``; the other one is held."""
        return Pair(release, self.transformers) if axis == "peft" else Pair(self.peft, release)


def parse(text: str) -> Pair:
    """``0.13.2x4.45.1``, or any other way in which this project writes a pair.

    Raises :class:`~conformance.core.errors.UserError` for anything else.
    """
    from packaging.version import parse as release

    try:
        parts = next(filter(None, (re.fullmatch(spelling, text.strip()) for spelling in SPELLINGS))).groups()
        return Pair(*(str(release(part)) for part in parts))
    except (StopIteration, ValueError) as error:
        raise UserError(
            "bad-pair",
            f"{text!r} is not a pair of releases",
            "a pair is a release of PEFT and one of transformers with an x in between",
            "write PEFTxTRANSFORMERS, each a whole version",
        ) from error


def product(pefts: Iterable[str], transformers: Iterable[str]) -> Iterator[Pair]:
    """Every release of one with every release of the other, in the given orders."""
    others = tuple(transformers)
    for peft in pefts:
        yield from (Pair(peft, other) for other in others)


def tag(axis: str, release: str) -> str:
    """The page of a release."""
    return f"https://github.com/huggingface/{axis}/releases/tag/v{release}"


def compare(axis: str, older: str, newer: str) -> str:
    """The page of what changed between two releases."""
    return f"https://github.com/huggingface/{axis}/compare/v{older}...v{newer}"
