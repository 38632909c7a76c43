"""Child processes: what they answer, and that nothing which happens in one costs more than its answer."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from msgspec import Struct
from msgspec.structs import replace

from conformance.core.case import Case, Prefix, Row
from conformance.core.errors import UserError
from conformance.core.finding import Cell, Item
from conformance.core.outcome import Outcome
from conformance.engine.search import Budget, judge
from conformance.runs.fresh_process import LoadAndGenerate, load_and_generate
from conformance.runs.lab import Lab
from conformance.session.judge import JudgeItem
from conformance.worker import child as children
from conformance.worker.child import Child, ChildLost, NoAnswer, WorkerError, call_kept
from conformance.worker.environment import MEMORY, STARTUP, environment
from conformance.worker.fork import Fork

ROOT = Path(__file__).parents[2]
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
ITEM = JudgeItem(item=Item("injection.faithful", "llama"), budget=Budget(examples=1))
JUDGE = "conformance.session.judge:judge_here"


class Number(Struct, frozen=True):
    value: int


class Text(Struct, frozen=True):
    value: str


TWO = Number(2)


def without_time(cell: Cell) -> Cell:
    assert cell.verdict is not None
    return replace(cell, verdict=replace(cell.verdict, cpu_seconds=0.0))


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


def test_a_function_is_given_a_record_and_answers_with_another(child: Child) -> None:
    assert child.call("functions:double", TWO, int) == 4


def test_an_item_is_judged_as_in_this_process(child: Child) -> None:
    here = judge(ITEM.item, ITEM.budget, (), Lab())
    assert without_time(child.call(JUDGE, ITEM, Cell)) == without_time(here)
    assert here.verdict is not None
    assert here.verdict.outcome is Outcome.CONFORMS


def test_a_fresh_process_loads_and_generates(kept: dict[str, str]) -> None:
    case, lab = Case(family="llama", prefix=Prefix(length=2), rows=(Row(length=3),)), Lab("reference")
    with lab.saved(lab.subject(case)) as saved:
        found = lab.generate_in_fresh_process(case, saved)
    expected = lab.generate(case)
    assert len(children._kept) == 1
    assert torch.equal(found.tokens, expected.tokens)
    assert torch.equal(found.logits, expected.logits)


def test_what_is_printed_is_no_answer(child: Child) -> None:
    assert child.call("functions:noise", TWO, int) == 2


def test_what_goes_wrong_is_answered_in_words_and_the_child_lives_on(child: Child) -> None:
    process = child.call("functions:process", TWO, int)
    with pytest.raises(
        WorkerError, match=r"functions.py\", line \d+, in breaks\n(.|\n)*\nZeroDivisionError: a bug of ours$"
    ):
        child.call("functions:breaks", TWO, int)
    with pytest.raises(WorkerError, match=r"\nModuleNotFoundError: No module named 'nowhere'$"):
        child.call("nowhere:function", TWO, int)
    with pytest.raises(WorkerError, match=r"\nmsgspec.ValidationError: Expected `int`, got `str`"):
        child.call("functions:double", Text("2"), int)
    assert child.call("functions:process", TWO, int) == process


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (replace(ITEM, item=Item("injection.faithful", "lama")), "unknown-family"),
        (replace(ITEM, item=Item("a.b", "llama")), "unknown-clause"),
    ],
)
def test_a_mistake_of_the_user_stays_one(child: Child, request_: JudgeItem, code: str) -> None:
    with pytest.raises(UserError) as mistake:
        child.call(JUDGE, request_, Cell)
    assert mistake.value.code == code
    with pytest.raises(UserError) as whole:
        child.call("functions:misuse", TWO, int)
    assert str(whole.value) == "bad-number: 2 is none\n  cause: a cause\n  cure:  a cure"


def test_an_exception_of_what_is_judged_is_an_answer_and_not_ours(child: Child, tmp_path: Path) -> None:
    maker = Lab("peft").maker
    case = Case(family="llama")
    request = LoadAndGenerate(maker=maker.maker, found_by=maker.found_by, case=case, folder=str(tmp_path))
    here = load_and_generate(request)
    assert here
    assert child.call("conformance.runs.fresh_process:load_and_generate", request, str) == here


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


@pytest.mark.skipif(sys.platform != "linux", reason="only there it is forked")
def test_a_fork_knows_what_its_parent_knew_and_costs_no_imports() -> None:
    FORKED.append(1)
    with Fork() as made:
        FORKED.append(2)
        assert made.call(f"{__name__}:what_the_fork_knows", TWO, list[int]) == [1]
        with pytest.raises(WorkerError, match="ZeroDivisionError"):
            made.call(f"{__name__}:breaks", TWO, int)
        assert made.call(f"{__name__}:what_the_fork_knows", TWO, list[int]) == [1]
    assert made.ended


FORKED: list[int] = []


def what_the_fork_knows(number: Number) -> list[int]:
    return FORKED


def breaks(number: Number) -> int:
    return number.value // 0
