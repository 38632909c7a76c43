"""What ``run`` shows while it runs: on a terminal one line that moves, elsewhere one line per item."""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING, TextIO

import pytest
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from conformance.cli.streams import forgiving
from conformance.core.finding import Cell
from conformance.pytest_plugin.hooks import LISTENER
from conformance.session.exit_codes import counts

if TYPE_CHECKING:
    from conformance.session.recorder import SessionRecorder


class Live:
    """A pytest plugin, in the place of pytest's own terminal reporter."""

    def __init__(self) -> None:
        self.recorder: SessionRecorder | None = None
        self._file = _beyond_capture()
        self._console = Console(file=self._file, highlight=False, soft_wrap=True)
        self._progress = Progress(
            SpinnerColumn(),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
            console=self._console,
            disable=not self._console.is_terminal,
            transient=True,
        )
        self._task = self._progress.add_task("importing", total=None)
        self._printed: set[str] = set()

    @pytest.hookimpl(trylast=True)
    def pytest_configure(self, config: pytest.Config) -> None:
        """Take the terminal."""
        self.recorder = config.pluginmanager.getplugin(LISTENER).recorder
        config.pluginmanager.unregister(name="terminalreporter")
        self._progress.update(self._task, total=len(self.recorder.items()))
        self._progress.start()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logstart(self) -> None:
        """Say what is being judged now."""
        self._refresh()

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logreport(self) -> None:
        """Count what has been judged; the recorder has the outcome by then."""
        self._refresh()

    def pytest_internalerror(self, excrepr: object) -> None:
        """Nobody else would say it."""
        self._console.print(str(excrepr), markup=False)

    def pytest_unconfigure(self) -> None:
        """Give the terminal back."""
        self._progress.stop()
        self._file.flush()

    def _refresh(self) -> None:
        if self.recorder is None:
            return
        run = self.recorder.run()
        done = len(run.cells) + len(run.known)
        tally = ", ".join(f"{number} {name}" for name, number in counts(run.cells).items())
        now = " ".join(run.running)
        self._progress.update(self._task, completed=done, description=f"{now}  ({tally})" if tally else now)
        if self._progress.disable:
            self._lines(
                {str(cell.item): _summary(cell) for cell in run.cells}
                | {replay.item: replay.state for replay in run.known}
            )

    def _lines(self, outcomes: dict[str, str]) -> None:
        total = len(self.recorder.items()) if self.recorder else 0
        for item, outcome in outcomes.items():
            if item not in self._printed:
                self._printed.add(item)
                self._console.print(
                    f"[{len(self._printed):>{len(str(total))}}/{total}] {item}: {outcome}", markup=False
                )


def _summary(cell: Cell) -> str:
    if cell.verdict is None:
        return cell.word
    return f"{cell.word} ({sum(cell.verdict.counts.values())} examples, {cell.verdict.cpu_seconds:.1f} s CPU)"


def _beyond_capture() -> TextIO:
    """Standard error as it is now: pytest is about to capture the file descriptor while items run."""
    try:
        told = os.fdopen(os.dup(sys.stderr.fileno()), "w", encoding=sys.stderr.encoding, errors="replace")
        return forgiving(told, errno.ENOSPC, errno.EIO)
    except (OSError, ValueError, AttributeError):
        return sys.stderr
