"""What claims need of a Case to say anything, and the follow-up Cases that some claims judge in place of a drawn one."""

from __future__ import annotations

from pkgutil import resolve_name
from typing import Literal

from conformance.clauses.registry import precondition
from conformance.core.case import HANDED_IN, Call, Case, Dtype, Scale, Stacked
from conformance.core.decodings import CHUNK
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
    spelled_plainly,
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
from conformance.core.story import TWO_TURNS
from conformance.families import family_named
from conformance.methods import method_named

HALVES: tuple[Dtype, ...] = ("float16", "bfloat16")
SCALES: tuple[Scale, ...] = ("drawn", "large", "small")


FEW = 4
"""Of so many Cases one is run in another precision, or with an assistant, which takes models of its own."""


@precondition(otherwise="It is not among the few Cases for which models of their own are built")
def one_of_few(case: Case) -> bool:
    """One Case of four, as its seeds decide."""
    return (case.seed + case.prefix.seed) % FEW == 0


@precondition(otherwise="The method puts nothing into the cache")
def in_the_cache(case: Case) -> bool:
    """A method that acts on the cache."""
    return method_named(case.method).acts_on == "cache"


@precondition(
    otherwise="The keys and values of a real text cannot be loaded: the window has dropped some, or one row serves two layers"
)
def text_fits(case: Case) -> bool:
    """A real text that can be loaded: of keys and values, all inside the window, each row for one layer."""
    if not in_the_cache(case):
        return True
    if any(case.roles.sliding) and case.prefix.length >= case.roles.window:
        return False
    # PEFT deals an encoder-decoder's rows out by four, modulo their number: with an odd number each serves once.
    return not case.roles.encoder_layers or case.roles.encoder_layers % 2 == 1


@precondition(otherwise="The family has no positions: biases by distance stand in their place")
def has_positions(case: Case) -> bool:
    """A family with positions."""
    return family_named(case.family).anatomy.positions != "none"


@precondition(otherwise="There is no decoder in plain tensor algebra for this family")
def in_plain_algebra(case: Case) -> bool:
    """A family whose decoder there is in plain tensor algebra, too."""
    # Looked up when it is asked: a chapter imports no torch.
    return family_named(case.family).model in resolve_name("conformance.oracles.plain_attention:DECODERS")


@precondition(otherwise="There is only one row")
def many_rows(case: Case) -> bool:
    """More than one row."""
    return len(case.rows) > 1


@precondition(otherwise="Several rows would say the same as one")
def one_row(case: Case) -> bool:
    """One row."""
    return len(case.rows) == 1


@precondition(otherwise="No row has a pad")
def pads(case: Case) -> bool:
    """A row with a pad."""
    return case.padded


@precondition(otherwise="A row has pads, and the mask says which")
def no_pads(case: Case) -> bool:
    """Rows without pads."""
    return not case.padded


@precondition(otherwise="One virtual token has no order")
def many_virtual_tokens(case: Case) -> bool:
    """More than one virtual token."""
    return case.prefix.length > 1


@precondition(otherwise="All virtual tokens are frozen: there is nothing to train")
def something_learns(case: Case) -> bool:
    """A virtual token that is trained."""
    return bool(method_named(case.method).trained(case))


@precondition(otherwise="The prefix is not projected")
def projection(case: Case) -> bool:
    """A projected prefix."""
    return method_named(case.method).computes_rows(case)


@precondition(otherwise="The order of the virtual tokens matters by design: biases by distance, or a sliding window")
def keys_carry_position(case: Case) -> bool:
    """Keys that carry their position, and full attention."""
    return not family_named(case.family).bias_by_distance and not any(case.roles.sliding)


@precondition(otherwise="The prefix is out of reach: every layer has a window, and all of them together end before it")
def in_reach(case: Case) -> bool:
    """A row whose last token can see the prefix, through the windows of all layers."""
    return _sees_back(case, 1)


@precondition(
    otherwise="What is trained is out of reach: every layer has a window, and all of them together end before it"
)
def trained_in_reach(case: Case) -> bool:
    """A row whose last token can see a virtual token that is trained, if any is."""
    trained = method_named(case.method).trained(case)
    return not trained or _sees_back(case, case.prefix.length - max(trained))


def _sees_back(case: Case, count: int) -> bool:
    """Whether the last token of a row sees the virtual token that is the last but ``count - 1``, through all windows."""
    roles, nearest = case.roles, min(row.length for row in case.rows)
    if roles.encoder_layers or not all(roles.slides(layer) for layer in range(roles.layers)):
        return True
    # A layer hands on what the one below has seen as far back again: a window of w sees w - 1 positions besides its own.
    return nearest + count - 1 <= roles.layers * (roles.window - 1)


def shortest(case: Case) -> tuple[Case, ...]:
    """The text is one token, whose window reaches as far into the prefix as any."""
    return (one_token(case),)


def loaded_with_text(case: Case) -> tuple[Case, ...]:
    """The virtual tokens hold a real text; keys of a decoder depend on what its encoder reads, so one row at a time."""
    alone = case.roles.encoder_layers and in_the_cache(case)
    return (with_real_tokens(row_alone(case, 0) if alone else case),)


@precondition(otherwise="No layer has a window")
def windows(case: Case) -> bool:
    """A layer with a window."""
    return slides(case)


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


@precondition(otherwise="The map is made by transformers: another clause's")
def by_hand(case: Case) -> bool:
    """A map written by hand."""
    return not case.placement.automatic


@precondition(otherwise="All weights are on devices, and the adapter is made there")
def away_or_loaded(case: Case) -> bool:
    """Weights that wait on the CPU or on disk, or a loaded adapter."""
    return case.placement.adapter == "loaded" or bool({"cpu", "disk"} & set(case.placement.named))


