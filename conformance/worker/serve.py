"""The child's side of the pipe: ``python -m conformance.worker.serve``. Answers calls until the pipe is closed."""

from __future__ import annotations

import os
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
from conformance.worker.child import Answer, Call, Problem
from conformance.worker.environment import CHANNEL, MEMORY, STARTUP


def limit_memory(size: int) -> None:
    """No more than ``size`` bytes of data from now on, where this system can say so."""
    with suppress(ImportError, ValueError, OSError):
        import resource

        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        most = size if hard == resource.RLIM_INFINITY else min(size, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def answer(call: Call) -> Answer:
    """Call the function that is named, on the record that is given."""
    try:
        if failed := _start_up():
            raise failed
        function = resolve_name(call.function)
        record = msgspec.json.decode(call.record, type=_parameter(function))
        return Answer(Raw(msgspec.json.encode(function(record))))
    except UserError as error:
        return Answer(problem=Problem(error.message, error.code, error.cause, error.cure))
    except Exception as error:
        return Answer(problem=Problem("".join(traceback.format_exception(error, limit=-4)).strip()))


@cache
def _start_up() -> Exception | None:
    """What has to come before everything else, once. Where it fails, that is the answer to every call."""
    try:
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
    if os.environ.get(MEMORY):
        limit_memory(int(os.environ[MEMORY]))
    pipe = Connection(int(os.environ[CHANNEL]))
    decoder = msgspec.json.Decoder(Call)
    with suppress(EOFError, OSError):
        while True:
            pipe.send_bytes(msgspec.json.encode(answer(decoder.decode(pipe.recv_bytes()))))


if __name__ == "__main__":
    serve()
