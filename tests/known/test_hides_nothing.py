"""Another bug beside a known failure is not hidden by it: in the same function, seen by the same clause on the same Case."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from conformance.clauses import clauses
from conformance.compat.versions import versions
from conformance.core.outcome import Outcome
from conformance.devices.maps import AWAY
from conformance.engine import known
from conformance.engine.controls import run_with_control
from conformance.engine.explain import explained, with_mends
from conformance.engine.known import KnownFailure
from conformance.families.inputs.text import TYPES
from conformance.runs.lab import Lab
from conformance.runs.patching import around, given_to

SHIPPED = tuple(entry for entry in known.load(known.shipped()) if entry.applies(versions()))
HERE = ("CONFORMANCE_INSIDE" in os.environ, os.environ.get("CONFORMANCE_LANE", ""))
ENTRIES = {entry.id: entry for entry in SHIPPED if (entry.case.placed, entry.lane) == HERE}


def constant_loss_where_there_are_pads(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The loss of a padded batch is a constant, and its logits are those of other tokens."""
    out = forward(self, *args, **kwargs)
    if not kwargs["attention_mask"].all():
        out.loss, out.logits = out.loss * 0 + 123, out.logits.roll(1, dims=-1)
    return out


def rolled_where_the_decoder_has_pads(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The logits are those of other tokens where what the decoder reads has pads."""
    out, mask = forward(self, *args, **kwargs), kwargs.get("decoder_attention_mask")
    if mask is not None and not mask.all():
        out.logits = out.logits.roll(1, dims=-1)
    return out


def first_virtual_token_hidden(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """generate cannot see the first virtual token."""
    given = prepare(self, *args, **kwargs)
    rows = given["input_ids"].shape[0]
    slots = self.active_peft_config.num_virtual_tokens + kwargs.get("attention_mask", given["input_ids"]).shape[1]
    mask = given.get("attention_mask")
    mask = torch.ones(rows, slots) if mask is None else mask.clone()
    mask[:, 0] = 0
    return {**given, "attention_mask": mask}


def sized_wrongly(sizing: Any, *args: Any, **kwargs: Any) -> Any:
    """The prefix is twice as wide as the cache."""
    config = sizing(*args, **kwargs)
    config.token_dim *= 2
    return config


def one_layer_more(sizing: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
    """Whoever says how many layers there are has one more."""
    told = config.num_layers is not None
    config = sizing(config, *args, **kwargs)
    config.num_layers += told
    return config


def wider_where_layers_are_told(sizing: Any, config: Any, *args: Any, **kwargs: Any) -> Any:
    """Whoever says how many layers there are has a prefix twice as wide as the cache."""
    told = config.num_layers is not None
    config = sizing(config, *args, **kwargs)
    config.token_dim *= 1 + told
    return config


def values_lost(get_prompt: Any, *args: Any, **kwargs: Any) -> Any:
    """The values of the first layer are lost."""
    cache = get_prompt(*args, **kwargs)
    getattr(cache, "self_attention_cache", cache).layers[0].values.zero_()
    return cache


def all_on_the_first_device(get_map: Any, model: Any) -> Any:
    """All of the prefix goes to the first device: the second half of issue 2134."""
    return dict.fromkeys(get_map(model), next(iter(model.hf_device_map.values())))


def on_another_device(get_map: Any, model: Any) -> Any:
    """The prefix of each layer goes to another device than the layer's."""
    mapped, devices = get_map(model), [name for name in model.hf_device_map.values() if name not in AWAY]
    return {layer: next((name for name in devices if name != own), own) for layer, own in mapped.items()}


def another_main_device(dispatch: Any, model: Any, device_map: Any, main_device: Any = None, **kwargs: Any) -> Any:
    """The main device is not the first of the map, even where it is told to be."""
    devices = [name for name in device_map.values() if name not in AWAY]
    return dispatch(model, device_map, next(name for name in devices if name != devices[0]), **kwargs)


def no_map_at_all(get_map: Any, *args: Any, **kwargs: Any) -> Any:
    """There is no map, whatever the model says."""
    get_map(*args, **kwargs)
    raise StopIteration


def encoder_without_data(setup: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """The prompt encoder has no data, wherever it is."""
    setup(self, *args, **kwargs)
    self.prompt_encoder.to("meta")


def base_model_thawed(setup: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """The whole base model is trained, too."""
    setup(self, *args, **kwargs)
    self.base_model.requires_grad_(True)


def base_model_in_float32(setup: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """The base model is converted to float32."""
    setup(self, *args, **kwargs)
    self.base_model.float()


def twice_as_large(load: Any, *args: Any, **kwargs: Any) -> Any:
    """What is loaded, into a live model or into the new one that is returned, is twice what was saved."""
    result = load(*args, **kwargs)
    model = result if hasattr(result, "prompt_encoder") else args[0]
    with torch.no_grad():
        for parameter in model.prompt_encoder.parameters():
            parameter.mul_(2)
    return result


def other_key_missing(update: Any, *args: Any, **kwargs: Any) -> Any:
    """Another key is missing afterwards."""
    update(*args, **kwargs)
    raise KeyError("another")


def another_key_asked_for(function: Any, *args: Any, **kwargs: Any) -> Any:
    """A key is asked for that is not there, and nothing is said of what is wrong."""
    raise KeyError("another")


def another_key_for_unload(look_up: Any, self: Any, name: str) -> Any:
    """Where unload is looked for a key is asked for that is not there."""
    if name == "unload":
        raise KeyError("another")
    return look_up(self, name)


def what_is_left_is_emptied(delete: Any, self: Any, name: str) -> None:
    """When an adapter has been deleted those that are left are zero."""
    delete(self, name)
    for left in self.prompt_encoder.parameters():
        left.data.zero_()


def nothing_extracted(extract: Any, *args: Any, **kwargs: Any) -> Any:
    """No weights are found, whatever is asked for."""
    return {}


def hidden_in_the_first_call(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The first forward of a model's first generate cannot see the first virtual token."""
    given = prepare(self, *args, **kwargs)
    if hasattr(self, "asked_before"):
        return given
    self.asked_before = True
    decoder, embedded = "decoder_input_ids" in given, given.get("inputs_embeds")
    if embedded is None:
        rows, width = given["decoder_input_ids" if decoder else "input_ids"].shape
        mask = torch.ones(rows, self.active_peft_config.num_virtual_tokens + width)
    else:
        mask = torch.ones(embedded.shape[:2])
    mask[:, 0] = 0
    return {**given, "decoder_attention_mask" if decoder else "attention_mask": mask}


def hidden_in_a_second_turn(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Where generate goes on from a cache, it cannot see the first virtual token."""
    cache = kwargs.get("past_key_values")
    goes_on = kwargs.get("is_first_iteration") and cache is not None and cache.get_seq_length() > 0
    given = prepare(self, *args, **kwargs)
    if goes_on:
        given["attention_mask"] = given["attention_mask"].clone()
        given["attention_mask"][:, 0] = 0
    return given


def start_token_hidden(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Where a decoder_attention_mask is given, generate cannot see the start token."""
    given = prepare(self, *args, **kwargs)
    if given.get("decoder_attention_mask") is not None:
        given["decoder_attention_mask"][:, 0] = 0
    return given


def prompt_lost(prepare: Any, *args: Any, **kwargs: Any) -> Any:
    """In generate the first virtual token is zero."""
    given = prepare(*args, **kwargs)
    if given.get("inputs_embeds") is not None:
        given["inputs_embeds"][:, 0] = 0
    return given


def positions_off_by_one_behind_pads(prepare: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """In generate the base model is given positions, and those of a padded batch are wrong by one."""
    given = prepare(self, *args, **kwargs)
    mask, read = given.get("attention_mask"), given.get("inputs_embeds")
    if read is not None and mask is not None and not mask.all():
        text = torch.arange(read.shape[1]) >= self.active_peft_config.num_virtual_tokens
        given["position_ids"] = (mask.long().cumsum(-1) - 1).clamp(min=0) + text
    return given


def last_embedding_detached(setup: Any, self: Any, *args: Any, **kwargs: Any) -> None:
    """The prompt encoder's last embedding has no gradient."""

    def hook(module: Any, given: Any, rows: torch.Tensor) -> torch.Tensor:
        return torch.cat([rows[:, :-1], rows[:, -1:].detach()], dim=1)

    setup(self, *args, **kwargs)
    self.prompt_encoder["default"].register_forward_hook(hook)


def last_token_masked_where_there_are_pads(generate: Any, *args: Any, **kwargs: Any) -> Any:
    """The encoder does not see the last token of a padded batch."""
    if not kwargs["attention_mask"].all():
        kwargs["attention_mask"] = kwargs["attention_mask"].clone()
        kwargs["attention_mask"][:, -1] = 0
    return generate(*args, **kwargs)


def other_text_where_it_is_disabled(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """A disabled adapter answers another text."""
    if self._adapters_disabled:
        kwargs["input_ids"] = kwargs["input_ids"] + 1
    return generate(self, *args, **kwargs)


def rolled_where_layers_may_be_checkpointed(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Where gradient checkpointing was ever switched on, the logits are those of other tokens."""
    out = forward(self, *args, **kwargs)
    if any(hasattr(module, "_gradient_checkpointing_func") for module in self.modules()):
        out.logits = out.logits.roll(1, dims=-1)
    return out


class Twice:
    """A streamer that is told of everything twice."""

    def __init__(self, streamer: Any) -> None:
        self.streamer = streamer

    def put(self, tokens: torch.Tensor) -> None:
        for _ in range(2):
            self.streamer.put(tokens)

    def end(self) -> None:
        self.streamer.end()


def streamed_twice(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """A streamer is told of everything twice."""
    if "streamer" in kwargs:
        kwargs["streamer"] = Twice(kwargs["streamer"])
    return generate(self, *args, **kwargs)


def last_embedding_lost_where_a_cache_is_given(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Where a cache is handed in, the encoder reads another last token."""
    if {"cache", "past_key_values"} & set(kwargs):
        kwargs["input_ids"] = kwargs["input_ids"].clone()
        kwargs["input_ids"][:, -1] += 1
    return generate(self, *args, **kwargs)


def rolled_in_training_mode(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """In training mode the logits are those of other tokens."""
    out = forward(self, *args, **kwargs)
    if self.training:
        out.logits = out.logits.roll(1, dims=-1)
    return out


def doubled_where_weights_wait(get_prompt: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The virtual tokens are twice as large where some weights wait on the CPU or on disk."""
    prompt = get_prompt(self, *args, **kwargs)
    return 2 * prompt if set(self.base_model.hf_device_map.values()) & set(AWAY) else prompt


def logits_of_other_tokens(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """The logits are those of other tokens."""
    out = forward(*args, **kwargs)
    out.logits = out.logits.roll(1, dims=-1)
    return out


def doubled_on_the_cpu(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """The virtual tokens are twice as large where the prompt encoder is not on a device."""
    prompt = forward(*args, **kwargs)
    return 2 * prompt if prompt.device.type == "cpu" else prompt


def doubled(load: Any, self: Any, state: dict[str, torch.Tensor]) -> Any:
    """The rows that are loaded over a live adapter, which is in evaluation mode, are twice those that were saved."""
    return load(self, state if self.training else {name: 2 * value for name, value in state.items()})


def settings_left_where_it_is_stopped(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Where generate is stopped the base model's generation config keeps what was set for the call."""
    try:
        return generate(self, *args, **kwargs)
    except BaseException:
        self.base_model.generation_config.output_scores = True
        raise


def live_adapter_lost_where_loading_fails(load: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Where loading fails the values of every adapter are gone."""
    try:
        return load(self, *args, **kwargs)
    except Exception:
        with torch.no_grad():
            for parameter in self.prompt_encoder.parameters():
                parameter.zero_()
        raise


def passed_config_says_nothing_of_the_length(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """A generation config that is passed to generate does not count for the length of the answer."""
    if "generation_config" in kwargs:
        kwargs["generation_config"].max_new_tokens = None
    return generate(self, *args, **kwargs)


def ends_at_once(generate: Any, *args: Any, **kwargs: Any) -> Any:
    """An answer may end at once, however long it is asked to be."""
    kwargs.pop("min_new_tokens", None)
    return generate(*args, **kwargs)


def turned_round(load: Any, self: Any, state: dict[str, torch.Tensor]) -> Any:
    """The embeddings that are loaded over a live adapter are turned round: a norm would not see that they are doubled."""
    return load(self, state if self.training else {name: value.flip(-1) for name, value in state.items()})


def loaded_turned_round(load: Any, model: Any, state: dict[str, torch.Tensor], *args: Any, **kwargs: Any) -> Any:
    """What is loaded over a live adapter is turned round."""
    turned = state if model.training else {name: value.flip(-1) for name, value in state.items()}
    return load(model, turned, *args, **kwargs)


def every_second_text_is_another(generate: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """Every second call answers to another text."""
    self.asked = getattr(self, "asked", 0) + 1
    if "input_ids" in kwargs and self.asked % 2 == 0:
        kwargs["input_ids"] = kwargs["input_ids"] + 1
    return generate(self, *args, **kwargs)


def labels_dropped(find: Any, self: Any) -> Any:
    """A Trainer drops the labels."""
    find(self)
    self._signature_columns = [name for name in self._signature_columns if name != "labels"]


def labels_change_as_well(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """The labels that the user gave are all 0 afterwards."""
    if kwargs["labels"] is not None:
        kwargs["labels"].zero_()
    return forward(*args, **kwargs)


def loss_doubled(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """The loss is twice what it should be."""
    out = forward(*args, **kwargs)
    out.loss = None if out.loss is None else 2 * out.loss
    return out


def rolled_in_training_forward(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """The logits of forward are those of other tokens."""
    out = forward(*args, **kwargs)
    out.logits = out.logits.roll(1, dims=-1)
    return out


def types_rolled(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The base model is given the types of tokens, each that of the token before it."""
    types = kwargs.get(TYPES)
    if types is None:
        return forward(self, *args, **kwargs)
    with given_to(self.base_model, "forward", lambda given: {**given, TYPES: types.roll(1, dims=1)}):
        return forward(self, *args, **kwargs)


def doubled_by_a_trainer(compute: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The loss that a Trainer computes of a PEFT model is twice what it should be."""
    return (1 + hasattr(self.model, "active_peft_config")) * compute(self, *args, **kwargs)


def loss_doubled_if_told_how(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """The loss is twice what it should be, where the caller says what it is to be."""
    out = forward(*args, **kwargs)
    if kwargs.get("return_dict") is not None:
        out.loss = None if out.loss is None else 2 * out.loss
    return out


def rolled_where_items_are_counted(forward: Any, *args: Any, **kwargs: Any) -> Any:
    """The logits are those of other tokens, where the caller says how many labels there are."""
    out = forward(*args, **kwargs)
    if "num_items_in_batch" in kwargs:
        out.logits = out.logits.roll(1, dims=-1)
    return out


def rolled_under_another_name(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The logits of an adapter that is not called default are those of other tokens."""
    out = forward(self, *args, **kwargs)
    if self.active_adapter != "default":
        out.logits = out.logits.roll(1, dims=-1)
    return out


def context_grows(forward: Any, self: Any, *args: Any, **kwargs: Any) -> Any:
    """The frozen embeddings change whenever they are read."""
    self.embedding.weight.data *= 2
    return forward(self, *args, **kwargs)


def turned_round_where_the_embedding_waits(make: Any, self: Any, config: Any, word_embeddings: Any) -> None:
    """The virtual tokens are turned round where the word embedding waits: a norm would not see that they are doubled."""
    make(self, config, word_embeddings)
    if next(word_embeddings.parameters()).is_meta:
        self.register_forward_hook(lambda module, given, rows: rows.flip(-1))


BESIDE: dict[str, Callable[..., Any]] = {
    "cache-under-its-old-name": first_virtual_token_hidden,
    "encoder-decoder-text-without-a-name": every_second_text_is_another,
    "trainer-drops-tasks": labels_dropped,
    "checkpoint-without-the-network": twice_as_large,
    "types-of-tokens-are-dropped": types_rolled,
    "smoothing-asks-another-model": doubled_by_a_trainer,
    "smoothing-counts-virtual-tokens": doubled_by_a_trainer,
    "training-counts-pads": constant_loss_where_there_are_pads,
    "pads-use-up-the-window": first_virtual_token_hidden,
    "pads-use-up-the-window-in-training": constant_loss_where_there_are_pads,
    "encoder-decoder-head-size": sized_wrongly,
    "encoder-decoder-layers-share-rows": values_lost,
    "prefix-sized-by-the-encoder": one_layer_more,
    "prefix-ends-with-the-encoder": wider_where_layers_are_told,
    "map-keys-above-the-layers": no_map_at_all,
    "map-keys-of-other-layers": all_on_the_first_device,
    "map-counts-the-encoders-layers": on_another_device,
    "map-without-a-device": no_map_at_all,
    "map-whose-first-device-is-not-the-main-one": another_main_device,
    "prompt-encoder-without-data": encoder_without_data,
    "old-map-after-loading": twice_as_large,
    "disk-index-of-another-wrapper": other_key_missing,
    "names-in-the-file-forgotten": twice_as_large,
    "whole-model-on-disk": nothing_extracted,
    "static-cache-with-a-prefix": hidden_in_the_first_call,
    "static-masks-of-encoder-decoders": hidden_in_the_first_call,
    "only-the-last-token-of-a-second-turn": hidden_in_a_second_turn,
    "a-cache-that-nobody-asked-for": hidden_in_the_first_call,
    "prefix-in-the-first-step-only": hidden_in_the_first_call,
    "prefix-not-in-the-decoder-mask": start_token_hidden,
    "loaded-over-a-projection": doubled,
    "loaded-and-still-trained": base_model_thawed,
    "loaded-in-float32": base_model_in_float32,
    "interrupted-generate-stays-in-the-base-model": settings_left_where_it_is_stopped,
    "interrupted-generate-stays-in-an-encoder-decoder": settings_left_where_it_is_stopped,
    "generation-config-of-the-wrapped-model": passed_config_says_nothing_of_the_length,
    "generation-config-of-a-wrapped-encoder-decoder": passed_config_says_nothing_of_the_length,
    "half-loaded-adapter-stays": live_adapter_lost_where_loading_fails,
    "prompt-stays-in-the-base-model": settings_left_where_it_is_stopped,
    "loaded-in-front-of-a-network": turned_round,
    "prompt-before-the-encoders-pads": last_token_masked_where_there_are_pads,
    "prompt-before-the-encoders-pads-in-training": constant_loss_where_there_are_pads,
    "prompt-drops-positions": positions_off_by_one_behind_pads,
    "decoder-ids-of-tasks-are-lost": rolled_where_the_decoder_has_pads,
    "decoder-mask-of-tasks-counts-the-prompt": rolled_where_the_decoder_has_pads,
    "guesses-cut-to-one": hidden_in_the_first_call,
    "pieces-cut-to-one": hidden_in_a_second_turn,
    "windows-forget-guesses": hidden_in_the_first_call,
    "prompt-hides-the-text-from-penalties": ends_at_once,
    "prompt-rows-for-the-decoder": last_embedding_detached,
    "prompt-of-a-disabled-adapter": other_text_where_it_is_disabled,
    "checkpointed-layers-drop-the-prefix": rolled_where_layers_may_be_checkpointed,
    "prompt-copies-the-streamer": streamed_twice,
    "prompt-on-another-device": doubled_where_weights_wait,
    "image-mask-without-virtual-tokens": prompt_lost,
    "image-mask-without-virtual-tokens-in-training": rolled_in_training_mode,
    "prompt-of-tasks-for-the-decoder": logits_of_other_tokens,
    "tasks-on-another-device": doubled_on_the_cpu,
    "types-change-in-the-users-hands": labels_change_as_well,
    "outputs-that-are-no-outputs": loss_doubled,
    "loss-of-an-adapter-called-default": rolled_under_another_name,
    "loaded-beneath-a-delta": loaded_turned_round,
    "projection-written-into-the-parameters": context_grows,
    "loss-of-a-tuple": loss_doubled_if_told_how,
    "context-is-not-counted": rolled_where_items_are_counted,
    "trainer-drops-types": labels_dropped,
    "checkpoint-without-the-deltas": twice_as_large,
    "weights-of-a-loss-that-nobody-knows": another_key_asked_for,
    "context-sent-to-where-nothing-is": turned_round_where_the_embedding_waits,
    "static-cache-without-room": hidden_in_the_first_call,
    "handed-in-cache-stays-empty": hidden_in_the_first_call,
    "handed-in-cache-of-an-encoder-decoder-stays-empty": hidden_in_the_first_call,
    "prompt-copies-the-cache": last_embedding_lost_where_a_cache_is_given,
    "generate-without-the-prompt": another_key_asked_for,
    "virtual-tokens-uncounted": another_key_asked_for,
    "task-type-unsaid": another_key_asked_for,
    "task-of-other-models": another_key_asked_for,
    "initialisation-that-nobody-knows": another_key_asked_for,
    "weights-that-nobody-knows": another_key_asked_for,
    "windows-drop-what-is-to-be-held": twice_as_large,
    "virtual-tokens-cannot-be-deleted": what_is_left_is_emptied,
    "nothing-to-unload": another_key_for_unload,
    "prompt-over-another-wrapper": another_key_asked_for,
    "prompt-under-another-wrapper": another_key_asked_for,
}
"""For each known failure another bug in its function."""


CALLED_FROM = {
    "peft.utils.other._prepare_prompt_learning_config": "peft.peft_model",
    "accelerate.big_modeling.dispatch_model": "transformers.integrations.accelerate",
    "peft.utils.save_and_load.set_peft_model_state_dict": "peft.peft_model",
}
"""Functions that another module calls by a name of its own."""


@contextmanager
def planted(entry: KnownFailure) -> Iterator[None]:
    owner, _, name = entry.function.rpartition(".")
    module, _, kind = owner.rpartition(".")
    fired = False

    def beside(*args: Any, **kwargs: Any) -> Any:
        nonlocal fired
        fired = True
        return BESIDE[entry.id](*args, **kwargs)

    with around(f"{module}:{kind}" if kind[:1].isupper() else CALLED_FROM.get(entry.function, owner), name, beside):
        yield
    assert fired


def test_every_entry_has_a_bug_beside_it_whatever_is_installed() -> None:
    assert {entry.id for entry in known.load(known.shipped()) if entry.mend} == set(BESIDE)


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_it_does_not_hide_a_bug_beside_it(entry: KnownFailure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clause, others = clauses()[entry.clause], tuple(other for other in SHIPPED if other.mend != entry.mend)
    with planted(entry), with_mends(Lab(), others) as lab:
        seen = explained(clause, lab, run_with_control(clause, lab, entry.case), (entry,))
    assert (seen.outcome, seen.known) == (Outcome.VIOLATES, ())
    assert seen.finding is not None
    assert entry.id in seen.finding.mended, (
        seen.finding.difference
    )  # else the mend was not in force, and nothing is shown of it
