"""``peft-conformance bisect``, on an index and with miniatures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from conformance.core.case import from_json

if TYPE_CHECKING:
    from tests.matrix.conftest import Index

Call = Callable[..., "tuple[int, str, str]"]
CASE = '{"family":"llama"}'
GITHUB = "https://github.com/huggingface"


@pytest.fixture
def bisect(index: Index, call: Call, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Bisect with PEFT 0.13.2 bad on transformers up to 4.45.1."""
    monkeypatch.setenv("MINIATURE_BAD", "0.12.0x4.45.1 0.13.0x4.45.1 0.13.2x4.45.1 0.13.2x4.45.0")

    def run(*arguments: str) -> tuple[int, str, str]:
        return call("bisect", CASE, "--clause", "miniature.by_pair", "--known", "none", *arguments)

    return run


def test_both_axes_are_searched_from_the_bad_pair(bisect: Call) -> None:
    code, said, _ = bisect("--bad", "0.13.2x4.45.1", "--good", "0.14.0x4.46.0")
    assert said.splitlines() == [
        "Case f99f3c74b41e against miniature.by_pair",
        "",
        "peft, with transformers 4.45.1 held",
        "  bad      0.13.2    wrong answer",
        "  good     0.14.0    conforms",
        "  peft 0.13.2 is bad, 0.14.0 is good",
        f"  {GITHUB}/peft/releases/tag/v0.13.2",
        f"  {GITHUB}/peft/releases/tag/v0.14.0",
        f"  {GITHUB}/peft/compare/v0.13.2...v0.14.0",
        "",
        "transformers, with peft 0.13.2 held",
        "  bad      4.45.1    wrong answer",
        "  good     4.46.0    conforms",
        "  good     4.45.2    conforms",
        "  transformers 4.45.1 is bad, 4.45.2 is good",
        f"  {GITHUB}/transformers/releases/tag/v4.45.1",
        f"  {GITHUB}/transformers/releases/tag/v4.45.2",
        f"  {GITHUB}/transformers/compare/v4.45.1...v4.45.2",
    ]
    assert code == 0


def test_the_bad_release_may_be_the_newer_one(bisect: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIATURE_BAD", "0.13.2x4.45.1 0.14.0x4.45.1")
    code, said, _ = bisect("--axis", "peft", "--bad", "0.14.0x4.45.1", "--good", "0.12.0x4.45.1")
    assert code == 0
    assert "  peft 0.13.0 is good, 0.13.2 is bad" in said


def test_it_is_told_as_json(bisect: Call) -> None:
    code, said, _ = bisect("--axis", "peft", "--bad", "0.12.0x4.45.1", "--format", "json")
    found = json.loads(said)
    assert code == 0
    assert (found["case"], found["clause"], found["runs"]) == (json.loads(CASE), "miniature.by_pair", 4)
    (axis,) = found["axes"]
    assert (axis["axis"], axis["start"]) == ("peft", {"peft": "0.12.0", "transformers": "4.45.1"})
    assert (axis["found"]["older"]["release"], axis["found"]["newer"]["release"]) == ("0.13.2", "0.14.0")
    assert axis["links"][0] == f"{GITHUB}/peft/releases/tag/v0.13.2"


def test_impossible_pairs_are_stepped_over_and_said(index: Index, bisect: Call) -> None:
    index.change("peft", "0.13.0", code="raise ImportError('no such name')")
    code, said, _ = bisect("--axis", "peft", "--bad", "0.12.0x4.45.1", "--good", "0.14.0x4.45.1")
    assert code == 0
    assert "  neither  0.13.0    impossible: cannot be imported: ImportError: no such name" in said
    assert "  peft 0.13.2 is bad, 0.14.0 is good" in said


def test_a_release_that_fails_in_another_way_is_neither_good_nor_bad(
    bisect: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MINIATURE_CRASHES", "0.13.2x4.45.1")
    code, said, _ = bisect("--axis", "peft", "--bad", "0.13.0x4.45.1", "--good", "0.14.0x4.45.1")
    assert code == 0
    assert "  neither  0.13.2    fails in another way: crash, generate raised, KeyError" in said
    assert "  peft 0.13.0 is bad, 0.14.0 is good\n  in between, neither good nor bad: 0.13.2" in said


def test_a_case_that_fails_nowhere_gives_no_neighbours(bisect: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIATURE_BAD", "")
    code, said, _ = bisect("--axis", "peft", "--bad", "0.13.2x4.45.1", "--good", "0.14.0x4.45.1")
    assert code == 5
    assert "  not found: both ends are good: 0.13.2 and 0.14.0" in said


def test_an_environment_that_cannot_be_built_is_said(index: Index, bisect: Call) -> None:
    index.change("peft", "0.13.0", lost=True)
    code, said, _ = bisect("--axis", "peft", "--bad", "0.12.0x4.45.1", "--good", "0.14.0x4.45.1")
    assert code == 3
    assert "  neither  0.13.0    its environment could not be built: Failed to fetch: the index" in said
    assert "  peft 0.13.2 is bad, 0.14.0 is good" in said


@pytest.mark.parametrize(
    ("clause", "why"),
    [
        ("broken", "broken harness: ZeroDivisionError: a bug of ours"),
        (
            "dies",
            "broken harness: replay ended with exit code 3: conformance.worker.child.ChildLost: the child process ended with",
        ),
    ],
)
def test_a_broken_harness_is_never_an_answer(bisect: Call, clause: str, why: str) -> None:
    code, said, _ = bisect(
        "--clause", f"miniature.{clause}", "--axis", "peft", "--bad", "0.13.2x4.45.1", "--good", "0.14.0x4.45.1"
    )
    assert code == 3
    assert f"  neither  0.13.2    {why}" in said


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((CASE, "--bad", "0.13.2"), "bad-pair"),
        ((CASE, "--bad", "0.13.2x4.45.1x5"), "bad-pair"),
        ((CASE, "--bad", "0.13.2xnewest"), "bad-pair"),
        ((CASE, "--bad", "0.13.1x4.45.1"), "no-release"),
        ((CASE, "--bad", "0.13.2x4.45.1", "--good", "0.13.9x4.45.1"), "no-release"),
        (('{"family":"llama"', "--bad", "0.13.2x4.45.1"), "malformed-case"),
        (("index.json", "--bad", "0.13.2x4.45.1"), "malformed-case"),
        (("nowhere.json", "--bad", "0.13.2x4.45.1"), "unreadable-file"),
        (('{"family":"lama"}', "--bad", "0.13.2x4.45.1"), "unknown-family"),
        ((CASE, "--bad", "0.13.2x4.45.1", "--store", "index.json"), "unwritable-store"),
    ],
)
def test_wrong_use_is_refused(index: Index, call: Call, arguments: tuple[str, ...], code: str) -> None:
    ended, _, err = call("bisect", *arguments, "--clause", "miniature.holds", "--known", "none")
    assert ended == 2
    assert err.startswith(f"{code}: ")
    assert "pip install" not in index.calls


def test_a_case_alone_does_not_say_what_to_claim_of_it(index: Index, call: Call) -> None:
    assert call("bisect", CASE, "--known", "none")[2].startswith("missing-clause: ")


def test_the_stored_case_of_issue_2134_has_no_pads() -> None:
    case = from_json((Path(__file__).parent / "issue_2134.json").read_text("utf-8"))
    assert case.family == "llama"
    assert not case.padded
