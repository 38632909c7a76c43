"""The workflow that other repositories call, by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.workflows.conftest import Stage


def inputs(**given: str) -> list[str]:
    return [f"--input={name.replace('_', '-')}={value}" for name, value in given.items()]


def test_inputs_become_what_is_installed_and_how_it_is_run(stage: Stage) -> None:
    given = inputs(
        name="fine",
        peft=">=0.18",
        transformers="4.45.1",
        families="mine,llama",
        clauses="masks",
        time="5m",
        family_files="tests/mine.toml 'other one.toml'",
        known="none",
        extra_install=". torch==2.13.0",
    )
    done = stage.play("conformance.yml", "workflow_dispatch", *given)
    assert done.code == 0
    (installed,) = done.calls("uv")
    assert installed[:5] == ["pip", "install", "--system", "peft>=0.18", "transformers==4.45.1"]
    assert installed[5].startswith("peft-conformance[cli] @ file:///")
    assert installed[5].endswith("/.peft-conformance")
    assert installed[6:] == [".", "torch==2.13.0"]
    (run,) = done.runs()
    assert [argument for argument in run if not argument.startswith(("--workers=", "--report="))] == [
        *("--families=mine,llama", "--clauses=masks", "--profile=quick", "--time=5m", "--known=none"),
        *("--family-file=tests/mine.toml", "--family-file=other one.toml"),
    ]
    assert [path.name for path in done.artifact("events-fine").glob("*.jsonl")] == ["fine.events.jsonl"]
    assert done.calls("restore") == done.calls("save") == []


@pytest.mark.parametrize(("name", "code"), [("fine", "0"), ("red", "1"), ("cut", "137")])
def test_the_job_ends_as_the_run_did_and_leaves_its_events(stage: Stage, name: str, code: str) -> None:
    done = stage.play("conformance.yml", "workflow_dispatch", *inputs(name=name))
    assert (done.code == 0) == (code == "0")
    assert [line["arg"] for line in done.lines if line.get("name") == "exit-code"] == [code]
    assert (done.artifact(f"events-{name}") / f"{name}.events.jsonl").is_file()


def test_a_stack_and_a_version_contradict_each_other(stage: Stage) -> None:
    done = stage.play("conformance.yml", "workflow_dispatch", *inputs(stack="newest", peft="0.18.0"))
    assert done.code != 0
    assert done.calls("uv") == []
    assert done.runs() == []


def test_what_cannot_be_installed_is_not_judged(stage: Stage) -> None:
    done = stage.play("conformance.yml", "workflow_dispatch", *inputs(stack="lost"))
    assert done.code != 0
    assert done.calls("peft-conformance") == []
    assert "Nothing was judged" in done.summary("judge")
