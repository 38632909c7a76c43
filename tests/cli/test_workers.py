"""Into how many processes ``run`` is divided."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.cli import launch
from conformance.cli.launch import worker_count
from conformance.core.errors import UserError

Command = Callable[..., "subprocess.CompletedProcess[str]"]


def machine(monkeypatch: pytest.MonkeyPatch, *, cores: int, xdist: bool = True) -> None:
    monkeypatch.setattr(launch, "cores", lambda: cores)
    monkeypatch.setattr(launch, "has_xdist", lambda: xdist)


@pytest.mark.parametrize(
    ("cores", "items", "workers"),
    [
        (2, 363, 2),
        (8, 363, 8),
        (64, 363, 18),  # one worker per 20 items: more would import more than they judge
        (8, 100, 5),
        (2, 40, 2),
        (2, 39, 0),
        (8, 1, 0),
        (1, 363, 0),
    ],
)
def test_auto_is_a_process_a_core_where_there_is_enough_to_do(
    monkeypatch: pytest.MonkeyPatch, cores: int, items: int, workers: int
) -> None:
    machine(monkeypatch, cores=cores)
    assert worker_count({"workers": ("auto",)}, items) == workers


@pytest.mark.parametrize("text", ["0", "1", "7"])
def test_a_number_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    machine(monkeypatch, cores=2)
    assert worker_count({"workers": (text,)}, 1) == worker_count({"workers": (text,)}, 363) == int(text)


def test_without_xdist_auto_is_one_process_and_a_number_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, cores=8, xdist=False)
    assert worker_count({"workers": ("auto",)}, 363) == 0
    assert worker_count({"workers": ("0",)}, 363) == 0
    with pytest.raises(UserError) as refused:
        worker_count({"workers": ("2",)}, 363)
    assert refused.value.code == "missing-package"


@pytest.mark.parametrize("text", ["many", "-1", "1.5", "", "²"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(UserError) as refused:
        worker_count({"workers": (text,)}, 363)
    assert refused.value.code == "bad-workers"


def test_there_is_at_least_one_core() -> None:
    assert launch.cores() >= 1


@pytest.mark.parametrize("text", ["17", "1000", "9" * 5000])
def test_more_workers_than_a_machine_can_use_are_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    machine(monkeypatch, cores=2)
    with pytest.raises(UserError, match="more than this machine can use"):
        worker_count({"workers": (text,)}, 363)
    machine(monkeypatch, cores=64)
    assert worker_count({"workers": ("17",)}, 363) == 17


@pytest.mark.skipif(launch.cores() < 2, reason="there is one core")
@pytest.mark.parametrize(
    ("clauses", "arguments", "processes"),
    [
        ("miniature.[!s]*", (), 2),
        ("miniature.[!s]*", ("--workers", "0"), 1),
        ("miniature.holds", (), 1),
    ],
)
def test_a_large_run_is_divided_and_a_small_one_is_not(
    command: Command, tmp_path: Path, clauses: str, arguments: tuple[str, ...], processes: int
) -> None:
    pytest.importorskip("xdist")
    families = ("run", "--families", "llama,gpt2,t5,bloom", "--known", "none")
    command(*families, "--clauses", clauses, *arguments, MINIATURE_PARENTS=str(tmp_path / "parents"))
    assert len(set((tmp_path / "parents").read_text("utf-8").split())) == processes


@pytest.mark.parametrize("workers", ["0", "1"])
def test_judged_code_that_ends_its_process_well_breaks_its_item_and_no_other(command: Command, workers: str) -> None:
    clauses = ("--clauses", "miniature.leaves,miniature.holds,miniature.leaves_at_exit")
    done = command("run", "--families", "llama", *clauses, "--known", "none", "--workers", workers)
    assert done.returncode == 3, done.stderr
    assert "miniature.leaves[llama]\n    the child process ended with exit code 0" in done.stdout
    assert "1 broken harness, 1 violates, 1 conforms" in done.stdout
