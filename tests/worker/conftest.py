"""Functions for children to be asked for, and children to ask."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.worker import child as children
from conformance.worker.child import Child

NOISE = """
import sys
print("a line that is no answer", flush=True)
print("{}", file=sys.__stdout__, flush=True)
"""
FUNCTIONS = """
import os, signal, time
from msgspec import Struct
from conformance.core.errors import UserError

class Number(Struct, frozen=True):
    value: int

class Text(Struct, frozen=True):
    value: str

def double(number: Number) -> int:
    return 2 * number.value

def process(number: Number) -> int:
    return os.getpid()

def noise(number: Number) -> int:
    os.write(1, b"a line that is no answer")
    print("{}", flush=True)
    return number.value

def misuse(number: Number) -> int:
    raise UserError("bad-number", f"{number.value} is none", "a cause", "a cure")

def breaks(number: Number) -> int:
    raise ZeroDivisionError("a bug of ours")

def exits(number: Number) -> int:
    os._exit(number.value)

def is_killed(number: Number) -> int:
    os.kill(os.getpid(), signal.SIGKILL)

def hangs(number: Number) -> int:
    time.sleep(600)

def text(number: Number) -> str:
    return "two"

def imports(name: Text) -> str:
    return __import__(name.value).__file__

def has_a_hanging_child(number: Number) -> int:
    import threading
    from conformance.worker.child import Child
    made = Child({"PYTHONPATH": os.environ["PYTHONPATH"]})
    made.call("functions:double", number, int)
    threading.Thread(target=made.call, args=("functions:hangs", number, int), daemon=True).start()
    return made._process.pid

def allocate(number: Number) -> int:
    return len(bytearray(number.value))
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``functions``, which says things on standard output in every Python that has it on its path."""
    folder = tmp_path_factory.mktemp("noisy")
    folder.joinpath("sitecustomize.py").write_text(NOISE, "utf-8")
    folder.joinpath("functions.py").write_text(FUNCTIONS, "utf-8")
    return folder


@pytest.fixture(scope="module")
def changes(folder: Path) -> dict[str, str]:
    return {"PYTHONPATH": os.pathsep.join([str(folder), str(Path(__file__).parents[2])])}


@pytest.fixture(scope="module")
def child(changes: dict[str, str]) -> Iterator[Child]:
    """One child for all tests that do not end theirs."""
    with Child(changes) as made:
        yield made


@pytest.fixture
def kept(changes: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """The variables of a child that is kept, and ended after the test."""
    monkeypatch.setattr(children, "_kept", {})
    yield changes
    for made in children._kept.values():
        made.close()
