"""Calling judged code: what its exceptions mean, and which are not its own."""

from __future__ import annotations

import dis
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, TracebackType
from typing import TypeVar

from conformance.core.signals import RunFailed, Signal
from conformance.methods import METHODS
from conformance.runs.call_limit import NeverAnswers, limited
from conformance.runs.resources import Exhausted, exhausted

T = TypeVar("T")
JUDGED = ("peft", "transformers", "accelerate")
STANDS_IN = ("conformance.methods", "conformance.faults", "conformance.devices")
"""Modules of this package whose exceptions are those of what is judged: the reference, its faults, devices that are simulated."""

MENDS = "conformance.mends"
"""Modules of this package that stand between judged functions: what goes wrong in one of them is no bug of theirs."""

REFUSING = ("conformance.methods.reference", "conformance.faults", MENDS)
"""Modules of this package that refuse as judged code does: in its place, or mended to."""


def guarded(call: str, run: Callable[[], T], layer_ran: Callable[[], bool] = lambda: False) -> T:
    """Run judged code; its exceptions become :class:`~conformance.core.signals.RunFailed`, ours pass through.

    ``layer_ran`` says whether a decoder layer has run by then, after which nothing is a refusal.
    """
    try:
        with limited():
            return run()
    except Signal:
        raise
    except NeverAnswers as error:
        raise RunFailed(call, error, _where(error.__traceback__), refused=False) from error
    except Exception as error:
        if harness_error(error):
            raise
        if why := exhausted(error):
            raise Exhausted(f"this machine is at fault, nobody's code: {call} ended with {why}") from error
        raise failed(call, error, layer_ran()) from error


def with_positions(call: str, function: Callable[..., T], *args: object, **kwargs: object) -> T:
    """``function`` of judged code with arguments that it may not take without a name.

    Then Python says so before any line of theirs has run: a crash of theirs, though no frame of theirs is in the traceback. There
    may be frames of mends that stand in between.
    """
    try:
        return function(*args, **kwargs)
    except TypeError as error:
        if args and "positional argument" in str(error) and not _where(error.__traceback__):
            raise RunFailed(call, error, "", refused=False) from error
        raise


@contextmanager
def nothing_is_refused() -> Iterator[None]:
    """Within the block an error is a crash, whatever it says: the same was answered before, or is the base model's to answer."""
    try:
        yield
    except RunFailed as failure:
        raise RunFailed(failure.call, failure.error, failure.where, refused=False) from failure.error


def failed(call: str, error: Exception, layer_ran: bool) -> RunFailed:
    """What an exception of the judged code means: a refusal in words, or a crash."""
    return RunFailed(call, error, _where(error.__traceback__), refused=not layer_ran and _refuses(error))


def harness_error(error: Exception) -> bool:
    """Whether no judged code took part in it: raised by this package, elsewhere than in what is judged in PEFT's place."""
    modules = [_module(frame) for frame in _frames(error.__traceback__)]
    ours_or_judged = [name for name in modules if name.startswith("conformance.") or name.partition(".")[0] in JUDGED]
    if ours_or_judged and ours_or_judged[-1].startswith(MENDS):
        return not _refuses(error)
    if _where(error.__traceback__) or not modules:
        return False
    return modules[-1].startswith("conformance.") and not modules[-1].startswith(STANDS_IN)


def _last(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and traceback.tb_next is not None:
        traceback = traceback.tb_next
    return traceback


def _frames(traceback: TracebackType | None) -> Iterator[FrameType]:
    while traceback is not None:
        yield traceback.tb_frame
        traceback = traceback.tb_next


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _package(frame: FrameType) -> str | None:
    # By the module's name: a checkout may lie in a folder called `peft`, with torch installed inside it.
    name = _module(frame).partition(".")[0]
    return name if name in JUDGED else None


def _where(traceback: TracebackType | None) -> str:
    """The innermost line of judged code: ``peft/peft_model.py:890 get_prompt``."""
    place = ""
    while traceback is not None:
        code = traceback.tb_frame.f_code
        package = _package(traceback.tb_frame)
        if package:
            inside = Path(code.co_filename).as_posix().rpartition(f"/{package}/")[2]
            place = f"{package}/{inside}:{traceback.tb_lineno} {code.co_name}"
        traceback = traceback.tb_next
    return place


def _refuses(error: Exception) -> bool:
    """Whether a ``raise`` statement of judged code, not an assertion, says in words what cannot work.

    A refusal is the one exception that is not a bug, so it must be told apart from every crash, in any release and without a
    list of messages, which would be out of date with the next one. Three things are true of all refusals that were met in
    PEFT, transformers and accelerate, and never together of a crash:

    * somebody wrote ``raise``. An error that comes out of an operation (an index, an attribute, torch's own checks) was not
      meant for a reader. Python does not say which it was, but the instruction that the frame stopped at does;
    * it stopped in a frame of theirs: what torch raises by ``raise`` is about shapes and devices, not about what may be asked;
    * the message names an argument, a feature or a class, since it has to say what is not to be had; or it says what to use.

    An ``assert`` is a ``raise`` too, and is excluded: it says what its author took for granted. So is an ImportError: something
    is broken or missing, which is no answer to what was asked. That no decoder layer has run
    is checked by the caller: whoever has begun to compute has not refused.
    """
    last = _last(error.__traceback__)
    if last is None or isinstance(error, (AssertionError, ImportError)) or not _may_refuse(last.tb_frame):
        return False
    raised = dis.opname[last.tb_frame.f_code.co_code[last.tb_lasti]] == "RAISE_VARARGS"
    # An argument, a feature or a class: `quoted`, snake_case, CamelCase or UPPER_CASE; or a method, of which some are one word;
    # or all methods at once, by what they have in common.
    named = r"`.+`|'\w+'|[a-z]+_[a-z]+|[A-Z][a-z]+[A-Z]\w+|[A-Z]+_[A-Z]+|[Pp]lease (?:use|specify) \w|prompt learning"
    return raised and (
        bool(re.search(named, str(error))) or not METHODS.keys().isdisjoint(re.findall(r"\w+", str(error)))
    )


def _may_refuse(frame: FrameType) -> bool:
    """Whether a ``raise`` there may be a refusal: in judged code, or in what refuses in its place."""
    return _package(frame) is not None or _module(frame).startswith(REFUSING)
