"""All mends in force at once do not get in each other's way: Cases in which one once did."""

from __future__ import annotations

import os

import pytest

from conformance.clauses import clauses
from conformance.compat.versions import versions
from conformance.core.case import from_json
from conformance.core.outcome import Outcome
from conformance.engine import known
from conformance.engine.controls import run_with_control
from conformance.engine.explain import with_mends
from conformance.runs.lab import Lab

SHIPPED = tuple(entry for entry in known.load(known.shipped()) if entry.applies(versions()))
CASES = {
    "the first device of the map stays first": (
        "placement.cache_follows_layer",
        '{"family":"qwen2","new_tokens":3,"placement":{"layers":["disk",1],"others":["cpu",0],"spelling":"number","way":"pretrained"}'
        ',"prefix":{"length":5,"seed":1},"roles":{"activation":"silu","ffn":12,"head_dim":4,"heads":2,"kv_heads":2,"layers":3'
        ',"rope":"default"},"rows":[{"length":2,"seed":1},{"length":2}],"seed":7}',
    ),
    "the main device is named where a model is placed anew": (
        "placement.spelling",
        '{"family":"bloom","new_tokens":1,"placement":{"adapter":"loaded","layers":[1,"disk"],"way":"pretrained"}'
        ',"roles":{"head_dim":4,"layers":2,"width":4}}',
    ),
    "what a prefix is dealt out by does not bypass where a prompt goes": (
        "placement.offloaded",
        '{"family":"t5","method":"PROMPT_TUNING","new_tokens":3,"placement":{"adapter":"loaded","order":"reversed"'
        ',"others":["cpu"],"spelling":"device","way":"pretrained"},"roles":{"activation":"gated-gelu","encoder_layers":2,"layers":2'
        ',"tied":true},"rows":[{"seed":8},{"length":2,"seed":2}],"seed":5}',
    ),
}

OF_ANOTHER_METHOD = {
    "a prompt is as wide as the model": (
        "training.mode_free",
        '{"family":"llama","method":"PROMPT_TUNING","mode":"train","new_tokens":2'
        ',"roles":{"activation":"silu","head_dim":4,"heads":2,"kv_heads":1,"rope":"default","width":12}}',
    ),
    "that of an encoder-decoder too": (
        "equivalence.step_logits",
        '{"family":"t5","method":"PROMPT_TUNING","new_tokens":2'
        ',"roles":{"activation":"relu","encoder_layers":1,"head_dim":4,"width":6},"rows":[{},{"length":2}]}',
    ),
    "source tasks have as many embeddings as their prompts are mended to have": (
        "lifecycle.initialised_as_told",
        '{"family":"t5","method":"MULTITASK_PROMPT_TUNING","prefix":{"begins":"exact_task"},"roles":{"activation":"relu"'
        ',"encoder_layers":1,"head_dim":4,"tied":true,"width":4}}',
    ),
}


PIECES = {
    "behind a prefix": (
        "caches.chunked_prefill",
        '{"decoding":"chunked","family":"gemma3","new_tokens":3,"prefix":{"length":4,"seed":2},"roles":{"activation":'
        '"gelu_pytorch_tanh","layers":4,"positions":32,"sliding":[true,false],"tied":true,"width":4,"window":4},"rows":'
        '[{"length":5,"seed":5},{"length":3,"seed":4}],"seed":7}',
    ),
    "behind a prompt": (
        "caches.chunked_prefill",
        '{"decoding":"chunked","family":"gemma3","method":"PROMPT_TUNING","new_tokens":3,"prefix":{"length":4,"seed":6},"roles":'
        '{"activation":"silu","heads":4,"kv_heads":2,"layers":4,"sliding":[false,true],"tied":true,"width":16,"window":5},'
        '"rows":[{"seed":2},{"length":4,"seed":1}],"seed":4}',
    ),
}


def conforms_with_all_mends(clause: str, text: str) -> None:
    with with_mends(Lab(), SHIPPED) as lab:
        example = run_with_control(clauses()[clause], lab, from_json(text, "the test"))
    assert example.outcome is Outcome.CONFORMS, example.reason or example.finding


@pytest.mark.parametrize(("clause", "text"), OF_ANOTHER_METHOD.values(), ids=OF_ANOTHER_METHOD)
def test_the_mends_of_a_prefix_leave_a_prompt_alone(clause: str, text: str) -> None:
    conforms_with_all_mends(clause, text)


@pytest.mark.parametrize(("clause", "text"), PIECES.values(), ids=PIECES)
def test_a_window_is_masked_for_all_the_tokens_that_are_read(clause: str, text: str) -> None:
    conforms_with_all_mends(clause, text)


@pytest.mark.skipif(
    "CONFORMANCE_INSIDE" not in os.environ or bool(os.environ.get("CONFORMANCE_LANE")),
    reason="placed models are looked at in a child, on simulated devices",
)
@pytest.mark.parametrize(("clause", "text"), CASES.values(), ids=CASES)
def test_the_case_conforms_with_all_mends_in_force(clause: str, text: str) -> None:
    conforms_with_all_mends(clause, text)