@precondition(otherwise="The map is not made by transformers")
def made_by_transformers(case: Case) -> bool:
    """A map made by transformers."""
    return case.placement.automatic


@precondition(otherwise="A loaded adapter is not trained")
def adapter_made(case: Case) -> bool:
    """An adapter made on the placed model."""
    return case.placement.adapter == "made"


@precondition(otherwise="The map is spelled plainly already, or made by transformers")
def spelled_otherwise(case: Case) -> bool:
    """A map that can be spelled in a plainer way."""
    return not case.placement.automatic and spelled_plainly(case) != case


@precondition(otherwise="It has no decoder of its own, whose mask could be given")
def encoder_decoder(case: Case) -> bool:
    """An encoder-decoder."""
    return case.roles.encoder_layers > 0


@precondition(otherwise="It is an encoder-decoder, whose answer begins with one start token")
def decoder_only(case: Case) -> bool:
    """A model that answers behind the text, in the same columns."""
    return case.roles.encoder_layers == 0


@precondition(otherwise="The model has no positions for a second turn")
def room_for_two_turns(case: Case) -> bool:
    """Positions for a further text and another answer."""
    return case.prefix.length + case.longest + TWO_TURNS <= case.roles.positions


def decoder_masks(case: Case) -> tuple[Case, ...]:
    """The same batch with a mask of ones for the decoder, and with ones that have pads, for which it takes several rows.

    Pads on the left would lie between virtual tokens in front of the decoder's text and that text.
    """
    sides: tuple[Literal["padded", "left"], ...] = (
        ("padded",) if method_named(case.method).in_front(case) else ("padded", "left")
    )
    padded = [with_decoder_mask(case, side) for side in sides if len(case.rows) > 1]
    return (with_decoder_mask(case, "ones"), *padded)


@precondition(otherwise="No token has a label: one is read, and none answers it")
def labels(case: Case) -> bool:
    """A text and answer in which some token has a label."""
    # Of a decoder neither the first token that it reads nor the last of the answer has one.
    return case.roles.encoder_layers > 0 or case.longest + case.new_tokens > 2  # noqa: PLR2004


@precondition(otherwise="The method has a loss of its own, which smoothing by others would replace")
def usual_loss(case: Case) -> bool:
    """A method whose loss is the mean over all labels of the text."""
    method = method_named(case.method)
    weights = {weight for row in range(len(case.rows)) for weight in method.label_weights(case, row)}
    return not method.tokens_in_front(case) and weights <= {1.0, None}


def labellings(case: Case) -> tuple[Case, ...]:
    """A label for every token, and for every other one; pads on the right, as in training, where no base model minds them."""
    return (with_padding(case, "right"), with_labels(with_padding(case, "right"), "some"))


def as_trained(case: Case) -> tuple[Case, ...]:
    """One of the ways in which trainers call, as the Case's seed decides; pads on the right."""
    ways: tuple[Call, ...] = ("tuple", "position", "labels" if case.roles.encoder_layers else "counted")
    return (called(with_padding(case, "right"), ways[case.seed % len(ways)]),)


@precondition(otherwise="The base model's forward has no parameter for the types of tokens, or none are given")
def token_types(case: Case) -> bool:
    """Types of tokens, of which the base model is told."""
    # Looked up when it is asked: a chapter imports no torch.
    takes, argument = map(resolve_name, ("conformance.families.build:takes", "conformance.families.inputs.text:TYPES"))
    return case.call == "types" and takes(family_named(case.family), argument)


def typed(case: Case) -> tuple[Case, ...]:
    """With types of two kinds, in turn; pads on the right, as in training, where no base model minds them."""
    return (called(with_padding(case, "right"), "types"),)


def by_position(case: Case) -> tuple[Case, ...]:
    """The text is the first argument, without a name."""
    return (called(case, "position"),)


@precondition(otherwise="Nothing is told of a session")
def told(case: Case) -> bool:
    """A story."""
    return bool(case.story)


def training_mode(case: Case) -> tuple[Case, ...]:
    """The model in training mode."""
    return (in_mode(case, "train"),)


def checkpointings(case: Case) -> tuple[Case, ...]:
    """Gradient checkpointing, switched on before wrapping, and after."""
    return (checkpointed(case, "before"), checkpointed(case, "after"))


@precondition(otherwise="Nothing is wrong with what is asked of this method")
def something_wrong(case: Case) -> bool:
    """A request that cannot work."""
    return case.wrong in method_named(case.method).wrongs(case, family_named(case.family))


@precondition(otherwise="The base model has no other adapter")
def a_lora(case: Case) -> bool:
    """A LoRA beside the virtual tokens."""
    return case.stacked != "alone"


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


@precondition(otherwise="There is no other way for it to begin than at random")
def told_how_to_begin(case: Case) -> bool:
    """A new adapter that is told how to begin."""
    return case.prefix.begins in method_named(case.method).beginnings(case, family_named(case.family))


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


@precondition(otherwise="Only eager attention returns its weights, and the Case has another implementation")
def eager_attention(case: Case) -> bool:
    """Attention that returns its weights."""
    return case.attention == "eager"


def all_returned(case: Case) -> tuple[Case, ...]:
    """Three steps of it, with all returned that generate can return."""
    return (with_decoding(first_steps(case), "all_returned"),)


@precondition(otherwise="The text is no longer than the first piece of it")
def several_chunks(case: Case) -> bool:
    """A text that is read in several pieces."""
    return case.longest > CHUNK


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
