"""The dimensions of the Case space: the one list of what Cases differ in.

Strategies draw every pair of classes that a family can have (:mod:`conformance.strategies.arrays`), ``peft-conformance
coverage`` counts which are reached, and classes are features, by which known failures are matched
(:mod:`conformance.core.features`).
"""

from __future__ import annotations

from collections.abc import Callable

from conformance.core.case import HANDED_IN, Case
from conformance.core.dimension import Dimension, by_field
from conformance.core.placed_dimensions import PLACED
from conformance.core.story import Do


def slides(case: Case) -> bool:
    """Whether any decoder layer has a sliding window."""
    return any(map(case.roles.slides, range(case.roles.layers)))


def _slide(case: Case, amount: Callable[[list[bool]], bool]) -> bool:
    return amount([case.roles.slides(layer) for layer in range(case.roles.layers)])


def _end(case: Case) -> int:
    """How many positions prefix, text and answer take."""
    return case.prefix.length + case.longest + case.new_tokens


def _window(case: Case, n: Callable[[int, int], bool]) -> bool:
    return slides(case) and n(case.prefix.length, case.roles.window)


DRAWN = (
    Dimension(
        name="decoder layers",
        classes={
            "one_layer": lambda c: c.roles.layers == 1,
            "even_layers": lambda c: c.roles.layers % 2 == 0,
            "odd_layers_from_three": lambda c: c.roles.layers % 2 == 1 and c.roles.layers > 1,
        },
    ),
    Dimension(
        name="encoder depth",
        classes={
            "decoder_only": lambda c: c.roles.encoder_layers == 0,
            "fewer_encoder_layers": lambda c: 0 < c.roles.encoder_layers < c.roles.layers,
            "equal_encoder_layers": lambda c: c.roles.encoder_layers == c.roles.layers,
            "more_encoder_layers": lambda c: c.roles.encoder_layers > c.roles.layers,
        },
        unsaid="decoder_only",
    ),
    Dimension(
        name="encoder layers",
        classes={
            "no_encoder": lambda c: c.roles.encoder_layers == 0,
            "even_encoder_layers": lambda c: c.roles.encoder_layers > 0 and c.roles.encoder_layers % 2 == 0,
            "odd_encoder_layers": lambda c: c.roles.encoder_layers % 2 == 1,
        },
        unsaid="no_encoder",
    ),
    Dimension(
        name="sliding layers",
        classes={
            "no_layer_slides": lambda c: not slides(c),
            "every_layer_slides": lambda c: _slide(c, all),
            "some_layers_slide": lambda c: _slide(c, any) and not _slide(c, all),
        },
        unsaid="no_layer_slides",
    ),
    Dimension(
        name="key/value heads",
        classes={
            "one_head": lambda c: c.roles.heads == 1,
            "multi_head": lambda c: c.roles.kv_heads == c.roles.heads > 1,
            "several_kv_heads": lambda c: 1 < c.roles.kv_heads < c.roles.heads,
            "one_shared_kv_head": lambda c: c.roles.kv_heads == 1 < c.roles.heads,
        },
    ),
    Dimension(
        name="heads and width",
        classes={
            "heads_as_wide": lambda c: c.roles.heads * c.roles.head_dim == c.roles.width,
            "heads_narrower": lambda c: c.roles.heads * c.roles.head_dim < c.roles.width,
            "heads_wider": lambda c: c.roles.heads * c.roles.head_dim > c.roles.width,
        },
        unsaid="heads_as_wide",
    ),
    Dimension(
        name="text",
        classes={
            "long_prompt": lambda c: c.longest > 1,
            "one_token_prompt": lambda c: c.longest == 1,
        },
    ),
    Dimension(
        name="virtual tokens",
        classes={
            "many_virtual_tokens": lambda c: c.prefix.length > 1,
            "one_virtual_token": lambda c: c.prefix.length == 1,
            "no_virtual_token": lambda c: c.prefix.length == 0,
        },
        unsaid="no_virtual_token",
    ),
    Dimension(
        name="virtual tokens and text",
        classes={
            "n_below_prompt": lambda c: c.prefix.length < c.longest,
            "n_equals_prompt": lambda c: c.prefix.length == c.longest,
            "n_above_prompt": lambda c: c.prefix.length > c.longest,
        },
    ),
    Dimension(
        name="window",
        classes={
            "no_window": lambda c: not slides(c),
            "window_holds_all": lambda c: slides(c) and _end(c) <= c.roles.window,
            "text_leaves_window": lambda c: _end(c) > c.roles.window and _window(c, lambda n, window: n < window - 1),
            "n_below_window_by_one": lambda c: _window(c, lambda n, window: n == window - 1),
            "n_fills_window": lambda c: _window(c, lambda n, window: n == window),
            "n_above_window": lambda c: _window(c, lambda n, window: n > window),
        },
        unsaid="no_window",
    ),
    Dimension(
        name="rows",
        classes={
            "one_row": lambda c: len(c.rows) == 1,
            "equal_rows": lambda c: len(c.rows) > 1 and not c.padded,
            "some_pads": lambda c: c.padded and all(row.length > 1 for row in c.rows),
            "all_pads_but_one": lambda c: c.padded and any(row.length == 1 for row in c.rows),
        },
    ),
    Dimension(
        name="projection",
        field="prefix.projection",
        values=(0, 4, 6),
        classes={
            "no_projection": lambda c: c.prefix.projection == 0,
            "projection": lambda c: c.prefix.projection > 0,
        },
    ),
    by_field("roles.tied", untied=False, tied=True),
    Dimension(
        name="rotary frequencies",
        field="roles.rope",
        classes={
            "unscaled_rope": lambda c: c.roles.rope in ("", "default"),
            "linear_rope": lambda c: c.roles.rope == "linear",
            "llama3_rope": lambda c: c.roles.rope == "llama3",
        },
        unsaid="unscaled_rope",
    ),
    Dimension(
        name="rotated part",
        field="roles.rotary",
        classes={
            "whole_heads_rotated": lambda c: c.roles.rotary in (0, 100),
            "part_of_heads_rotated": lambda c: 0 < c.roles.rotary < 100,  # noqa: PLR2004 - percent
        },
        unsaid="whole_heads_rotated",
    ),
    by_field("attention", default_attention="default", eager="eager"),
)

