"""The scripts of the workflows, alone; `nox -s workflows` plays them in their places."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from conformance.core.options import Option, option_named, taken_by
from conformance.engine.search import PROFILES

pytestmark = pytest.mark.light

ROOT = Path(__file__).parents[2]
OF_THE_WORKFLOW = {
    "stack",
    "extra-install",
    "python-version",
    "remember",
    "report-only",
    "allow-partial",
    "name",
    "timeout",
}
"""Inputs that are no options of a run."""


def script(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"workflow_{name}", ROOT / ".github" / "scripts" / f"{name}.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


judge, planning, issues, nightly = (script(name) for name in ("judge", "plan", "issue", "night"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "peft"),
        ("0.13.2", "peft==0.13.2"),
        (">=0.18,<1", "peft>=0.18,<1"),
        ("==0.18.*", "peft==0.18.*"),
        ("main", "peft @ git+https://github.com/huggingface/peft"),
        ("git+https://github.com/me/peft@mine", "peft @ git+https://github.com/me/peft@mine"),
    ],
)
def test_a_version_is_read_as_pip_would_want_it(text: str, expected: str) -> None:
    assert judge.requirement("peft", text) == expected


def test_empty_inputs_were_not_given() -> None:
    assert judge.asked({"ASKED_EXTRA_INSTALL": ".", "ASKED_PEFT": " ", "PATH": "/bin"}) == {"extra-install": "."}


def test_nothing_given_is_the_newest_pair() -> None:
    assert judge.packages({})[:2] == ["peft", "transformers"]


def test_a_stack_is_installed_by_its_group() -> None:
    group, where, suite = judge.packages({"stack": "newest"})
    assert (group, where) == ("--group", f"{ROOT / 'pyproject.toml'}:stack-newest")
    assert suite == f"peft-conformance[cli] @ {ROOT.as_uri()}"


def test_a_stack_and_a_version_contradict_each_other() -> None:
    with pytest.raises(judge.WrongUse, match="either stack or transformers"):
        judge.packages({"stack": "newest", "transformers": "5.0"})


def test_what_is_not_given_is_left_to_the_run() -> None:
    assert judge.options({}, Path("x.events.jsonl")) == ["--report=x.events.jsonl"]
    assert option_named("workers").default == "auto"


def test_earlier_violations_are_kept_beside_the_run_that_shall_remember_them() -> None:
    report = Path("x.events.jsonl")
    assert "--database=local" in judge.options({"remember": "true"}, report)
    assert judge.options({"remember": "false"}, report) == judge.options({}, report)


def test_a_value_is_one_argument_whatever_is_in_it(tmp_path: Path) -> None:
    given = {"families": "llama; rm -rf / --known none", "seed": "--help"}
    assert judge.options(given, tmp_path)[:2] == ["--families=llama; rm -rf / --known none", "--seed=--help"]


def test_every_input_of_the_workflow_reaches_the_script() -> None:
    text = (ROOT / ".github" / "workflows" / "conformance.yml").read_text("utf-8")
    called, by_hand = text.partition("workflow_dispatch:")[::2]
    for inputs in (called, by_hand.partition("permissions:")[0]):
        names = {line.strip(" :") for line in inputs.splitlines() if line.startswith("      ") and line[6:7].isalpha()}
        for name in names - {"exit-code", "python-version", "timeout"}:
            assert f"ASKED_{name.upper().replace('-', '_')}: ${{{{ inputs.{name} }}}}" in text
        assert names - {"exit-code"} == {*map(judge.input_of, taken_by("workflow")), *judge.JUDGED, *OF_THE_WORKFLOW}
    assert by_hand.count(f"options: [{', '.join(PROFILES)}]") == 1


@pytest.mark.parametrize("option", taken_by("workflow"), ids=lambda option: option.name)
def test_every_option_of_the_workflow_reaches_the_run(option: Option) -> None:
    name = judge.input_of(option)
    inputs = judge.asked({f"ASKED_{name.upper().replace('-', '_')}": "one"})
    assert f"--{option.name}=one" in judge.options(inputs, Path("x"))


def test_the_script_needs_nothing_but_python(tmp_path: Path) -> None:
    command = [sys.executable, "-I", "-S", str(ROOT / ".github" / "scripts" / "judge.py"), "summary"]
    subprocess.run(command, env={"EVENTS": str(tmp_path)}, check=True, cwd=tmp_path, capture_output=True)


def test_all_that_nox_lists_is_planned_with_its_python() -> None:
    listed = [
        {"session": "stack(main)", "python": None, "tags": ["current", "recent"]},
        {"session": "stack-3.10(peft-0.10.0-transformers-4.38.2)", "python": "3.10"},
        {"session": "conform", "python": None},
    ]
    assert planning.plan(json.dumps(listed)) == [
        {"stack": "main", "python": "3.11", "settled": False},
        {"stack": "peft-0.10.0-transformers-4.38.2", "python": "3.10", "settled": True},
    ]


def test_an_empty_plan_is_an_error() -> None:
    with pytest.raises(ValueError, match="no stack"):
        planning.plan("[]")


def test_what_nox_really_says_of_parametrised_sessions_can_be_planned() -> None:
    command = [sys.executable, "-m", "nox", "-l", "--json", "-s", "stack", "-f", str(ROOT / "noxfile.py")]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    settled = {entry["stack"]: entry["settled"] for entry in planning.plan(listed)}
    assert (settled["newest"], settled["main"], settled["peft-0.13.2-transformers-4.45.1"]) == (False, False, True)


@pytest.mark.parametrize(
    ("code", "given", "expected"),
    [(1, "true", 0), (1, "false", 1), (3, "true", 3), (0, "true", 0), (5, "true", 0), (5, "false", 5)],
)
def test_violations_are_only_reported_where_that_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, code: int, given: str, expected: int
) -> None:
    monkeypatch.setattr(judge, "call", lambda *command: code)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    assert judge.judge({"report-only": given}, tmp_path / "x.events.jsonl") == expected
    assert (tmp_path / "output").read_text() == f"exit-code={code}\n"


@pytest.mark.parametrize(
    ("given", "footer", "expected"),
    [
        ("true", '{"event":"footer","exit_code":5,"partial":true,"short":[]}', 0),
        ("false", '{"event":"footer","exit_code":5,"partial":true,"short":[]}', 5),
        ("true", '{"event":"footer","exit_code":5,"partial":true,"short":["nothing at all was decided"]}', 5),
        ("true", '{"event":"footer","exit_code":5,"partial":false,"short":["nothing at all was decided"]}', 5),
    ],
)
def test_a_run_may_be_partial_where_that_is_allowed_and_nothing_else_is_wrong(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, given: str, footer: str, expected: int
) -> None:
    monkeypatch.setattr(judge, "call", lambda *command: 5)
    monkeypatch.setenv("GITHUB_OUTPUT", str(tmp_path / "output"))
    events = tmp_path / "x.events.jsonl"
    events.write_text(f'{{"event":"header"}}\n{footer}\n', "utf-8")
    assert judge.judge({"allow-partial": given}, events) == expected


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """Every call of `gh`; there is an open issue."""
    calls: list[tuple[str, ...]] = []

    def gh(command: list[str], **_: object) -> SimpleNamespace:
        calls.append(tuple(command[1:]))
        return SimpleNamespace(stdout='[{"number": 3, "state": "OPEN"}]')

    monkeypatch.setattr(issues.subprocess, "run", gh)
    return calls


def test_the_issue_is_edited_and_only_news_are_a_comment(said: list[tuple[str, ...]], tmp_path: Path) -> None:
    for news in ("", "2 new violations"):
        (tmp_path / "issue.json").write_text(json.dumps({"red": True, "title": "a title", "news": news}))
        issues.update(tmp_path)
    edit = ("issue", "edit", "3", "--title", "a title", "--body-file", str(tmp_path / "issue.md"))
    assert [call for call in said if call[1] != "list"] == [
        edit,
        edit,
        ("issue", "comment", "3", "--body", "2 new violations"),
    ]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Path]:
    """Events, what is kept, and where to write; as in a run of the workflow."""
    for name, value in {
        "GITHUB_RUN_NUMBER": "5",
        "GITHUB_RUN_ID": "55",
        "GITHUB_SERVER_URL": "https://github.com",
        "GITHUB_REPOSITORY": "me/it",
        "GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md"),
    }.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "events").mkdir()
    return tmp_path / "events", tmp_path / "nights", tmp_path / "report"


def test_a_night_without_a_plan_is_red_and_forgets_nothing(
    folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STACKS", "")
    events, kept, out = folders
    kept.mkdir()
    (kept / "night.json").write_text("what was before")
    nightly.main(events, kept, out)
    said = json.loads((out / "issue.json").read_text("utf-8"))
    assert said == {"red": True, "title": "Nightly conformance: nothing was planned, and the soak", "news": ""}
    assert (kept / "night.json").read_text() == "what was before"


def test_events_that_cannot_be_read_take_nothing_from_the_others(
    folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    merged: list[list[str]] = []
    monkeypatch.setattr(nightly.subprocess, "run", lambda command, **_: merged.append(command))
    monkeypatch.setenv("STACKS", json.dumps([{"stack": "empty", "python": "3.11", "settled": False}]))
    events, kept, out = folders
    (events / "empty.events.jsonl").touch()
    nightly.main(events, kept, out)
    summary = (out.parent / "summary.md").read_text("utf-8")
    assert "its events cannot be read" in summary
    assert "There is no merged report." in summary
    assert merged == []


def test_a_report_that_cannot_be_merged_is_told(
    folders: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (ROOT / "tests" / "golden" / "matrix" / "newest.jsonl").read_text("utf-8")
    events, _, out = folders
    (events / "whole.events.jsonl").write_text(whole, "utf-8")
    (events / "no-pair.events.jsonl").write_text(whole.replace('"peft":', '"other":'), "utf-8")
    merged: list[list[str]] = []
    monkeypatch.setattr(nightly.subprocess, "run", lambda command, **_: merged.append(command))
    assert nightly.merged_summary(events, out) == "There is no merged report.\n"
    assert capsys.readouterr().out.startswith("::error::There is no merged report")
    assert [part for part in merged[0] if part.endswith(".jsonl")] == [str(events / "whole.events.jsonl")]
