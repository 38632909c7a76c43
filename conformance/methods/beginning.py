"""How the parameters of a new adapter begin, where its user says it: as zero, a text, what was trained before, or a cache.

Source: PEFT's documentation of each config, and of the helpers for caches; Eyuboglu et al. 2025 (arXiv:2506.06266) for these.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from conformance.core.case import FIRST_TEXT_TOKEN, VOCABULARY
from conformance.families.vocabulary import decode_text

if TYPE_CHECKING:
    from torch import Tensor

    from conformance.core.case import Case

CACHED = ("cache", "cached_text")
"""The ways that take a run of the base model."""
STEP = 37
"""From one token of the text to the next; with a vocabulary of a prime size no short text repeats itself."""


NOTHING_SAID: Mapping[str, Tensor] = MappingProxyType({})


class Beginning(NamedTuple):
    """What is said of parameters by their names: some are ``exactly`` these, of others each row is ``among`` the rows of a table.

    A row of one number stands for a row of as many as there are.
    """

    exactly: Mapping[str, Tensor] = NOTHING_SAID
    among: Mapping[str, Tensor] = NOTHING_SAID


def cached_length(case: Case) -> int:
    """How many tokens the text has of which the first n are cached."""
    return case.prefix.length + text_length(case)


def text_length(case: Case) -> int:
    """How many tokens another text has: half as many as there are virtual tokens, as many, or two more, as the seed says."""
    n = case.prefix.length
    return (max(1, n // 2), n, n + 2)[case.prefix.seed % 3]


def told_text(case: Case) -> str:
    """The text that the user names, a token for each letter."""
    count = cached_length(case) if case.prefix.begins in CACHED else text_length(case)
    return decode_text(
        [
            FIRST_TEXT_TOKEN + (case.prefix.seed + STEP * place) % (VOCABULARY - FIRST_TEXT_TOKEN)
            for place in range(count)
        ]
    )
