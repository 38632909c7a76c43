"""What a model is, whatever its family is called: the closed list of traits, by which known failures are told.

What the roles of a Case say (``sliding``, ``grouped_query``, ``own_head_dim``, ...) is among the features of a Case. The traits
here follow from the family file, or are found out once, on the family's simplest model, by :mod:`conformance.families.probes`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib import import_module

from msgspec import Struct

from conformance.core.case import Case
from conformance.core.errors import UserError
from conformance.families import Family, family_named


class Trait(Struct, frozen=True):
    """One trait: a sentence that says what models with it are like, and how it is found out."""

    statement: str
    holds: Callable[[Family], bool]


def _probed(probe: str) -> Callable[[Family], bool]:
    """Found out by the probe of that name."""

    def holds(family: Family) -> bool:
        # Probes build models: nothing of torch is imported before one is asked.
        try:
            return bool(getattr(import_module("conformance.families.probes"), probe)(family))
        except UserError:
            raise
        except Exception:
            # A model that cannot be built or run has shown nothing; its own items say why.
            return False

    return holds


TRAITS = {
    "rotary": Trait(
        "Queries and keys are rotated by their positions.", lambda family: family.anatomy.positions == "rotary"
    ),
    "learned_positions": Trait("Positions are rows of a table.", lambda family: family.anatomy.positions == "learned"),
    "distance_bias": Trait(
        "Attention has a bias by the distance in the cache: ALiBi, relative biases.",
        lambda family: family.bias_by_distance,
    ),
    "encoder_decoder": Trait(
        "An encoder reads the text, a decoder writes the answer.", lambda family: family.encoder_decoder
    ),
    "with_images": Trait("Images belong to the text.", lambda family: family.pixels is not None),
    "fused_cache": Trait("The cache keeps rows and heads in one dimension, keys transposed.", _probed("fused_cache")),
    "counts_pads": Trait(
        "Given a mask and no positions, forward gives a left-padded text positions that count its pads.",
        _probed("counts_pads"),
    ),
    "several_stacks": Trait(
        "Modules with numbers stand beside the decoder's layers, as an encoder's or a vision tower's do.",
        _probed("several_stacks"),
    ),
}


def traits(case: Case) -> frozenset[str]:
    """The traits of the model of ``case``."""
    return _of_family(case.family)


@cache
def _of_family(name: str) -> frozenset[str]:
    family = family_named(name)
    return frozenset(trait for trait, how in TRAITS.items() if how.holds(family))
