"""The follow-up Cases that some claims judge in place of a drawn one."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Literal

from conformance.clauses.preconditions import away_or_loaded, by_hand, in_the_cache, many_rows
from conformance.core.case import HANDED_IN, Call, Case, Dtype, Scale, Stacked
from conformance.core.dimensions import slides
from conformance.core.relations import (
    asked_wrongly,
    beam_searched,
    begun_as,
    called,
    checkpointed,
    first_steps,
    in_double,
    in_dtype,
    in_mode,
    nothing_waits,
    one_token,
    row_alone,
    streamed,
    told_by_length,
    under_autocast,
    with_beams,
    with_cache,
    with_decoder_mask,
    with_decoding,
    with_ends,
    with_labels,
    with_length,
    with_lora,
    with_mask,
    with_padding,
    with_real_tokens,
    with_scale,
)
from conformance.families import family_named
from conformance.methods import method_named

HALVES: tuple[Dtype, ...] = ("float16", "bfloat16")
SCALES: tuple[Scale, ...] = ("drawn", "large", "small")


def shortest(case: Case) -> tuple[Case, ...]:
    """The text is one token, whose window reaches as far into the prefix as any."""
    return (one_token(case),)


def loaded_with_text(case: Case) -> tuple[Case, ...]:
    """The virtual tokens hold a real text; keys of a decoder depend on what its encoder reads, so one row at a time."""
    alone = case.roles.encoder_layers and in_the_cache(case)
    return (with_real_tokens(row_alone(case, 0) if alone else case),)


def at_the_edge(case: Case) -> tuple[Case, ...]:
    """As many virtual tokens as the window is long, one less, or one more; in turn as the Case's seed says."""
    n, window = case.prefix.length, case.roles.window
    if not slides(case) or abs(n - window) <= 1:
        return (case,)
    return (with_length(first_steps(case), window + case.seed % 3 - 1),)


def both_sides(case: Case) -> tuple[Case, ...]:
    """Pads on the left and pads on the right."""
    if not case.padded:
        return (case,)
    # A decoder that answers after a pad is wrong at once, with or without a prefix: one step shows which it is.
    right = with_padding(case if case.roles.encoder_layers else first_steps(case, 1), "right")
    return (with_padding(case, "left"), right)


def other_masks(case: Case) -> tuple[Case, ...]:
    """The same batch with each other kind of mask; none at all only where nothing is padded."""
    kinds: tuple[Literal["bool", "float", "omitted"], ...] = (
        ("bool", "float") if case.padded else ("omitted", "bool", "float")
    )
    return tuple(with_mask(case, kind) for kind in kinds)


def decoder_masks(case: Case) -> tuple[Case, ...]:
    """The same batch with a mask of ones for the decoder, and with ones that have pads, for which it takes several rows.

    Pads on the left would lie between virtual tokens in front of the decoder's text and that text.
    """
    sides: tuple[Literal["padded", "left"], ...] = (
        ("padded",) if method_named(case.method).in_front(case) else ("padded", "left")
    )
    padded = [with_decoder_mask(case, side) for side in sides if len(case.rows) > 1]
    return (with_decoder_mask(case, "ones"), *padded)


def labellings(case: Case) -> tuple[Case, ...]:
    """A label for every token, and for every other one; pads on the right, as in training, where no base model minds them."""
    return (with_padding(case, "right"), with_labels(with_padding(case, "right"), "some"))


def as_trained(case: Case) -> tuple[Case, ...]:
    """One of the ways in which trainers call, as the Case's seed decides; pads on the right."""
    ways: tuple[Call, ...] = ("tuple", "position", "labels" if case.roles.encoder_layers else "counted")
    return (called(with_padding(case, "right"), ways[case.seed % len(ways)]),)


def counted_alone(case: Case) -> Case:
    """The same batch, where its items are counted the only one before a step; else called as usual."""
    return called(case, "counted_alone" if case.call == "counted" else "usual")


def typed(case: Case) -> tuple[Case, ...]:
    """With types of two kinds, in turn; pads on the right, as in training, where no base model minds them."""
    return (called(with_padding(case, "right"), "types"),)


def by_position(case: Case) -> tuple[Case, ...]:
    """The text is the first argument, without a name."""
    return (called(case, "position"),)


def training_mode(case: Case) -> tuple[Case, ...]:
    """The model in training mode."""
    return (in_mode(case, "train"),)


def checkpointings(case: Case) -> tuple[Case, ...]:
    """Gradient checkpointing, switched on before wrapping, and after."""
    return (checkpointed(case, "before"), checkpointed(case, "after"))


def stackings(case: Case) -> tuple[Case, ...]:
    """A step of one row, with a LoRA in two places, which its id decides; none where there are more rows, which say the same."""
    ways: tuple[Stacked, ...] = (("merged", "over"), ("inside", "under"))[int(case.id, 16) % 2]
    return () if many_rows(case) else tuple(with_lora(first_steps(case, 1), way) for way in ways)


