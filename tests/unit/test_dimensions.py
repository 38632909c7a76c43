"""Each class has the Case that one would write for it, and of each dimension every Case has exactly one class."""

from __future__ import annotations

import pytest

from conformance.core.case import Case, Placement, Prefix, Roles, Row
from conformance.core.dimensions import DIMENSIONS
from conformance.core.features import FEATURES, features
from conformance.core.relations import (
    asked_wrongly,
    begun_as,
    called,
    checkpointed,
    first_steps,
    in_double,
    in_dtype,
    in_mode,
    prefix_reversed,
    streamed,
    told_by_length,
    under_autocast,
    with_beams,
    with_cache,
    with_decoder_mask,
    with_decoding,
    with_embeds,
    with_ends,
    with_labels,
    with_lora,
    with_mask,
    with_padding,
    with_position_ids,
    with_real_tokens,
    with_scale,
    without_prefix,
)
from conformance.core.story import Act

pytestmark = pytest.mark.light


def model(**roles: object) -> Case:
    return Case(family="x", roles=Roles(**roles))  # type: ignore[arg-type]


def texts(*lengths: int, n: int = 1) -> Case:
    return Case(family="x", prefix=Prefix(length=n), rows=tuple(Row(length=length) for length in lengths))


def window(length: int, n: int, layers: int = 1, sliding: tuple[bool, ...] = (True,), new_tokens: int = 2) -> Case:
    roles = Roles(window=length, sliding=sliding, layers=layers)
    return Case(family="x", roles=roles, prefix=Prefix(length=n), rows=(Row(length=2),), new_tokens=new_tokens)


def placed(**how: object) -> Case:
    return Case(family="x", roles=Roles(layers=2), placement=Placement(**{"way": "dispatched", **how}))  # type: ignore[arg-type]


def story(*steps: Act) -> Case:
    return Case(family="x", story=steps)


