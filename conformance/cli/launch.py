"""Run pytest as ``run`` wants it: with our reporter, in so many processes, deaf to the caller's pytest.ini and plugins."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.core.errors import UserError
from conformance.core.options import Given, arguments
from conformance.worker import scratch

if TYPE_CHECKING:
    from conformance.session.events import Run


ITEMS_PER_WORKER = 20
"""To judge so many takes the CPU time that one more worker costs: its imports, and models that are built twice; 6 to 8 s."""

WORKERS_ANYWHERE = 16
"""So many workers may be asked for on the smallest machine: tests of the harness do."""


def launch(given: Given, workers: int, exitfirst: bool) -> Run | None:
    """Run it, and give what it added up to; nothing after wrong use, which pytest has told by then.

    Prints progress to standard error.
    """
    import pytest

    from conformance.cli.live import Live

    _deafen()
    live = Live()
    code = pytest.main([*_isolation(scratch.run_folder()), *_arguments(given, workers, exitfirst)], plugins=[live])
    if live.recorder:
        return live.recorder.run()
    if code != pytest.ExitCode.USAGE_ERROR:
        raise RuntimeError(f"pytest ended with {code!r} before anything was judged")
    return None


def _deafen() -> None:
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    # Hypothesis keeps what it learns about sources; not in the caller's folder.
    os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(Path(tempfile.gettempdir()) / "conformance-hypothesis"))
    for name in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS"):
        os.environ.pop(name, None)


def _isolation(folder: Path) -> list[str]:
    config = folder / "pytest.ini"
    config.write_text("[pytest]\n", "utf-8")
    plugins = ("-p", "no:cacheprovider", "-p", "conformance.plugin")
    return ["-c", str(config), "--rootdir", str(folder), "--noconftest", *plugins]


def _arguments(given: Given, workers: int, exitfirst: bool) -> list[str]:
    several = ["-p", "xdist.plugin", "--numprocesses", str(workers), "--dist", "worksteal"] if workers else []
    return ["--conformance", *arguments(given, "pytest"), *["--exitfirst"] * exitfirst, *several]


def cores() -> int:
    """How many processes can really run at once."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def most_workers() -> int:
    """So many workers may be asked for: more would only take each other's time and memory."""
    return max(WORKERS_ANYWHERE, 4 * cores())


def has_xdist() -> bool:
    """Whether pytest-xdist is here, which runs the workers."""
    return find_spec("xdist") is not None


def worker_count(given: Given, items: int) -> int:
    """How many workers are asked for: a number, or ``auto``, which looks at how many items there are. 0 is this process alone.

    Raises :class:`~conformance.core.errors.UserError` for anything else, and for workers that nothing here can run.
    """
    (text,) = given["workers"]
    if text == "auto":
        workers = min(cores(), items // ITEMS_PER_WORKER) if has_xdist() else 0
        return workers if workers > 1 else 0
    if not text.isascii() or not text.isdigit():
        raise UserError(
            "bad-workers",
            f"{text!r} is not a number of workers",
            "workers are a whole number from 0 up, or auto",
            "give such a number; 0 judges in one process",
        )
    if len(text) > len(str(most_workers())) or int(text) > most_workers():
        raise UserError(
            "bad-workers",
            f"{text[:20]} workers are more than this machine can use",
            f"it has {cores()} cores; every worker imports torch anew, and takes half a gigabyte",
            f"give at most {most_workers()}, or auto",
        )
    if int(text) and not has_xdist():
        raise UserError(
            "missing-package",
            "pytest-xdist is not installed here",
            "it runs the workers",
            "pip install pytest-xdist, or --workers 0",
        )
    return int(text)