OF_METHODS = (
    Dimension(
        name="layers of an LSTM",
        of="method",
        field="prefix.lstm_layers",
        values=(0, 1, 2),
        classes={
            "no_lstm": lambda c: c.prefix.lstm_layers == 0,
            "one_lstm_layer": lambda c: c.prefix.lstm_layers == 1,
            "several_lstm_layers": lambda c: c.prefix.lstm_layers > 1,
        },
        unsaid="no_lstm",
    ),
    Dimension(
        name="frozen virtual tokens",
        of="method",
        field="prefix.frozen",
        values=(0, 1, 2),
        classes={
            "none_frozen": lambda c: c.prefix.frozen == 0,
            "some_frozen": lambda c: 0 < c.prefix.frozen < c.prefix.length,
            "all_frozen": lambda c: 0 < c.prefix.frozen == c.prefix.length,
        },
        unsaid="none_frozen",
    ),
    Dimension(
        name="tasks",
        of="method",
        field="prefix.tasks",
        values=(1, 2, 3),
        classes={"one_task": lambda c: c.prefix.tasks == 1, "several_tasks": lambda c: c.prefix.tasks > 1},
        unsaid="one_task",
    ),
    Dimension(
        name="rank of a task's matrix",
        of="method",
        field="prefix.rank",
        values=(1, 2),
        classes={"rank_one": lambda c: c.prefix.rank == 1, "rank_above_one": lambda c: c.prefix.rank > 1},
        unsaid="rank_one",
    ),
    by_field("prefix.context", "method", one_template="template", examples="examples", decaying_examples="decaying"),
    by_field("prefix.radii", "method", wide_radii="wide", narrow_radii="narrow"),
)
"""What only some methods have. It is in no array, and not drawn: of every method the base models and texts stay the same."""