PLAIN = Case(family="x")
WRITTEN = {
    "one_layer": model(layers=1),
    "even_layers": model(layers=2),
    "odd_layers_from_three": model(layers=3),
    "decoder_only": PLAIN,
    "fewer_encoder_layers": model(layers=3, encoder_layers=2),
    "equal_encoder_layers": model(layers=2, encoder_layers=2),
    "more_encoder_layers": model(layers=1, encoder_layers=2),
    "no_encoder": PLAIN,
    "even_encoder_layers": model(encoder_layers=2),
    "odd_encoder_layers": model(encoder_layers=1),
    "no_layer_slides": window(5, 1, sliding=(False, True)),
    "every_layer_slides": window(5, 1, sliding=(True, False)),
    "some_layers_slide": window(5, 1, layers=3, sliding=(True, True, False)),
    "one_head": PLAIN,
    "multi_head": model(heads=4, kv_heads=4),
    "several_kv_heads": model(heads=4, kv_heads=2),
    "one_shared_kv_head": model(heads=4, kv_heads=1),
    "heads_as_wide": model(heads=2, head_dim=4, width=8),
    "heads_narrower": model(heads=2, head_dim=4, width=12),
    "heads_wider": model(heads=2, head_dim=8, width=12),
    "long_prompt": texts(1, 2),
    "one_token_prompt": texts(1, 1),
    "many_virtual_tokens": texts(1, n=2),
    "one_virtual_token": texts(1, n=1),
    "no_virtual_token": without_prefix(PLAIN),
    "n_below_prompt": texts(1, 3, n=2),
    "n_equals_prompt": texts(1, 3, n=3),
    "n_above_prompt": texts(1, 3, n=4),
    "no_window": PLAIN,
    "window_holds_all": window(6, 2),
    "text_leaves_window": window(6, 3),
    "n_below_window_by_one": window(6, 5),
    "n_fills_window": window(6, 6),
    "n_above_window": window(6, 7),
    "one_row": texts(3),
    "equal_rows": texts(3, 3),
    "some_pads": texts(2, 3),
    "all_pads_but_one": texts(1, 2, 3),
    "no_projection": PLAIN,
    "projection": Case(family="x", prefix=Prefix(projection=1)),
    "untied": PLAIN,
    "tied": model(tied=True),
    "unscaled_rope": model(rope="default"),
    "linear_rope": model(rope="linear"),
    "llama3_rope": model(rope="llama3"),
    "whole_heads_rotated": model(rotary=100),
    "part_of_heads_rotated": model(rotary=25),
    "default_attention": PLAIN,
    "eager": Case(family="x", attention="eager"),
    "no_lstm": PLAIN,
    "one_lstm_layer": Case(family="x", prefix=Prefix(lstm_layers=1)),
    "several_lstm_layers": Case(family="x", prefix=Prefix(lstm_layers=2)),
    "none_frozen": texts(1, n=2),
    "some_frozen": Case(family="x", prefix=Prefix(length=2, frozen=1)),
    "all_frozen": Case(family="x", prefix=Prefix(length=2, frozen=2)),
    "one_task": PLAIN,
    "several_tasks": Case(family="x", prefix=Prefix(tasks=2)),
    "rank_one": PLAIN,
    "rank_above_one": Case(family="x", prefix=Prefix(rank=2)),
    "one_template": PLAIN,
    "examples": Case(family="x", prefix=Prefix(context="examples")),
    "decaying_examples": Case(family="x", prefix=Prefix(context="decaying")),
    "wide_radii": PLAIN,
    "narrow_radii": Case(family="x", prefix=Prefix(radii="narrow")),
    "pads_left": texts(1, 2),
    "pads_right": with_padding(texts(1, 2), "right"),
    "int_mask": PLAIN,
    "bool_mask": with_mask(PLAIN, "bool"),
    "float_mask": with_mask(PLAIN, "float"),
    "mask_omitted": with_mask(PLAIN, "omitted"),
    "ids": PLAIN,
    "embeds": with_embeds(PLAIN),
    "dynamic_cache": PLAIN,
    "static_cache": with_cache(PLAIN, "static"),
    "without_cache": with_cache(PLAIN, "none"),
    "given_cache": with_cache(PLAIN, "given"),
    "given_static_cache": with_cache(PLAIN, "given_static"),
    "cache_of_another_name": with_cache(PLAIN, "quantized"),
    "random_rows": PLAIN,
    "real_tokens": with_real_tokens(PLAIN),
    "order_as_drawn": PLAIN,
    "order_reversed": prefix_reversed(PLAIN),
    "begins_as_drawn": PLAIN,
    "begins_as_zero": begun_as(PLAIN, "zero"),
    "begins_as_text": begun_as(PLAIN, "text"),
    "begins_in_vocabulary": begun_as(PLAIN, "vocabulary"),
    "begins_as_average_task": begun_as(PLAIN, "average_task"),
    "begins_as_exact_task": begun_as(PLAIN, "exact_task"),
    "begins_as_shared_prompt": begun_as(PLAIN, "shared_prompt"),
    "begins_as_cache": begun_as(PLAIN, "cache"),
    "begins_as_cached_text": begun_as(PLAIN, "cached_text"),
    "told_new_tokens": PLAIN,
    "told_length": told_by_length(PLAIN),
    "never_ends": PLAIN,
    "most_tokens_end": with_ends(PLAIN),
    "not_streamed": PLAIN,
    "streamed": streamed(PLAIN),
    "evaluation_mode": PLAIN,
    "training_mode": in_mode(PLAIN, "train"),
    "nothing_checkpointed": PLAIN,
    "checkpointed_before": checkpointed(PLAIN, "before"),
    "checkpointed_after": checkpointed(PLAIN, "after"),
    "decoder_mask_omitted": PLAIN,
    "decoder_mask_of_ones": with_decoder_mask(PLAIN, "ones"),
    "padded_decoder_mask": with_decoder_mask(PLAIN, "padded"),
    "left_padded_decoder_mask": with_decoder_mask(PLAIN, "left"),
    "nothing_wrong": PLAIN,
    "length_unsaid": asked_wrongly(PLAIN, "no_length"),
    "task_unsaid": asked_wrongly(PLAIN, "no_task"),
    "task_without_answers": asked_wrongly(PLAIN, "answerless_task"),
    "task_of_other_models": asked_wrongly(PLAIN, "task_of_others"),
    "unknown_value": asked_wrongly(PLAIN, "unknown_value"),
    "setting_missing": asked_wrongly(PLAIN, "missing_setting"),
    "argument_missing": asked_wrongly(PLAIN, "missing_argument"),
    "without_lora": PLAIN,
    "lora_merged": with_lora(PLAIN, "merged"),
    "lora_inside": with_lora(PLAIN, "inside"),
    "over_lora": with_lora(PLAIN, "over"),
    "under_lora": with_lora(PLAIN, "under"),
    "every_label": PLAIN,
    "ignored_labels": with_labels(PLAIN, "some"),
    "called_as_usual": PLAIN,
    "called_by_position": called(PLAIN, "position"),
    "called_for_a_tuple": called(PLAIN, "tuple"),
    "items_counted": called(PLAIN, "counted"),
    "own_items_counted": called(PLAIN, "counted_alone"),
    "labels_without_decoder_ids": called(PLAIN, "labels"),
    "types_of_tokens": called(PLAIN, "types"),
    "float32": PLAIN,
    "float64": in_double(PLAIN),
    "bfloat16": in_dtype(PLAIN, "bfloat16"),
    "float16": in_dtype(PLAIN, "float16"),
    "no_autocast": PLAIN,
    "under_autocast": under_autocast(PLAIN),
    "numbers_as_drawn": PLAIN,
    "large_numbers": with_scale(PLAIN, "large"),
    "small_numbers": with_scale(PLAIN, "small"),
    "positions_omitted": PLAIN,
    "default_positions": with_position_ids(PLAIN),
    "shifted_positions": with_position_ids(PLAIN, shift=3),
    "greedy": PLAIN,
    "beams": with_beams(PLAIN),
    "plainly_decoded": PLAIN,
    "sampled": with_decoding(PLAIN, "sampled"),
    "processed": with_decoding(PLAIN, "processed"),
    "stopped": with_decoding(PLAIN, "stopped"),
    "searched": with_decoding(PLAIN, "searched"),
    "searched_early": with_decoding(PLAIN, "searched_early"),
    "looked_up": with_decoding(PLAIN, "looked_up"),
    "assisted": with_decoding(PLAIN, "assisted"),
    "all_returned": with_decoding(PLAIN, "all_returned"),
    "chunked": with_decoding(PLAIN, "chunked"),
    "many_new_tokens": PLAIN,
    "one_new_token": first_steps(PLAIN, 1),
    "never_generates": story(Act(do="save")),
    "generates": story(Act(do="generate")),
    "never_goes_on": story(Act(do="save")),
    "goes_on": story(Act(), Act(do="go_on")),
    "never_trains": story(Act(do="save")),
    "trains": story(Act(do="train")),
    "never_saves": story(Act(do="train")),
    "saves": story(Act(do="save")),
    "never_loads": story(Act(do="save")),
    "loads": story(Act(do="save"), Act(do="load")),
    "never_resumes": story(Act(do="save")),
    "resumes": story(Act(do="save"), Act(do="resume")),
    "never_adds": story(Act(do="save")),
    "adds": story(Act(do="add", adapter="second")),
    "never_switches": story(Act(do="save")),
    "switches": story(Act(do="switch")),
    "never_deletes": story(Act(do="save")),
    "deletes": story(Act(do="add", adapter="second"), Act(do="delete")),
    "never_disables": story(Act(do="save")),
    "disables": story(Act(do="disable")),
    "never_enables": story(Act(do="save")),
    "enables": story(Act(do="disable"), Act(do="enable")),
    "never_raises": story(Act(do="save")),
    "raises": story(Act(do="raise")),
    "never_interrupts": story(Act(do="save")),
    "interrupts": story(Act(do="interrupt")),
    "dispatched": placed(),
    "map_given": placed(way="pretrained"),
    "map_made": placed(way="balanced", memory=(60, 60)),
    "layers_together": placed(layers=(1,)),
    "layers_spread": placed(layers=(0, 1)),
    "some_layers_wait": placed(layers=(0, "cpu")),
    "all_layers_wait": placed(layers=("cpu", "disk", 1)),
    "rest_together": placed(others=(1,)),
    "rest_spread": placed(others=(0, 1)),
    "embedding_waits": placed(others=("cpu", 0)),
    "other_parts_wait": placed(others=(0, "disk")),
    "all_the_rest_waits": placed(others=("cpu", "disk")),
    "embedding_with_layer": placed(layers=(1, 0), others=(1,)),
    "embedding_elsewhere": placed(layers=(1, 0), others=(0,)),
    "no_layer_between": placed(layers=(0, 2), others=(1,)),
    "layer_between": placed(layers=(0, 1), others=(2,)),
    "no_weights_wait": placed(layers=(0, 1, "cpu")),
    "weights_on_cpu": placed(layers=(0, "cpu")),
    "weights_on_disk": placed(layers=(0, "cpu"), others=("disk",)),
    "memory_unsaid": placed(),
    "memory_for_all": placed(way="auto", memory=(40, 60)),
    "memory_for_some": placed(way="auto", memory=(40, 50)),
    "devices_by_name": placed(),
    "devices_by_number": placed(spelling="number"),
    "torch_devices": placed(spelling="device"),
    "keys_in_order": placed(),
    "keys_reversed": placed(order="reversed"),
    "single_keys": placed(),
    "merged_keys": placed(merged=True),
    "adapter_made": placed(),
    "adapter_loaded": placed(adapter="loaded"),
}