def wrongly_asked(case: Case) -> tuple[Case, ...]:
    """A step of one row, asked for in each way that cannot work; none where there are more rows, on which it does not depend."""
    if many_rows(case):
        return ()
    ways = method_named(case.method).wrongs(case, family_named(case.family))
    return tuple(asked_wrongly(first_steps(case, 1), way) for way in ways)


def beginnings(case: Case) -> tuple[Case, ...]:
    """A new adapter that begins in each way that its method has."""
    ways = method_named(case.method).beginnings(case, family_named(case.family))
    return tuple(begun_as(case, way) for way in ways) or (case,)


def static_steps(case: Case) -> tuple[Case, ...]:
    """Three steps with a static cache, which transformers has on every machine."""
    return (with_cache(first_steps(case), "static"),)


def other_caches(case: Case) -> tuple[Case, ...]:
    """Three steps with a static cache, or as the Case's seed says with one that is handed in, or of another kind there is."""
    if case.seed % 2 == 0:
        return static_steps(case)
    # Looked up when it is asked: a chapter imports no torch.
    names: tuple[str, ...] = resolve_name("conformance.compat.cache_kinds:implementations")()
    others = [*HANDED_IN, *(name for name in names if name != "static")]
    return (with_cache(first_steps(case), others[case.seed // 2 % len(others)]),)


def limits(case: Case) -> tuple[Case, ...]:
    """Three steps whose end is said in each way: for text and answer together, by the least and by the most."""
    short = first_steps(case)
    return (streamed(told_by_length(short)), with_ends(told_by_length(short)), with_ends(short))


def _without_pads(case: Case) -> Case:
    """Three steps of it, of its first row alone where rows have pads."""
    return first_steps(row_alone(case, 0) if case.padded else case)


def halves(case: Case) -> tuple[Case, ...]:
    """Three steps without pads, in one of the half precisions, with usual, large or small numbers, as its seeds decide."""
    scaled = with_scale(_without_pads(case), SCALES[case.rows[0].seed % len(SCALES)])
    return (in_dtype(scaled, HALVES[case.prefix.seed % len(HALVES)]),)


def autocasts(case: Case) -> tuple[Case, ...]:
    """Three steps without pads, under autocast."""
    return (under_autocast(_without_pads(case)),)


def doubles(case: Case) -> tuple[Case, ...]:
    """Three steps without pads, in float64, with numbers that float32 has to round, as its seeds decide large or small."""
    return (in_double(with_scale(_without_pads(case), SCALES[1 + case.rows[0].seed % 2])),)


def no_cache(case: Case) -> tuple[Case, ...]:
    """Three steps without a cache of any kind."""
    return (with_cache(first_steps(case), "none"),)


def greedy(case: Case) -> tuple[Case, ...]:
    """Three steps of it."""
    return (first_steps(case),)


def greedy_and_beams(case: Case) -> tuple[Case, ...]:
    """Three steps, and three with two beams."""
    return (first_steps(case), with_beams(first_steps(case)))


def sampled(case: Case) -> tuple[Case, ...]:
    """Three steps of it, sampled."""
    return (with_decoding(first_steps(case), "sampled"),)


def processed(case: Case) -> tuple[Case, ...]:
    """Three steps of it, under processors of logits."""
    return (with_decoding(first_steps(case), "processed"),)


def stopped(case: Case) -> tuple[Case, ...]:
    """Three steps of it, which a string in the answer may end."""
    return (with_decoding(first_steps(case), "stopped"),)


def searched(case: Case) -> tuple[Case, ...]:
    """Three steps of it, with several beams."""
    return (beam_searched(first_steps(case)),)


def all_returned(case: Case) -> tuple[Case, ...]:
    """Three steps of it, with all returned that generate can return."""
    return (with_decoding(first_steps(case), "all_returned"),)


def chunked(case: Case) -> tuple[Case, ...]:
    """Three steps of it, the text read in pieces."""
    return (with_decoding(first_steps(case), "chunked"),)


def looked_up(case: Case) -> tuple[Case, ...]:
    """Five steps of one row, whose next tokens are looked up in the text: of several at once transformers cannot."""
    return (with_decoding(first_steps(row_alone(case, 0), 5), "looked_up"),)


def by_assistant(case: Case) -> tuple[Case, ...]:
    """Five steps of one row, with an assistant: of several at once transformers cannot."""
    return (with_decoding(first_steps(row_alone(case, 0), 5), "assisted"),)


def decodings(case: Case) -> tuple[Case, ...]:
    """Three steps, three with two beams, three with a static cache; where weights wait, three steps with nothing waiting."""
    if not by_hand(case) or not away_or_loaded(case):
        return (*greedy_and_beams(case), *static_steps(case))
    return greedy(nothing_waits(case))
