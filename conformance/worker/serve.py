"""The child's side of the pipe: ``python -m conformance.worker.serve``. Answers calls until the pipe is closed."""

from __future__ import annotations

import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pkgutil import resolve_name
from typing import Any, get_type_hints

import msgspec
from msgspec import Raw

from conformance.core.errors import UserError
from conformance.worker import collector
from conformance.worker.environment import CHANNEL, MEMORY, STACK, STARTUP, contradiction, follow_view
from conformance.worker.messages import Answer, Call, Problem

PR_SET_PDEATHSIG = 1
"""Linux's number for "send me this signal when my parent dies"."""


def limit_memory(size: int) -> None:
    """No more than ``size`` bytes of data from now on, where this system can say so."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def end_with_parent() -> None:
    """Let the kernel end this process when its parent is gone, however it went, where this system can: it may hang by then."""
    if sys.platform != "linux":
        return
    with suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def tell_where_it_is_when_asked() -> None:
    """On a signal, write the stack into the file that the parent named: it asks before it ends a process that hangs."""
    with suppress(ImportError, OSError, AttributeError, KeyError):
        import faulthandler

        faulthandler.register(signal.SIGUSR1, open(os.environ[STACK], "w"), all_threads=False)  # noqa: SIM115 - kept open


def answer(call: Call) -> Answer:
    """Call the function that is named, on the record that is given."""
    try:
        if failed := _start_up():
            raise failed
        function = resolve_name(call.function)
        record = msgspec.json.decode(call.record, type=_parameter(function))
        value = function(record)
        if why := contradiction():
            return Answer(problem=Problem(why))
        return Answer(Raw(msgspec.json.encode(value)))
    except UserError as error:
        return Answer(problem=Problem(error.message, error.code, error.cause, error.cure))
    except Exception as error:
        return Answer(problem=Problem("".join(traceback.format_exception(error, limit=-4)).strip()))


@cache
def _start_up() -> Exception | None:
    """What has to come before everything else, once. Where it fails, that is the answer to every call."""
    try:
        if why := contradiction():
            return UserError(
                "other-package",
                why,
                "children do not look into the folder in which the command runs, and a verdict is about one installation",
                "run it in another folder, or remove what lies there under that name",
            )
        if startup := os.environ.get(STARTUP):
            resolve_name(startup)()
    except Exception as error:
        return error
    return None


def _parameter(function: Any) -> Any:
    """The type of the one parameter."""
    hints = get_type_hints(function)
    return next(hint for name, hint in hints.items() if name != "return")


def serve() -> None:
    """Answer until nobody can ask any more."""
    warnings.simplefilter("ignore")
    collector.calm()
    follow_view()
    end_with_parent()
    tell_where_it_is_when_asked()
    if os.environ.get(MEMORY):
        limit_memory(int(os.environ[MEMORY]))
    serve_on(Connection(int(os.environ[CHANNEL])))


def serve_on(pipe: Connection) -> None:
    """Answer calls on ``pipe`` until it is closed."""
    decoder = msgspec.json.Decoder(Call)
    with suppress(EOFError, OSError, KeyboardInterrupt):
        while True:
            pipe.send_bytes(msgspec.json.encode(answer(decoder.decode(pipe.recv_bytes()))))


if __name__ == "__main__":
    serve()
