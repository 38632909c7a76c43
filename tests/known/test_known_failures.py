"""Each shipped known failure still fails, and the reason it gives is right: a patch of the named function turns it green.

Those of placed models are proven in `inside/`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from conformance.clauses import clauses
from conformance.compat import caches
from conformance.compat.versions import versions
from conformance.core.outcome import Outcome
from conformance.engine import known
from conformance.engine.controls import confirm, run_with_control
from conformance.engine.known import KnownFailure
from conformance.methods.prefix_tuning import PREFIX_TUNING, PrefixTuning
from conformance.methods.reference.cache import ReferencePrefix
from conformance.runs.lab import Lab

SIZING = "_prepare_prompt_learning_config"
SHIPPED = {entry.id: entry for entry in known.load(known.shipped()) if not entry.case.placed}
ENTRIES = {id: entry for id, entry in SHIPPED.items() if entry.applies(versions())}


@contextmanager
def cache_under_its_old_name(entry: KnownFailure) -> Iterator[None]:
    """What generate gives and takes as `cache` is `past_key_values` for PEFT, and only for it."""
    from peft import PeftModelForCausalLM

    prepare: Any = PeftModelForCausalLM.prepare_inputs_for_generation

    @wraps(prepare)
    def mended(self: Any, *args: Any, **kwargs: Any) -> Any:
        inner = self.base_model_prepare_inputs_for_generation

        def old(*args: Any, **kwargs: Any) -> Any:
            arguments = inner(*args, **kwargs)
            return {caches.OLD if name == caches.NEW else name: value for name, value in arguments.items()}

        with mock.patch.object(self, "base_model_prepare_inputs_for_generation", old):
            arguments = prepare(self, *args, **kwargs)
        return {caches.NEW if name == caches.OLD else name: value for name, value in arguments.items()}

    with mock.patch.object(PeftModelForCausalLM, "prepare_inputs_for_generation", mended):
        yield


@contextmanager
def training_counts_pads(entry: KnownFailure) -> Iterator[None]:
    """forward gives the text the positions that generate gives it."""
    from peft import PeftModelForCausalLM

    forward: Any = PeftModelForCausalLM.forward

    @wraps(forward)
    def mended(self: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("attention_mask") is not None and kwargs.get("position_ids") is None:
            kwargs["position_ids"] = (kwargs["attention_mask"].long().cumsum(-1) - 1).clamp(min=0)
        return forward(self, *args, **kwargs)

    with mock.patch.object(PeftModelForCausalLM, "forward", mended):
        yield


@contextmanager
def pads_use_up_the_window(entry: KnownFailure) -> Iterator[None]:
    """The window is counted in positions, which skip pads, rather than in slots of the cache."""
    from peft import PeftModelForCausalLM

    prepare: Any = PeftModelForCausalLM.prepare_inputs_for_generation
    wrapper = SimpleNamespace(sliding=True, shape_of=entry.case, base=SimpleNamespace(config=SimpleNamespace()))

    @wraps(prepare)
    def mended(self: Any, *args: Any, **kwargs: Any) -> Any:
        arguments = prepare(self, *args, **kwargs)
        mask = arguments["attention_mask"].long()
        arguments["attention_mask"] = ReferencePrefix.attention(wrapper, mask, arguments["input_ids"].shape[1])  # type: ignore[arg-type]
        return arguments

    with mock.patch.object(PeftModelForCausalLM, "prepare_inputs_for_generation", mended):
        yield


@contextmanager
def encoder_decoder_head_size(entry: KnownFailure) -> Iterator[None]:
    """The width of the prefix is the number of heads times their own size."""
    from peft import peft_model

    original: Any = vars(peft_model)[SIZING]

    def mended(peft_config: Any, model_config: Any) -> Any:
        fields = model_config if isinstance(model_config, dict) else model_config.to_dict()
        peft_config.token_dim = fields["num_heads"] * fields["d_kv"]
        return original(peft_config, model_config)

    with mock.patch.object(peft_model, SIZING, mended):
        yield


@contextmanager
def rows_of_their_own(entry: KnownFailure) -> Iterator[None]:
    """Each decoder layer reads two rows of its own, and there are rows for the decoder's layers only."""
    from peft import PeftModelForSeq2SeqLM, peft_model

    original: Any = vars(peft_model)[SIZING]

    def sized(peft_config: Any, model_config: Any) -> Any:
        fields = model_config if isinstance(model_config, dict) else model_config.to_dict()
        peft_config.num_layers = fields["num_decoder_layers"]
        return original(peft_config, model_config)

    def get_prompt(self: Any, batch_size: int, **_: Any) -> Any:
        raw = dict(self.prompt_encoder[self.active_adapter].named_parameters())
        flat = PREFIX_TUNING.rows(raw)
        filled = PREFIX_TUNING.injected(flat, entry.case, PREFIX_TUNING.layout(entry.case)).cache
        rows = [(keys.expand(batch_size, -1, -1, -1), values.expand(batch_size, -1, -1, -1)) for keys, values in filled]
        return caches.filled_cache(self.base_model, rows)

    with (
        mock.patch.object(peft_model, SIZING, sized),
        mock.patch.object(PeftModelForSeq2SeqLM, "get_prompt", get_prompt),
        mock.patch.object(PrefixTuning, "peft_layout", lambda method, case, family: method.layout(case)),
    ):
        yield


MENDED: dict[str, Callable[[KnownFailure], AbstractContextManager[None]]] = {
    "cache-under-its-old-name": cache_under_its_old_name,
    "training-counts-pads": training_counts_pads,
    "pads-use-up-the-window": pads_use_up_the_window,
    "encoder-decoder-head-size": encoder_decoder_head_size,
    "encoder-decoder-layers-share-rows": rows_of_their_own,
    "prefix-sized-by-the-encoder": rows_of_their_own,
}


def test_every_entry_has_its_proof_whatever_is_installed() -> None:
    assert set(SHIPPED) == set(MENDED)
    assert ENTRIES


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_it_still_fails_and_is_matched_by_its_entry_and_by_no_other(entry: KnownFailure) -> None:
    lab, clause = Lab(), clauses()[entry.clause]
    example = confirm(clause, lab, run_with_control(clause, lab, entry.case))
    assert example.outcome is Outcome.VIOLATES
    assert example.finding is not None
    assert [other.id for other in ENTRIES.values() if other.matches(example.finding)] == [entry.id]


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=ENTRIES)
def test_mending_the_named_function_turns_its_case_green(entry: KnownFailure) -> None:
    with MENDED[entry.id](entry):
        example = run_with_control(clauses()[entry.clause], Lab(), entry.case)
    assert example.outcome is Outcome.CONFORMS, example.reason or example.finding
