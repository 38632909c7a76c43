"""Fine faults: a weaker check, which one might have written instead of the clause, does not find them.

That the clause does is shown in test_faults; that the weaker check is a check at all, here. Of placed models both are shown
in `tests/placement/chapter/`, in a process that has devices for them.
"""

from __future__ import annotations

import pytest

from conformance.core.outcome import Outcome
from conformance.engine.search import Budget
from conformance.faults import Fault, faults
from conformance.faults.detection import detected, in_force, named_clause, search_with_fault, weaker_clause

QUICK = Budget(shrink=False)
FINE = {id: fault for id, fault in faults().items() if fault.weaker and not named_clause(fault).placed}
GROSS = {
    "a_cache_handed_in": "handed_in_cache_without_prefix",
    "a_length_is_asked_for": "length_is_guessed",
    "all_kv_heads": "contents_ignored",
    "alone": "contents_ignored",
    "an_unknown_value_ends_in_an_error": "unknown_words_are_forgotten",
    "answers_after_an_error": "off_after_an_error",
    "answers_after_loading": "saves_half",
    "answers_in_half": "hidden_in_half",
    "answers_under_autocast": "bare_under_autocast",
    "any_gradient": "no_gradient",
    "as_before_a_refused_request": "off_after_a_refusal",
    "assisted_first_tokens": "contents_ignored",
    "base_after_generate": "peft_base_left_patched",
    "cache_of_as_many_tokens": "holds_the_last_layers_only",
    "checkpointed_forward": "checkpointed_without_the_prefix",
    "continued_by_its_own_answer": "prefix_hidden_in_a_second_turn",
    "decoder_mask_of_ones": "decoder_mask_without_prefix",
    "default_attention": "contents_ignored",
    "disabled": "stays_disabled",
    "disabled_in_forward": "not_disabled_in_forward",
    "disabled_in_generate": "not_disabled_in_generate",
    "double_as_float32": "contents_ignored",
    "equal_lengths": "only_the_first_row",
    "even_loss": "template_before_an_output_has_a_label",
    "every_label": "labels_shifted_twice",
    "first_call_grows": "injected_twice",
    "first_steps": "contents_ignored",
    "first_token_from_a_static_cache": "static_cache_holds_zeros",
    "first_token_without_cache": "no_prefix_without_cache",
    "first_word_of_a_text": "begins_at_random_whatever_is_told",
    "for_a_tuple": "tuple_without_the_prefix",
    "forward_is_current": "no_gradient",
    "forward_logits_alone": "mask_one_short_on_the_wrong_side",
    "frozen_after_wrapping": "head_left_unfrozen",
    "frozen_after_loading": "trained_whatever_is_told",
    "full_table": "contents_ignored",
    "gradient_within_radii": "outputs_learn",
    "greedy_tokens": "contents_ignored",
    "in_pieces": "second_piece_loses_its_last_token",
    "last_piece_of_one": "prefix_half_seen_in_pieces",
    "loaded_beside": "saves_half",
    "loaded_here": "saves_half",
    "loaded_here_unfrozen": "saves_half",
    "loaded_here_unprojected": "saves_half",
    "loaded_here_with_text": "saves_half",
    "loaded_into_live": "loading_switches",
    "loaded_with_text": "contents_ignored",
    "loss_behind_a_template": "template_before_an_output_has_a_label",
    "loss_of_rows_alone": "ignored_labels_count",
    "never_too_early": "peft_stop_strings_in_the_text",
    "of_one_template": "contents_ignored",
    "omitted_is_ones": "omitted_mask_hides_prefix",
    "one_lstm_layer": "contents_ignored",
    "one_of_the_source_tasks": "peft_last_task_is_the_first",
    "one_task": "contents_ignored",
    "one_virtual_token": "contents_ignored",
    "other_answers_after_removal": "peft_removing_clears_the_other",
    "over_a_merged_lora": "takes_the_lora_away",
    "parameters_close": "parameters_halved",
    "passed_config": "passed_config_is_ignored",
    "processed_tokens": "virtual_tokens_are_the_text",
    "rank_one": "contents_ignored",
    "restored": "off_after_an_error",
    "returned_answers": "penalty_counts_virtual_tokens",
    "sampled_tokens": "draws_before",
    "saved_and_loaded": "saves_half",
    "shapes": "injected_twice",
    "shapes_of_returned": "peft_attentions_leave_out_virtual_tokens",
    "something_is_given_back": "unload_finds_nothing",
    "step_logits": "contents_ignored",
    "switched": "never_switches_back",
    "switched_once": "other_names_never_answer",
    "told_by_length": "virtual_tokens_count_in_max_length",
    "trained_forward": "prefix_zero_in_training_mode",
    "trained_once": "gradient_of_keys_halved",
    "twenty_virtual_tokens": "contents_ignored",
    "twice": "cache_reused",
    "two_equal_rows": "only_the_first_row",
    "two_layers": "contents_ignored",
    "types_change_something": "types_are_dropped",
    "unprojected": "contents_ignored",
    "usual_numbers": "prefix_kept_in_float32",
    "values_of_a_text": "begins_at_random_whatever_is_told",
    "virtual_tokens_beside_a_lora": "off_around_another_wrapper",
    "within_radii": "contents_ignored",
    "without_lstm": "contents_ignored",
}
"""For each weaker check a fault that even it finds."""


@pytest.mark.parametrize("fault", FINE.values(), ids=FINE)
def test_the_weaker_check_misses_it(fault: Fault) -> None:
    assert fault.weaker is not None
    with in_force(fault) as planted:
        verdict = search_with_fault(weaker_clause(fault.weaker), planted, QUICK)
    assert verdict.outcome is Outcome.CONFORMS, verdict


@pytest.mark.parametrize("check", GROSS)
def test_the_weaker_check_finds_a_gross_fault(check: str) -> None:
    (weaker,) = {fault.weaker for fault in FINE.values() if fault.weaker and fault.weaker.__name__ == check}
    with in_force(faults()[GROSS[check]]) as planted:
        verdict = search_with_fault(weaker_clause(weaker), planted, QUICK)
    assert detected(verdict, planted), verdict


def test_every_weaker_check_is_shown_to_find_something() -> None:
    assert {fault.weaker.__name__ for fault in FINE.values() if fault.weaker} == set(GROSS)


def test_there_are_enough_fine_faults() -> None:
    assert len(FINE) >= 10
