"""Which classes no Case of a family can have at once, each with the reason in words.

Written down, not computed from what is drawn: a combination that is never drawn and has no reason here is *missing*.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from msgspec import Struct

from conformance.core.finding import DEFAULT_METHOD
from conformance.families.family import Family
from conformance.strategies.stratum import drawn_from


class Kind(Struct, frozen=True):
    """Which Cases are meant: a family's, of models in one place or of ``placed`` ones, with a method."""

    family: Family
    placed: bool = False
    method: str = DEFAULT_METHOD


def _always(kind: Kind) -> bool:
    return True


class Impossible(Struct, frozen=True):
    """Why no Case has a class of each of ``sets``, for the kinds of Cases for which it ``holds``."""

    words: str
    sets: tuple[frozenset[str], ...]
    holds: Callable[[Kind], bool] = _always

    def covers(self, classes: Collection[str]) -> bool:
        """Whether ``classes`` have one of each set."""
        return all(not one.isdisjoint(classes) for one in self.sets)


def _reason(words: str, *sets: str, holds: Callable[[Kind], bool] = _always) -> Impossible:
    return Impossible(words, tuple(frozenset(one.split()) for one in sets), holds)


def _role(name: str, *values: object) -> Callable[[Kind], bool]:
    """The family file has none of ``values`` for the role called ``name``."""
    return lambda kind: not set(values) & set(getattr(drawn_from(kind.family, kind.placed), name))


def _layers(*, even: bool) -> Callable[[Kind], bool]:
    least = 2 if even else 3
    return lambda kind: (
        not any(n >= least and (n % 2 == 0) is even for n in drawn_from(kind.family, kind.placed).layers)
    )


def _no_window(length: int) -> Callable[[Kind], bool]:
    return lambda kind: length not in kind.family.draw.windows


WINDOWS = "window_holds_all text_leaves_window n_below_window_by_one n_fills_window n_above_window"
PADDED = "some_pads all_pads_but_one"
MADE = "map_made memory_for_all memory_for_some"
WAITING_LAYERS, WAITING_REST = "some_layers_wait all_layers_wait", "embedding_waits other_parts_wait all_the_rest_waits"
SOME_ENCODER = "fewer_encoder_layers equal_encoder_layers more_encoder_layers even_encoder_layers odd_encoder_layers"

