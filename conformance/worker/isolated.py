"""Work in a child process: fresh-process loads, and whole items in another environment. One mechanism.

The child reads one JSON request a line from its standard input and answers one JSON line each on a pipe of its own, so that
whatever libraries print cannot be taken for an answer. It is kept for further requests: its imports are paid once.
"""

from __future__ import annotations

import atexit
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Union

import msgspec
from msgspec import Struct

from conformance import families
from conformance.core.case import Case
from conformance.core.finding import Cell
from conformance.core.signals import RunFailed
from conformance.devices.current import environment_for
from conformance.engine.controls import Example
from conformance.engine.known import KnownFailure
from conformance.engine.search import Budget
from conformance.families import Family
from conformance.faults.table import Row
from conformance.session.held import lab_for
from conformance.worker import environment as processes

ANSWER_FILE = "answer.safetensors"
CHANNEL = "CONFORMANCE_ANSWERS"


class Generate(Struct, frozen=True, tag="generate"):
    """Load the adapter in ``folder`` onto the Case's base model and generate; the answer goes into the folder.

    ``kind`` is the Case's family where the child cannot know it, since it does not come with this project.
    """

    maker: str
    case: Case
    folder: str
    kind: Family | None = None


class Judge(Struct, frozen=True, tag="judge"):
    """Judge one item; ``kind`` as in :class:`Generate`."""

    clause: str
    family: str
    budget: Budget
    known: tuple[KnownFailure, ...] = ()
    kind: Family | None = None


class Examine(Struct, frozen=True, tag="examine"):
    """Hold one Case against a clause, with its controls; ``sure``: and confirm a violation."""

    clause: str
    case: Case
    sure: bool = False
    kind: Family | None = None


class Plant(Struct, frozen=True, tag="plant"):
    """Plant a fault, and see which clauses find it."""

    fault: str
    seeds: int


class Calibrate(Struct, frozen=True, tag="calibrate"):
    """Try the probes on the first two devices, or, with a ``count`` of one, on the first and the CPU."""

    count: int


Request = Union[Generate, Judge, Examine, Plant, Calibrate]  # noqa: UP007 - evaluated on Python 3.10 too


class Answer(Struct, frozen=True):
    """What came of a request: a Cell for an item, an Example for a Case, a Row for a fault, the end of each probe.

    Nothing for a generate. Or the exception in words; ``ours`` tells one of the harness from one of what is judged.
    """

    cell: Cell | None = None
    example: Example | None = None
    row: Row | None = None
    outcomes: dict[str, str] = {}
    error: str = ""
    ours: bool = False


class ChildDied(RuntimeError):
    """The child ended, or said something that is not an answer."""


class Child:
    """A process of our own with ``environment`` on top of this one's."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        read, write = os.pipe()
        os.set_inheritable(write, True)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "conformance.worker.isolated"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=processes.environment(environment or {}) | {CHANNEL: str(write)},
            pass_fds=(write,),
        )
        os.close(write)
        self._answers = os.fdopen(read, "rb")
        atexit.register(self.close)

    def ask(self, request: Request) -> Answer:
        """Send one request, wait for its answer. Raises :class:`ChildDied`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()
        except OSError as error:
            raise ChildDied(f"the child process cannot be reached: {error}") from error
        line = self._answers.readline()
        if not line:
            raise ChildDied(f"the child process ended with exit code {self._process.wait()}")
        try:
            return msgspec.json.decode(line, type=Answer)
        except msgspec.MsgspecError as error:
            raise ChildDied(f"the child process said something that is not an answer: {line[:80]!r}") from error

    def close(self) -> None:
        """End the child."""
        if self._process.stdin and not self._process.stdin.closed:
            with suppress(OSError):  # a dead child cannot take what was still to be sent
                self._process.stdin.close()
        self._process.wait(timeout=60)
        self._answers.close()
        atexit.unregister(self.close)


@cache
def loader() -> Child:
    """This process's child for fresh-process loads."""
    return Child()


_placed: dict[str, Child] = {}


def ask_placed(devices: str, request: Request) -> Answer:
    """What this process's child for placed models answers; ``devices`` are real ones, empty for simulated ones.

    A child that died is replaced by the next request.
    """
    if devices not in _placed:
        _placed[devices] = Child(environment_for(devices))
    try:
        return _placed[devices].ask(request)
    except ChildDied:
        _placed.pop(devices).close()
        raise


def brought(family: str) -> Family | None:
    """The family, where another process cannot know it."""
    return None if families.shipped(family) else families.family(family)


def _answer(request: Request) -> Answer:
    if getattr(request, "kind", None):
        families.adopt(request.kind)  # type: ignore[union-attr,arg-type]
    if isinstance(request, Judge):
        return Answer(cell=_judge(request))
    if isinstance(request, Examine):
        return Answer(example=_examine(request))
    if isinstance(request, Plant):
        from conformance.faults.table import row

        return Answer(row=row(request.fault, request.seeds))
    if isinstance(request, Calibrate):
        return Answer(outcomes=_outcomes(request))
    _generate(request)
    return Answer()


def _outcomes(request: Calibrate) -> dict[str, str]:
    from conformance.devices.current import here
    from conformance.devices.simulated.probes import PROBES, outcome

    names = here().names
    pair = names[:2] if request.count > 1 else (names[0], "cpu")
    return {probe.name: outcome(probe, pair) for probe in PROBES}


def _generate(request: Generate) -> None:
    from safetensors.torch import save_file

    from conformance.faults import maker_named
    from conformance.runs.lab import Lab, guarded

    folder = Path(request.folder)
    with maker_named(request.maker) as maker:
        subject = guarded("from_pretrained", lambda: maker.load(request.case, folder))
        trace = Lab(maker).generate_on(subject, request.case)
    save_file({"tokens": trace.tokens.contiguous(), "logits": trace.logits.contiguous()}, folder / ANSWER_FILE)


def _judge(request: Judge) -> Cell:
    from conformance.clauses import clauses
    from conformance.engine import search as engine

    kind = families.family(request.family)
    return engine.judge(clauses()[request.clause], kind, request.budget, request.known, lab_for(kind.name))


def _examine(request: Examine) -> Example:
    from conformance.clauses import clauses
    from conformance.engine.controls import confirm, examine

    clause, lab = clauses()[request.clause], lab_for(request.case.family)
    example = examine(clause, lab, request.case)
    return confirm(clause, lab, example) if request.sure else example


def serve() -> None:
    """Answer requests until standard input ends."""
    import warnings

    import torch

    from conformance.devices import current as here

    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    if here.asked():
        here.here()
    decoder: Any = msgspec.json.Decoder(Request)
    with os.fdopen(int(os.environ[CHANNEL]), "wb") as answers:
        for line in sys.stdin.buffer:
            try:
                answer = _answer(decoder.decode(line))
            except RunFailed as failed:
                answer = Answer(error=failed.words)
            except Exception as error:
                answer = Answer(error=f"{type(error).__name__}: {error}", ours=True)
            answers.write(msgspec.json.encode(answer) + b"\n")
            answers.flush()


if __name__ == "__main__":
    serve()
