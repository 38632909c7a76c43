"""What a child is told and where it imports from."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from msgspec import Struct

from conformance.core.errors import UserError
from conformance.worker.child import Child
from conformance.worker.environment import MEMORY, STARTUP, environment

ROOT = Path(__file__).parents[2]


class Number(Struct, frozen=True):
    value: int


TWO = Number(2)


class Text(Struct, frozen=True):
    value: str


def test_a_start_that_fails_is_the_answer_to_every_call(changes: dict[str, str], folder: Path) -> None:
    folder.joinpath("starting.py").write_text(
        "from conformance.core.errors import UserError\n"
        "def start():\n    raise UserError('no-such-device', 'no quark:0', 'a cause', 'a cure')\n",
        "utf-8",
    )
    with Child({**changes, STARTUP: "starting:start"}) as made:
        for _ in range(2):
            with pytest.raises(UserError, match="no quark:0"):
                made.call("functions:double", TWO, int)


def test_what_one_child_is_told_is_for_it_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    outer = {"HOME": "h", "PYTHONPATH": "mine", MEMORY: "1", STARTUP: "a:b", "PYTHONDONTWRITEBYTECODE": "1"}
    monkeypatch.setattr("os.environ", outer)
    package = str(Path(__file__).parents[2])
    assert environment({"HOME": "other"}) == {
        "HOME": "other",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "PYTHONPATH": os.pathsep.join([os.path.abspath("mine"), package]),
    }
    outer["PYTHONPATH"] = os.pathsep.join(["/mine", package, "/yours"])
    assert environment({})["PYTHONPATH"] == outer["PYTHONPATH"]
    outer["CONFORMANCE_EXAMPLES"] = "kept"
    assert environment({})["CONFORMANCE_EXAMPLES"] == os.path.abspath("kept")


def test_nothing_in_the_working_directory_is_taken_for_a_module(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("random", "conformance", "msgspec"):
        tmp_path.joinpath(f"{name}.py").write_text("raise SystemExit(77)\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))  # as `python -m pytest` does, but after everything has been imported
    with Child({"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}) as made:
        assert made.call("functions:imports", Text("random"), str) == random.__file__


def test_a_module_of_the_user_is_found_behind_all_others(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tmp_path.joinpath("of_the_user.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    with Child({"PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)])}) as made:
        assert made.call("functions:imports", Text("of_the_user"), str) == str(tmp_path / "of_the_user.py")


def test_a_child_that_would_take_another_peft_answers_nothing(folder: Path, tmp_path: Path) -> None:
    tmp_path.joinpath("peft.py").touch()
    with (
        Child({"PYTHONPATH": os.pathsep.join([str(tmp_path), str(folder), str(ROOT)])}) as made,
        pytest.raises(UserError, match=r"the process that judges takes peft from .*peft.py, the one that reports from"),
    ):
        made.call("functions:double", TWO, int)