OF_FAMILIES = (
    _reason("no encoder", SOME_ENCODER, holds=lambda kind: not kind.family.encoder_decoder),
    _reason("an encoder", "decoder_only no_encoder", holds=lambda kind: kind.family.encoder_decoder),
    _reason(
        "an encoder as deep as the decoder",
        "fewer_encoder_layers more_encoder_layers",
        holds=lambda kind: kind.family.draw.encoder_layers == "equal",
    ),
    _reason(
        "no windows", f"every_layer_slides some_layers_slide {WINDOWS}", holds=lambda kind: not kind.family.draw.windows
    ),
    _reason(
        "a layer that slides in every model",
        "no_layer_slides no_window",
        holds=lambda kind: all(map(any, kind.family.draw.sliding)),
    ),
    _reason(
        "layers that all slide or none",
        "some_layers_slide",
        holds=lambda kind: not any(len(set(pattern)) > 1 for pattern in kind.family.draw.sliding),
    ),
    _reason("no grouped heads", "several_kv_heads one_shared_kv_head", holds=lambda kind: not kind.family.draw.grouped),
    _reason(
        "no number of heads that several key/value heads divide",
        "several_kv_heads",
        holds=lambda kind: not any(n % d == 0 for n in kind.family.draw.heads for d in range(2, n)),
    ),
    _reason("more heads than one", "one_head", holds=_role("heads", 1)),
    _reason("one head", "multi_head one_shared_kv_head", holds=lambda kind: max(kind.family.draw.heads) == 1),
    _reason(
        "heads as wide as the model, together",
        "heads_narrower heads_wider",
        holds=lambda kind: not kind.family.draw.own_head_dim,
    ),
    _reason("more layers than one", "one_layer", holds=_role("layers", 1)),
    _reason("no even number of layers", "even_layers", holds=_layers(even=True)),
    _reason("no odd number of layers above one", "odd_layers_from_three", holds=_layers(even=False)),
    _reason("embeddings that are always tied", "untied", holds=_role("tied", False)),
    _reason("embeddings that are never tied", "tied", holds=_role("tied", True)),
    _reason("no linear scaling of rotary frequencies", "linear_rope", holds=_role("rope", "linear")),
    _reason("no scaling of rotary frequencies as in Llama 3", "llama3_rope", holds=_role("rope", "llama3")),
    _reason("rotary frequencies that are always scaled", "unscaled_rope", holds=_role("rope", "", "default")),
    _reason("heads that are always rotated in part", "whole_heads_rotated", holds=_role("rotary", 0, 100)),
    _reason("heads that are never rotated in part", "part_of_heads_rotated", holds=_role("rotary", *range(1, 100))),
    *(
        _reason(words, *one, edge, holds=_no_window(length))
        for one in (("one_virtual_token",), ("one_token_prompt", "n_equals_prompt"))
        for words, edge, length in (
            ("no window of two tokens", "n_below_window_by_one", 2),
            ("no window of one token", "n_fills_window", 1),
        )
    ),
)
"""What a family has, or has not, by its file."""
OF_NUMBERS = (
    _reason("without virtual tokens a Case is a control, which clauses run by themselves", "no_virtual_token"),
    _reason("a text of one token is not longer than a prefix", "one_token_prompt", "n_below_prompt"),
    _reason("texts of one token need no pads", "one_token_prompt", PADDED),
    _reason("one virtual token is not more than a text", "one_virtual_token", "n_above_prompt"),
    _reason("one is one", "one_token_prompt", "many_virtual_tokens", "n_equals_prompt"),
    _reason("one is one", "long_prompt", "one_virtual_token", "n_equals_prompt"),
    _reason("texts of one token need no pads", "one_virtual_token", "n_equals_prompt", PADDED),
    _reason("a window is not shorter than one virtual token", "one_virtual_token", "n_above_window"),
    _reason("a window is not shorter than one virtual token", "one_token_prompt", "n_equals_prompt", "n_above_window"),
    _reason("a window is one of layers that slide", "no_layer_slides", WINDOWS),
    _reason("layers that slide have a window", "every_layer_slides some_layers_slide", "no_window"),
    _reason("one layer slides or does not", "one_layer", "some_layers_slide"),
    _reason("an encoder has a layer", "one_layer", "fewer_encoder_layers"),
    _reason("equal numbers are both even or both odd", "one_layer", "equal_encoder_layers", "even_encoder_layers"),
    _reason("equal numbers are both even or both odd", "even_layers", "equal_encoder_layers", "odd_encoder_layers"),
    _reason(
        "equal numbers are both even or both odd",
        "odd_layers_from_three",
        "equal_encoder_layers",
        "even_encoder_layers",
    ),
    _reason(
        "placed models have two or three layers, and fewer than two is one",
        "even_layers",
        "fewer_encoder_layers",
        "even_encoder_layers",
        holds=lambda kind: kind.placed,
    ),
)
OF_MAPS = (
    _reason(
        "one layer is in one place",
        "layers_spread some_layers_wait",
        holds=lambda kind: max(drawn_from(kind.family, kind.placed).layers) == 1,
    ),
    _reason("who places a model by a map says no memory", "dispatched map_given", "memory_for_all memory_for_some"),
    _reason("transformers makes a map for a memory that it is told", "map_made", "memory_unsaid"),
    _reason("transformers decides where the layers are", MADE, f"layers_spread layer_between {WAITING_LAYERS}"),
    _reason("transformers decides where the rest is", MADE, f"rest_spread {WAITING_REST} embedding_elsewhere"),
    _reason("transformers decides what waits", MADE, "weights_on_cpu weights_on_disk"),
    _reason(
        "nobody spells a map that transformers makes",
        MADE,
        "devices_by_number torch_devices keys_reversed merged_keys",
    ),
    _reason("where a part waits, weights do", f"{WAITING_LAYERS} {WAITING_REST}", "no_weights_wait"),
    _reason(
        "where no part waits, no weights do",
        "layers_together layers_spread",
        "rest_together rest_spread",
        "weights_on_cpu weights_on_disk",
    ),
    _reason("layers that all wait are on no device", "all_layers_wait", "layer_between"),
    _reason("two layers are on two devices at most", "all_the_rest_waits", "layer_between"),
    _reason("two places are on two devices", "layers_together some_layers_wait", "rest_together", "layer_between"),
    _reason("two places are on two devices", "rest_together", "embedding_with_layer", "layer_between"),
    _reason("two places are on two devices", "rest_together", "weights_on_cpu weights_on_disk", "layer_between"),
    _reason(
        "an embedding that waits is not where a layer computes",
        "layers_together layers_spread",
        "embedding_waits all_the_rest_waits",
        "embedding_with_layer",
    ),
    _reason(
        "a layer that waits is not where the embedding computes",
        "all_layers_wait",
        "rest_together rest_spread other_parts_wait",
        "embedding_with_layer",
    ),
)
REASONS = (*OF_FAMILIES, *OF_NUMBERS, *OF_MAPS)


def reasons(kind: Kind) -> tuple[Impossible, ...]:
    """The reasons that hold for a kind of Cases."""
    return tuple(reason for reason in REASONS if reason.holds(kind))
