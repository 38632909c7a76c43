"""Run pytest as ``run`` wants it: with our reporter, deaf to the caller's pytest.ini, conftest.py and plugins."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from conformance.core.errors import UserError

if TYPE_CHECKING:
    from conformance.session.events import Run


def launch(given: Mapping[str, str | None], family_files: Sequence[Path], workers: int, exitfirst: bool) -> Run | None:
    """Run it, and give what it added up to; nothing after wrong use, which pytest has said by then.

    Prints progress to standard error.
    """
    import pytest

    from conformance.cli.live import Live

    _deafen()
    live = Live()
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        code = pytest.main(
            [*_isolation(Path(folder)), *_arguments(given, family_files, workers, exitfirst)], plugins=[live]
        )
    if live.ledger:
        return live.ledger.run()
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
    return [
        "-c",
        str(config),
        "--rootdir",
        str(folder),
        "--noconftest",
        "-p",
        "no:cacheprovider",
        "-p",
        "conformance.plugin",
    ]


def _arguments(
    given: Mapping[str, str | None], family_files: Sequence[Path], workers: int, exitfirst: bool
) -> list[str]:
    arguments = [
        "--conformance",
        *(f"--conformance-{name}={value}" for name, value in given.items() if value is not None),
    ]
    arguments += [f"--conformance-family-file={file}" for file in family_files]
    if exitfirst:
        arguments.append("--exitfirst")
    if workers:
        if find_spec("xdist") is None:
            raise UserError(
                "missing-package",
                "pytest-xdist is not installed here",
                "it runs the workers",
                "pip install pytest-xdist, or --workers 0",
            )
        arguments += ["-p", "xdist.plugin", "--numprocesses", str(workers), "--dist", "worksteal"]
    return arguments
