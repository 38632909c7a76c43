"""What is the same question, and what is another one: whatever can change an answer is in the digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import fields, replace

from conformance.core.options import SET, Given, Option, taken_by
from conformance.families import folder
from conformance.matrix import request
from conformance.matrix.request import NO_QUESTION, Request, digest_of, judging_sources
from conformance.methods import METHODS
from conformance.session.selection import Selection, resolve

PACKAGE = Path(request.__file__).parents[1]
FIELDS = [field.name for field in fields(Selection)]
KNOWN = """
schema = 1
[[failure]]
id = "a"
clauses = ["*"]
families = ["*"]
how = "crash"
peft = ">=0"
transformers = ">=0"
function = "f"
mend = "contextlib:nullcontext"
reason = "r"
clause = "masks.rows_alone"
case = { family = "llama", rows = [{}, { length = 2 }] }
"""
FAMILY = (folder() / "llama.toml").read_text("utf-8").replace('"llama"', '"mine"')
OTHERS = {
    "families": "llama",
    "clauses": "masks",
    "methods": "OTHER",
    "profile": "standard",
    "examples": "4",
    "seed": "7",
    "known": "known.toml",
    "mended": SET,
    "workers": "2",
    "family-file": "mine.toml",
}
"""For each option of the matrix a value that is not its default. A new option needs one, too."""
ASK_NOTHING = {"workers"}
"""Options that change no answer."""


@pytest.fixture(autouse=True)
def _files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "known.toml").write_text(KNOWN, "utf-8")
    (tmp_path / "mine.toml").write_text(FAMILY, "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("conformance.session.selection.METHODS", {**METHODS, "OTHER": "nowhere"})
    monkeypatch.setattr("conformance.families._extra", {})


def digest(given: Given) -> str:
    return digest_of(resolve(given))


@pytest.mark.parametrize("option", taken_by("matrix run"), ids=lambda option: option.name)
def test_another_value_is_another_question_unless_the_option_asks_nothing(option: Option) -> None:
    before = digest({})
    assert (digest({option.name: (OTHERS[option.name],)}) != before) == (option.name not in ASK_NOTHING)


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_a_selection_is_in_the_digest(name: str) -> None:
    selection = resolve({})
    other: Any = {"torch": "0"} if name == "versions" else "something else"
    assert (digest_of(replace(selection, **{name: other})) == digest_of(selection)) == (
        name in ("known_file", "digests")
    )


def test_only_names_and_digests_of_files_ask_nothing() -> None:
    assert NO_QUESTION == ("known_file", "digests"), "what is in those files are the fields `known` and `families`"


def test_where_a_file_of_known_failures_lies_does_not_matter_but_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "elsewhere.toml").write_text(KNOWN, "utf-8")
    before = digest({"known": ("known.toml",)})
    assert digest({"known": ("elsewhere.toml",)}) == before
    (tmp_path / "known.toml").write_text(KNOWN.replace('"crash"', '"wrong answer"'), "utf-8")
    assert digest({"known": ("known.toml",)}) != before


def test_the_releases_of_the_pair_are_no_part_of_the_question_but_what_lies_here_is() -> None:
    selection = resolve({})
    versions = {**selection.versions, "peft": "0", "transformers": "0"}
    assert digest_of(replace(selection, versions=versions)) == digest_of(selection)
    assert digest_of(replace(selection, versions={**versions, "torch": "0"})) != digest_of(selection)


def test_the_sources_that_judge_are_all_but_those_of_the_faces() -> None:
    judging = {name for name, _ in judging_sources(PACKAGE, folder())}
    rooms = {file.relative_to(PACKAGE).parts[0] for file in PACKAGE.rglob("*.py") if file.parent != PACKAGE}
    assert {name.partition("/")[0] for name in judging if "/" in name} == rooms - set(request.FACES)
    assert {"engine/search.py", "core/options.py", "known_failures.toml", "families/llama.toml"} <= judging
    assert len([name for name in judging if name.endswith(".toml") and name.startswith("families/")]) == len(
        list(folder().glob("*.toml"))
    )


@pytest.mark.parametrize("where", ["package/engine/search.py", "package/known.toml", "families/llama.toml"])
def test_a_source_that_judges_makes_another_question(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    for file in ("package/engine/search.py", "package/known.toml", "package/cli/run.py", "families/llama.toml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text("before", "utf-8")
    found = judging_sources
    monkeypatch.setattr(request, "judging_sources", lambda *_: found(tmp_path / "package", tmp_path / "families"))
    before = digest({})
    (tmp_path / "package/cli/run.py").write_text("after", "utf-8")
    assert digest({}) == before
    (tmp_path / where).write_text("after", "utf-8")
    assert digest({}) != before


def test_what_is_asked_is_asked_of_every_run(tmp_path: Path) -> None:
    given = {"seed": ("7",), "workers": ("0",), "family-file": ("/one.toml", "/two.toml"), "profile": ()}
    asked = Request(given=given, selection=resolve({}))
    assert asked.arguments(tmp_path / "e.jsonl") == [
        *("run", "--seed=7", f"--report={tmp_path / 'e.jsonl'}", "--workers=0"),
        *("--family-file=/one.toml", "--family-file=/two.toml"),
    ]