def test_every_class_has_its_case() -> None:
    assert list(WRITTEN) == [name for dimension in DIMENSIONS for name in dimension.classes]


@pytest.mark.parametrize("name", WRITTEN)
def test_a_case_has_the_class_and_no_other_of_its_dimension(name: str) -> None:
    (dimension,) = (dimension for dimension in DIMENSIONS if name in dimension.classes)
    assert [one for one, holds in dimension.classes.items() if holds(WRITTEN[name])] == [name]
    assert dimension.class_of(WRITTEN[name]) == name


@pytest.mark.parametrize("case", WRITTEN.values(), ids=WRITTEN)
def test_of_every_dimension_a_case_has_exactly_one_class(case: Case) -> None:
    for dimension in DIMENSIONS:
        if dimension.counts(case):
            assert sum(holds(case) for holds in dimension.classes.values()) == 1, dimension.name


@pytest.mark.parametrize("name", WRITTEN)
def test_classes_are_features_but_for_what_nobody_would_say(name: str) -> None:
    unsaid = any(dimension.unsaid == name for dimension in DIMENSIONS)
    assert (name in FEATURES) is not unsaid
    assert (name in features(WRITTEN[name])) is not unsaid


def test_what_is_not_placed_has_no_class_of_placed_models() -> None:
    about_maps = {name for dimension in DIMENSIONS if dimension.of == "placed" for name in dimension.classes}
    assert not about_maps & features(PLAIN)


def test_no_two_dimensions_or_classes_have_one_name() -> None:
    names = [dimension.name for dimension in DIMENSIONS]
    assert len(set(names)) == len(names)
    assert len(set(WRITTEN)) == sum(len(dimension.classes) for dimension in DIMENSIONS)
