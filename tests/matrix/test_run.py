"""The matrix: each pair in a process of its own, whatever happens to the others, and none twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from conformance.core.pair import Pair
from conformance.matrix.request import Entry
from conformance.matrix.run import Matrix
from conformance.session.events import Run
from conformance.session.exit_codes import gravest_code
from conformance.session.reader import read_events

if TYPE_CHECKING:
    from tests.matrix.conftest import Index

Call = Callable[..., "tuple[int, str, str]"]
HOLDS = ("--clauses", "miniature.holds", "--families", "llama,gpt2", "--known", "none")


@pytest.fixture
def matrix(index: Index, call: Call) -> Call:
    """Run ``matrix run`` on one PEFT and some transformers, into the folder ``out``."""

    def run(transformers: str = "4.45.*", *arguments: str) -> tuple[int, str, str]:
        pairs = ("--peft", "0.13.2", "--transformers", transformers, "--out", "out")
        return call("matrix", "run", *pairs, *(arguments or HOLDS))

    return run


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def events(out: Path, transformers: str) -> Run:
    return read_events(out / f"peft-0.13.2-transformers-{transformers}.events.jsonl")


def words(run: Run) -> set[str]:
    return {cell.word for cell in run.cells}


def test_each_pair_has_an_events_file_of_its_own_releases(matrix: Call, out: Path) -> None:
    code, said, _ = matrix()
    assert code == 0
    for transformers in ("4.45.0", "4.45.1", "4.45.2"):
        run = events(out, transformers)
        assert (run.header.versions["peft"], run.header.versions["transformers"]) == ("0.13.2", transformers)
        assert words(run) == {"conforms"}
        assert run.footer is not None
    assert said.splitlines()[0].startswith("[1/3] peft 0.13.2 x transformers 4.45.0: 2 conforms in ")


def test_what_is_finished_is_not_run_again(matrix: Call, out: Path) -> None:
    matrix("4.45.1")
    before = (out / "peft-0.13.2-transformers-4.45.1.events.jsonl").stat().st_mtime_ns
    code, said, _ = matrix("4.45.*")
    assert code == 0
    assert "[2/3] peft 0.13.2 x transformers 4.45.1: finished before, exit code 0" in said
    assert (out / "peft-0.13.2-transformers-4.45.1.events.jsonl").stat().st_mtime_ns == before
    assert events(out, "4.45.2").footer is not None


def test_runs_beside_each_other_keep_what_each_has_finished(matrix: Call, out: Path) -> None:
    with ThreadPoolExecutor() as both:
        assert [code for code, _, _ in both.map(matrix, ("4.45.0", "4.45.1"))] == [0, 0]
    _, said, _ = matrix("4.45.*")
    assert said.count("finished before") == 2


def test_what_was_cut_short_is_run_again(matrix: Call, out: Path) -> None:
    matrix("4.45.1")
    file = out / "peft-0.13.2-transformers-4.45.1.events.jsonl"
    file.write_text("\n".join(file.read_text().splitlines()[:3]))
    _, plan, _ = matrix("4.45.1", *HOLDS, "--dry-run")
    assert "to run: an earlier run did not finish" in plan
    matrix("4.45.1")
    assert events(out, "4.45.1").footer is not None


@pytest.mark.parametrize(
    "other",
    [
        ("--seed", "7"),
        ("--examples", "4"),
        ("--families", "llama"),
        ("--clauses", "miniature.warns"),
        ("--known", "k.toml"),
    ],
)
def test_what_was_asked_something_else_is_run_again(
    matrix: Call, tmp_path: Path, out: Path, other: tuple[str, ...]
) -> None:
    known = """
        schema = 1
        [[failure]]
        id = "a"
        clauses = ["*"]
        how = "crash"
        peft = ">=0"
        transformers = ">=0"
        function = "f"
        mend = "contextlib:nullcontext"
        reason = "r"
        clause = "miniature.holds"
        case = { family = "llama" }
    """
    (tmp_path / "k.toml").write_text(known)
    matrix("4.45.1")
    options = dict(zip(HOLDS[::2], HOLDS[1::2], strict=True)) | {other[0]: other[1]}
    _, plan, _ = matrix("4.45.1", *(word for option in options.items() for word in option), "--dry-run")
    assert "to run: an earlier run was asked something else" in plan
    assert events(out, "4.45.1").header.seed == 0


def test_more_workers_are_no_other_question(matrix: Call) -> None:
    matrix("4.45.1")
    for workers in ("2", "auto"):
        assert "1 finished" in matrix("4.45.1", *HOLDS, "--workers", workers, "--dry-run")[1]


def test_a_plan_is_printed_and_nothing_is_made(index: Index, matrix: Call, out: Path) -> None:
    code, said, _ = matrix("4.45.*", *HOLDS, "--dry-run")
    assert code == 0
    assert said.splitlines()[-1] == "3 pairs: 3 to run"
    assert not out.exists()
    assert "pip install" not in index.calls


def test_a_pair_that_cannot_exist_is_impossible_in_every_cell(index: Index, matrix: Call, out: Path) -> None:
    index.change("transformers", "4.45.1", needs=["helper>=2"])
    code, said, _ = matrix()
    run = events(out, "4.45.1")
    assert (code, words(run)) == (0, {"impossible"})
    assert {cell.why for cell in run.cells} == {
        "cannot be resolved: No solution found when resolving dependencies there is no helper>=2 at the index"
    }
    assert run.footer is not None
    assert run.footer.exit_code == 5
    assert "2 impossible" in said
    assert words(events(out, "4.45.2")) == {"conforms"}
    assert matrix("4.45.1", *HOLDS, "--dry-run")[1].splitlines()[-1] == "1 pair: 1 finished"


def test_only_impossible_pairs_test_nothing(index: Index, matrix: Call) -> None:
    index.change("transformers", "4.45.1", code="raise ImportError('no')")
    index.change("peft", "0.13.2", code="import transformers")
    assert matrix("4.45.1")[0] == 5


def test_an_item_whose_process_dies_is_broken_and_the_next_pair_is_judged(
    index: Index, matrix: Call, out: Path
) -> None:
    index.change("transformers", "4.45.1")
    code, said, _ = matrix("4.45.*", "--clauses", "miniature.dies", "--families", "llama", "--known", "none")
    assert code == 3
    assert said.count("1 broken harness") == 3
    run = events(out, "4.45.2")
    assert run.footer is not None
    assert run.footer.exit_code == 3


def test_a_run_that_dies_before_it_judges_says_what_it_said_last(index: Index, matrix: Call, out: Path) -> None:
    index.change("typer", "0", code="raise SystemExit('no typer today')")
    index.change("transformers", "4.45.1", needs=["typer==0"])
    code, said, _ = matrix("4.45.1")
    assert code == 3
    assert "its process ended with exit code 1 before anything was judged: no typer today" in said
    assert events(out, "4.45.1").footer is None


def test_an_environment_that_cannot_be_built_is_said_and_tried_again(index: Index, matrix: Call, out: Path) -> None:
    index.change("transformers", "4.45.1", lost=True)
    code, said, _ = matrix()
    run = events(out, "4.45.1")
    assert (code, words(run), run.footer) == (3, {"not run"}, None)
    assert "its environment could not be built: Failed to fetch: the index" in said
    assert words(events(out, "4.45.2")) == {"conforms"}
    index.change("transformers", "4.45.1")
    assert matrix()[0] == 0
    assert words(events(out, "4.45.1")) == {"conforms"}


def test_a_run_that_takes_too_long_is_ended(matrix: Call, out: Path) -> None:
    slow = ("--clauses", "miniature.slow", "--families", "llama", "--known", "none", "--examples", "60")
    code, said, _ = matrix("4.45.1", *slow, "--limit", "4")
    assert code == 3
    assert "\n  its process was ended after 4 s (--limit)" in said
    assert events(out, "4.45.1").footer is None


@pytest.mark.skipif(os.name != "posix", reason="only there a process can be told to terminate")
def test_a_matrix_that_is_told_to_terminate_ends_the_run_that_it_began(index: Index, out: Path, tmp_path: Path) -> None:
    slow = ("--clauses", "miniature.slow", "--families", "llama", "--known", "none", "--examples", "600")
    pair = ("--peft", "0.13.2", "--transformers", "4.45.1", "--out", "out")
    command = [sys.executable, "-c", "from conformance.cli import main; main()", "matrix", "run", *pair, *slow]
    with subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL) as told:
        written = out / "peft-0.13.2-transformers-4.45.1.events.jsonl"
        while '"start"' not in (written.read_text() if written.is_file() else ""):
            assert told.poll() is None
            time.sleep(0.1)
        told.terminate()
        assert told.wait(60) == 143
    size = written.stat().st_size
    time.sleep(1.5)
    assert written.stat().st_size == size


def test_the_gravest_run_decides(index: Index, call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MINIATURE_BAD", "0.13.2x4.45.1")
    question = ("--clauses", "miniature.by_pair", "--families", "llama", "--known", "none", "--format", "json")
    code, said, _ = call("matrix", "run", "--peft", ">=0.13.2", "--transformers", "4.45.1", "--out", "o", *question)
    assert code == 1
    codes = {name: entry["exit_code"] for name, entry in json.loads(said)["pairs"].items()}
    assert codes == {"peft-0.13.2-transformers-4.45.1": 1, "peft-0.14.0-transformers-4.45.1": 0}


def test_a_pair_on_which_nothing_was_tested_is_not_hidden_by_a_green_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("conformance.matrix.run.digest_of", lambda selection: "")
    pairs = [Pair("0.13.2", f"4.4{n}.0") for n in range(3)]
    matrix = Matrix(tmp_path, cast(Any, None), cast(Any, SimpleNamespace(selection=None)))
    green, untested, impossible = (
        Entry(digest="", exit_code=0),
        Entry(digest="", exit_code=5),
        Entry(digest="", exit_code=5, impossible=True),
    )
    for entries, expected in (
        ((green, untested), 5),
        ((green, impossible), 0),
        ((impossible, impossible), 5),
        ((green, untested, Entry(digest="", exit_code=1)), 1),
        ((green,), 3),
    ):
        matrix.record.pairs = {pair.name: entry for pair, entry in zip(pairs, entries, strict=False)}
        assert matrix.together(pairs[: max(2, len(entries))]) == expected


@pytest.mark.parametrize(
    ("codes", "expected"), [([0, 1, 3], 3), ([4, 1, 0], 1), ([4, 0, 5], 4), ([5, 0], 5), ([5, 5], 5), ([], 5)]
)
def test_codes_add_up_by_gravity(codes: Iterable[int], expected: int) -> None:
    assert gravest_code(codes) == expected


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--peft", "0.13 - 0.15", "--out", "out"), "bad-range"),
        (("--peft", "0.1.0", "--out", "out"), "no-release"),
        (("--peft", "0.13.2", "--out", "index.json"), "unwritable-folder"),
        (("--peft", "0.13.2", "--out", "out", "--store", "index.json"), "unwritable-store"),
        (("--peft", "0.13.2", "--out", "out", "--families", "lama"), "unknown-family"),
        (("--peft", "0.13.2", "--out", "out", "--profile", "fast"), "unknown-profile"),
        (("--peft", "0.13.2", "--out", "out", "--methods", "LORA"), "unknown-method"),
        (("--peft", "0.13.2", "--out", "out", "--workers", "many"), "bad-workers"),
    ],
)
def test_wrong_use_is_refused_before_anything_is_built(
    index: Index, call: Call, out: Path, arguments: tuple[str, ...], code: str
) -> None:
    ended, said, err = call("matrix", "run", "--transformers", "4.45.1", "--known", "none", *arguments)
    assert (ended, said) == (2, "")
    assert err.startswith(f"{code}: ")
    assert "pip install" not in index.calls
    assert not list(out.glob("*")) if out.exists() else True
