"""What a claim needs of a Case (the docstring is the reason that is shown), and the follow-up Cases of some claims."""

from __future__ import annotations

from typing import Literal

from conformance.core.case import Case
from conformance.core.relations import (
    beamed,
    brief,
    in_static_cache,
    masked,
    one_token,
    padded,
    real_tokens,
    row_alone,
    spelled_plainly,
)
from conformance.families import family


def keys_of_text_fit(case: Case) -> bool:
    """The keys and values of a real text cannot be loaded: the window has dropped some, or one row serves two layers."""
    if any(case.roles.sliding) and case.prefix.length >= case.roles.window:
        return False
    # PEFT deals an encoder-decoder's rows out by four, modulo their number: with an odd number each serves once.
    return not case.roles.encoder_layers or case.roles.encoder_layers % 2 == 1


def many_rows(case: Case) -> bool:
    """There is only one row."""
    return len(case.rows) > 1


def pads(case: Case) -> bool:
    """No row has a pad."""
    return case.padded


def no_pads(case: Case) -> bool:
    """A row has pads, and the mask says which."""
    return not case.padded


def many_virtual_tokens(case: Case) -> bool:
    """One virtual token has no order."""
    return case.prefix.length > 1


def projection(case: Case) -> bool:
    """The prefix is not projected."""
    return case.prefix.projection > 0


def keys_carry_position(case: Case) -> bool:
    """The order of the virtual tokens matters by design: biases by distance, or a sliding window."""
    return not family(case.family).bias_by_distance and not any(case.roles.sliding)


def in_reach(case: Case) -> bool:
    """The last token of the text is too far from the prefix: every layer's window ends before it."""
    slides = (
        [case.roles.sliding[i % len(case.roles.sliding)] for i in range(case.roles.layers)]
        if case.roles.sliding
        else [False]
    )
    return not all(slides) or case.longest < case.roles.window


def shortest(case: Case) -> tuple[Case, ...]:
    """The text is one token, whose window reaches as far into the prefix as any."""
    return (one_token(case),)


def loaded_with_text(case: Case) -> tuple[Case, ...]:
    """The prefix holds a real text; an encoder-decoder's depends on what its encoder reads, so one row at a time."""
    return (real_tokens(row_alone(case, 0) if case.roles.encoder_layers else case),)


def both_sides(case: Case) -> tuple[Case, ...]:
    """Pads on the left and pads on the right."""
    if not case.padded:
        return (case,)
    # A decoder that answers after a pad is wrong at once, with or without a prefix: one step shows which it is.
    right = padded(case if case.roles.encoder_layers else brief(case, 1), "right")
    return (padded(case, "left"), right)


def other_masks(case: Case) -> tuple[Case, ...]:
    """The same batch with each other kind of mask; none at all only where nothing is padded."""
    kinds: tuple[Literal["bool", "float", "omitted"], ...] = (
        ("bool", "float") if case.padded else ("omitted", "bool", "float")
    )
    return tuple(masked(case, kind) for kind in kinds)


def by_hand(case: Case) -> bool:
    """The map is made by transformers, or weights wait somewhere, or the adapter is loaded: another clause's."""
    return not case.placement.automatic and not away_or_loaded(case)


def away_or_loaded(case: Case) -> bool:
    """All weights are on devices, and the adapter is made there."""
    return case.placement.adapter == "loaded" or bool({"cpu", "disk"} & set(case.placement.named))


def made_by_transformers(case: Case) -> bool:
    """The map is not made by transformers."""
    return case.placement.automatic


def adapter_made(case: Case) -> bool:
    """A loaded adapter is not trained."""
    return case.placement.adapter == "made"


def spelled_otherwise(case: Case) -> bool:
    """The map is spelled plainly already, or made by transformers."""
    return not case.placement.automatic and spelled_plainly(case) != case


def greedy(case: Case) -> tuple[Case, ...]:
    """Three steps of it."""
    return (brief(case),)


def greedy_and_beams(case: Case) -> tuple[Case, ...]:
    """Three steps, and three with two beams."""
    return (brief(case), beamed(brief(case)))


def decodings(case: Case) -> tuple[Case, ...]:
    """Three steps, three with two beams, and three with a static cache."""
    return (*greedy_and_beams(case), in_static_cache(brief(case)))
