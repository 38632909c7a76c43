"""Children that die, hang, are stopped or want too much: each costs one answer, and none outlives its parent."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from msgspec import Struct

from conformance.worker import child as children
from conformance.worker.child import Child, ChildLost, NoAnswer, WorkerError, call_kept
from conformance.worker.environment import MEMORY


class Number(Struct, frozen=True):
    value: int


TWO = Number(2)


def fake(folder: Path, body: str) -> Child:
    """A child whose Python does ``body`` in place of serving, with a ``pipe`` on which a call has arrived."""
    source = "import os, sys\nfrom multiprocessing.connection import Connection\n"
    source += f"pipe = Connection(int(os.environ['CONFORMANCE_CHANNEL']))\npipe.recv_bytes()\n{body}\n"
    folder.joinpath("sitecustomize.py").write_text(source, "utf-8")
    return Child({"PYTHONPATH": str(folder)})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("os._exit(7)", "ended with exit code 7"),
        (f"os.kill(os.getpid(), {int(signal.SIGKILL)})", "ended with exit code -9"),
        ("pipe.send_bytes(b'half an ans'); os._exit(0)", "not an answer: b'half an ans'"),
        ("os.write(pipe.fileno(), b'\\0\\0\\0\\x09half'); os._exit(0)", "ended with exit code 0"),
    ],
)
def test_a_child_that_dies_is_told_from_one_that_answers(tmp_path: Path, body: str, message: str) -> None:
    with fake(tmp_path, body) as dying:
        with pytest.raises(ChildLost, match=message):
            dying.call("functions:double", TWO, int)
        assert dying.ended


def test_an_answer_of_another_kind_is_none(changes: dict[str, str]) -> None:
    with Child(changes) as made, pytest.raises(ChildLost, match="not an answer"):
        made.call("functions:text", TWO, int)


def test_a_dead_child_stays_dead(tmp_path: Path) -> None:
    with fake(tmp_path, "os._exit(7)") as dying:
        for _ in range(2):
            with pytest.raises(ChildLost, match="exit code 7"):
                dying.call("functions:double", TWO, int)


@pytest.mark.parametrize(("function", "message"), [("exits", "exit code 2"), ("is_killed", "exit code -9")])
def test_after_a_death_the_next_call_has_a_fresh_child(kept: dict[str, str], function: str, message: str) -> None:
    first = call_kept(kept, "functions:process", TWO, int)
    assert call_kept(kept, "functions:process", TWO, int) == first
    with pytest.raises(ChildLost, match=message):
        call_kept(kept, f"functions:{function}", TWO, int)
    assert call_kept(kept, "functions:process", TWO, int) != first


def test_a_child_that_dies_between_two_calls_is_replaced(kept: dict[str, str]) -> None:
    first = call_kept(kept, "functions:process", TWO, int)
    os.kill(first, signal.SIGKILL)
    (made,) = children._kept.values()
    made._process.wait()
    assert call_kept(kept, "functions:process", TWO, int) != first


def test_what_hangs_is_ended_after_its_limit_and_the_next_call_works(kept: dict[str, str]) -> None:
    first = call_kept(kept, "functions:process", TWO, int)
    started = time.monotonic()
    with pytest.raises(ChildLost, match=r"gave no answer in 0\.5 s"):
        call_kept(kept, "functions:hangs", TWO, int, 0.5)
    assert time.monotonic() - started < children.ENDING
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)
    assert call_kept(kept, "functions:double", TWO, int) == 4


def test_an_interrupted_call_leaves_no_child_that_could_answer_the_next_one(
    kept: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    call_kept(kept, "functions:double", TWO, int)
    before = signal.signal(signal.SIGALRM, signal.default_int_handler)
    signal.setitimer(signal.ITIMER_REAL, 0.3)
    with pytest.raises(KeyboardInterrupt):
        call_kept(kept, "functions:hangs", TWO, int)
    signal.signal(signal.SIGALRM, before)
    assert call_kept(kept, "functions:double", TWO, int) == 4


@pytest.mark.skipif(sys.platform != "linux", reason="only there data can be limited")
def test_a_child_beyond_its_memory_fails_alone_and_lives_on(changes: dict[str, str]) -> None:
    with Child({**changes, MEMORY: str(512 << 20)}) as made:
        with pytest.raises(WorkerError, match="MemoryError") as error:
            made.call("functions:allocate", Number(1 << 30), int)
        assert not isinstance(error.value, ChildLost)
        assert made.call("functions:allocate", Number(1 << 20), int) == 1 << 20


def test_one_that_hangs_says_where(child: Child, changes: dict[str, str]) -> None:
    with Child(changes) as made:
        made.call("functions:double", TWO, int)
        with pytest.raises(NoAnswer, match=r"gave no answer in 0\.5 s: it was in .*functions.py., line \d+ in hangs"):
            made.call("functions:hangs", TWO, int, 0.5)


@pytest.mark.skipif(sys.platform != "linux", reason="only there it can be told")
def test_one_that_was_stopped_is_ended_and_replaced(kept: dict[str, str]) -> None:
    first = call_kept(kept, "functions:process", TWO, int)
    os.kill(first, signal.SIGSTOP)
    with pytest.raises(NoAnswer, match="it has been stopped"):
        call_kept(kept, "functions:double", TWO, int, 0.5)
    assert call_kept(kept, "functions:double", TWO, int) == 4


def lives(process: int) -> bool:
    status = Path(f"/proc/{process}/stat")
    return status.exists() and status.read_text("ascii").rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="only there the kernel ends it")
def test_children_end_with_their_parent_however_they_hang(changes: dict[str, str]) -> None:
    with Child(changes) as made:
        grandchild = made.call("functions:has_a_hanging_child", TWO, int)
        os.kill(grandchild, signal.SIGSTOP)
        made.kill()
    for _ in range(100):
        if not lives(grandchild):
            break
        time.sleep(0.05)
    assert not lives(grandchild)
