"""What claims need of a Case to say anything."""

from __future__ import annotations

from pkgutil import resolve_name

from conformance.clauses.registry import precondition
from conformance.core.case import Case
from conformance.core.decodings import CHUNK
from conformance.core.dimensions import slides
from conformance.core.relations import spelled_plainly
from conformance.core.story import TWO_TURNS
from conformance.families import family_named
from conformance.methods import method_named


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


@precondition(otherwise="No layer has a window")
def windows(case: Case) -> bool:
    """A layer with a window."""
    return slides(case)


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


@precondition(otherwise="The base model's forward has no parameter for the types of tokens, or none are given")
def token_types(case: Case) -> bool:
    """Types of tokens, of which the base model is told."""
    # Looked up when it is asked: a chapter imports no torch.
    takes, argument = map(resolve_name, ("conformance.families.build:takes", "conformance.families.inputs.text:TYPES"))
    return case.call == "types" and takes(family_named(case.family), argument)


@precondition(otherwise="Nothing is told of a session")
def told(case: Case) -> bool:
    """A story."""
    return bool(case.story)


@precondition(otherwise="Nothing is wrong with what is asked of this method")
def something_wrong(case: Case) -> bool:
    """A request that cannot work."""
    return case.wrong in method_named(case.method).wrongs(case, family_named(case.family))


@precondition(otherwise="The base model has no other adapter")
def a_lora(case: Case) -> bool:
    """A LoRA beside the virtual tokens."""
    return case.stacked != "alone"


@precondition(otherwise="There is no other way for it to begin than at random")
def told_how_to_begin(case: Case) -> bool:
    """A new adapter that is told how to begin."""
    return case.prefix.begins in method_named(case.method).beginnings(case, family_named(case.family))


@precondition(otherwise="Only eager attention returns its weights, and the Case has another implementation")
def eager_attention(case: Case) -> bool:
    """Attention that returns its weights."""
    return case.attention == "eager"


@precondition(otherwise="The text is no longer than the first piece of it")
def several_chunks(case: Case) -> bool:
    """A text that is read in several pieces."""
    return case.longest > CHUNK