ASKED = (
    by_field("padding", "asked", pads_left="left", pads_right="right"),
    by_field("mask", "asked", int_mask="long", bool_mask="bool", float_mask="float", mask_omitted="omitted"),
    by_field("inputs", "asked", ids="ids", embeds="embeds"),
    Dimension(
        name="cache",
        of="asked",
        field="cache",
        classes={
            "dynamic_cache": lambda c: c.cache == "dynamic",
            "static_cache": lambda c: c.cache == "static",
            "without_cache": lambda c: c.cache == "none",
            "given_cache": lambda c: c.cache == "given",
            "given_static_cache": lambda c: c.cache == "given_static",
            "cache_of_another_name": lambda c: c.cache not in ("dynamic", "static", "none", *HANDED_IN),
        },
        unsaid="dynamic_cache",
    ),
    by_field("prefix.content", "asked", random_rows="random", real_tokens="tokens"),
    by_field("prefix.order", "asked", order_as_drawn="drawn", order_reversed="reversed"),
    by_field(
        "prefix.begins",
        "asked",
        begins_as_drawn="drawn",
        begins_as_zero="zero",
        begins_as_text="text",
        begins_in_vocabulary="vocabulary",
        begins_as_average_task="average_task",
        begins_as_exact_task="exact_task",
        begins_as_shared_prompt="shared_prompt",
        begins_as_cache="cache",
        begins_as_cached_text="cached_text",
    ),
    by_field("limit", "asked", told_new_tokens="new_tokens", told_length="length"),
    by_field("ends", "asked", never_ends=False, most_tokens_end=True),
    by_field("streamed", "asked", not_streamed=False, streamed=True),
    by_field("mode", "asked", evaluation_mode="eval", training_mode="train"),
    by_field(
        "checkpointing", "asked", nothing_checkpointed="off", checkpointed_before="before", checkpointed_after="after"
    ),
    by_field(
        "decoder_mask",
        "asked",
        decoder_mask_omitted="omitted",
        decoder_mask_of_ones="ones",
        padded_decoder_mask="padded",
        left_padded_decoder_mask="left",
    ),
    by_field(
        "wrong",
        "asked",
        nothing_wrong="nothing",
        length_unsaid="no_length",
        task_unsaid="no_task",
        task_without_answers="answerless_task",
        task_of_other_models="task_of_others",
        unknown_value="unknown_value",
        setting_missing="missing_setting",
        argument_missing="missing_argument",
    ),
    by_field(
        "stacked",
        "asked",
        without_lora="alone",
        lora_merged="merged",
        lora_inside="inside",
        over_lora="over",
        under_lora="under",
    ),
    by_field("labels", "asked", every_label="all", ignored_labels="some"),
    by_field(
        "call",
        "asked",
        called_as_usual="usual",
        called_by_position="position",
        called_for_a_tuple="tuple",
        items_counted="counted",
        own_items_counted="counted_alone",
        labels_without_decoder_ids="labels",
        types_of_tokens="types",
    ),
    by_field("dtype", "asked", float32="float32", float64="float64", bfloat16="bfloat16", float16="float16"),
    by_field("autocast", "asked", no_autocast=False, under_autocast=True),
    by_field("prefix.scale", "asked", numbers_as_drawn="drawn", large_numbers="large", small_numbers="small"),
    Dimension(
        name="positions",
        of="asked",
        classes={
            "positions_omitted": lambda c: not c.given_positions,
            "default_positions": lambda c: c.given_positions and c.position_shift == 0,
            "shifted_positions": lambda c: c.given_positions and c.position_shift > 0,
        },
        unsaid="positions_omitted",
    ),
    Dimension(
        name="beams",
        of="asked",
        classes={"greedy": lambda c: c.beams == 1, "beams": lambda c: c.beams > 1},
        unsaid="greedy",
    ),
    by_field(
        "decoding",
        "asked",
        plainly_decoded="plain",
        sampled="sampled",
        processed="processed",
        stopped="stopped",
        searched="searched",
        searched_early="searched_early",
        looked_up="looked_up",
        assisted="assisted",
        all_returned="all_returned",
        chunked="chunked",
    ),
    Dimension(
        name="new tokens",
        of="asked",
        classes={"many_new_tokens": lambda c: c.new_tokens > 1, "one_new_token": lambda c: c.new_tokens == 1},
        unsaid="many_new_tokens",
    ),
)

STEPS: dict[Do, str] = {
    "generate": "generates",
    "go_on": "goes_on",
    "train": "trains",
    "save": "saves",
    "load": "loads",
    "resume": "resumes",
    "add": "adds",
    "switch": "switches",
    "delete": "deletes",
    "disable": "disables",
    "enable": "enables",
    "raise": "raises",
    "interrupt": "interrupts",
}
"""What a story does that has a step of that kind, as its feature says it."""


def _step(do: Do, word: str) -> Dimension:
    def holds(case: Case) -> bool:
        return any(step.do == do for step in case.story)

    classes = {f"never_{word}": lambda case: not holds(case), word: holds}
    return Dimension(name=f"a step that {word.replace('_', ' ')}", of="told", classes=classes, unsaid=f"never_{word}")


TOLD = tuple(_step(do, word) for do, word in STEPS.items())
"""What is told in stories. Which step follows which is counted apart: :mod:`conformance.strategies.coverage`."""

DIMENSIONS = (*DRAWN, *OF_METHODS, *ASKED, *TOLD, *PLACED)
"""Where something is missing, add it here: one line for a field that takes one of a few values."""
