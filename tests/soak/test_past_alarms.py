"""Every Case that once raised a false alarm, held again against the clause that did."""

from __future__ import annotations

import pytest

from conformance.clauses.registry import clause_named
from conformance.core.case import from_json
from conformance.core.outcome import Outcome
from conformance.engine.controls import run
from conformance.engine.explain import with_mends
from conformance.engine.known import load, shipped
from conformance.runs.lab import Lab
from conformance.session.judge import run_case
from conformance.soak.spread import Processes
from conformance.soak.work import Work

PAST = {
    "one layer's window keeps the only step from reaching the prefix": (
        "injection.current",
        '{"family":"gemma3","new_tokens":1,"roles":{"activation":"gelu_pytorch_tanh","head_dim":4,"sliding":[true],'
        '"width":4,"window":3},"rows":[{"length":3}]}',
    ),
    "the windows of two layers keep every step from reaching the prefix": (
        "injection.current",
        '{"attention":"eager","family":"gemma3","new_tokens":6,"prefix":{"length":6,"seed":1},"roles":{"activation":'
        '"gelu_pytorch_tanh","heads":3,"layers":2,"positions":32,"sliding":[true,true,false],"tied":true,"width":24,'
        '"window":3},"rows":[{"length":6,"seed":9}],"seed":8}',
    ),
    "the last hidden state is packed on its way to the head": (
        "placement.automatic",
        '{"family":"llama","new_tokens":1,"placement":{"memory":[60,60,60],"way":"auto"},"prefix":{"length":2},"roles":'
        '{"activation":"silu","heads":3,"layers":3,"rope":"default","tied":true,"width":18},"rows":[{"length":2}],"seed":3}',
    ),
    "each layer needs a mask where the base model needs none": (
        "placement.cache_follows_layer",
        '{"family":"gemma3","new_tokens":3,"placement":{"layers":[1,2],"order":"reversed","others":[2,0],"spelling":'
        '"device","way":"pretrained"},"prefix":{"length":2,"projection":4},"roles":{"activation":"gelu_pytorch_tanh",'
        '"head_dim":4,"layers":3,"sliding":[true,false],"tied":true,"width":4,"window":5},"rows":[{"length":3},{"length":3}]}',
    ),
    "a map that is made by itself leaves everything on the CPU, where a file's weights lie otherwise": (
        "placement.automatic",
        '{"family":"llama","placement":{"memory":[60],"way":"balanced"},"prefix":{"seed":9},"roles":{"activation":"silu",'
        '"layers":2,"rope":"default"},"rows":[{"seed":3}],"seed":9}',
    ),
    "a gradient that is rounding noise by the manual forward, and exactly 0 by the wrapper": (
        "precision.autocast",
        '{"autocast":true,"family":"gemma3","method":"MULTITASK_PROMPT_TUNING","new_tokens":3,"prefix":{"seed":2},"roles":'
        '{"activation":"gelu_pytorch_tanh","ffn":12,"positions":32,"sliding":[true],"tied":true,"width":6,"window":6},"rows":'
        '[{"seed":7}],"seed":6}',
    ),
    "a step of training where all of a context is outputs, which nothing trains": (
        "sessions.story",
        '{"family":"llama","method":"CPT","new_tokens":2,"prefix":{"context":"examples","seed":3},"roles":{"activation":"silu",'
        '"rope":"default"},"seed":1,"story":[{"do":"save"},{"do":"resume"},{"do":"train"},{}]}',
    ),
}
SILENT = {"injection.current"}
"""Clauses of which the Cases above show nothing, and now say so."""


def test_none_of_them_is_an_alarm_any_more() -> None:
    works = {name: work_of(*PAST[name]) for name in PAST}
    with Processes(1) as processes:
        found = {work.case: tally.counts[0].words for work, tally in processes.each(list(works.values()))}
    assert {name: found[work.case] for name, work in works.items()} == {
        name: {"not applicable" if clause in SILENT else "conforms": 1} for name, (clause, _) in PAST.items()
    }


def work_of(clause: str, text: str) -> Work:
    case, placed = from_json(text), clause_named(clause).placed
    return Work(
        subject="reference", family=case.family, clauses=(clause,), placed=placed, method=case.method, case=case
    )


@pytest.mark.parametrize("name", [name for name, (clause, _) in PAST.items() if clause not in SILENT])
def test_peft_is_not_blamed_either(name: str) -> None:
    clause, text = PAST[name]
    example = run_case(clause_named(clause), from_json(text), confirmed=True)
    assert not isinstance(example, str)
    assert example.outcome is Outcome.CONFORMS or example.known, example


def test_neither_is_mended_peft_where_saving_projects_a_context() -> None:
    case = from_json(
        '{"family":"gpt2","method":"CPT","new_tokens":2,"prefix":{"context":"examples","length":5,"radii":"narrow","seed":5},'
        '"roles":{"activation":"relu","positions":32},"seed":7,"story":[{"do":"save"}]}'
    )
    with with_mends(Lab("peft"), load(shipped())) as mended:
        example = run(clause_named("sessions.story"), mended, case)
    assert example.outcome is Outcome.CONFORMS, example
