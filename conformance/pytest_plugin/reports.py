"""What the controller, or the only process, makes of pytest's reports."""

from __future__ import annotations

import msgspec
import pytest

from conformance.core.outcome import NOT_RUN
from conformance.core.plain import plain
from conformance.session.events import Judged, Replayed
from conformance.session.exit_codes import MEANING
from conformance.session.recorder import SessionRecorder

CRASHED = "the worker process that judged it died"


class ReportListener:
    """Tells pytest's reports to the :class:`~conformance.session.recorder.SessionRecorder` of a session. Imports no torch."""

    def __init__(self, recorder: SessionRecorder, config: pytest.Config) -> None:
        self.recorder, self.config = recorder, config
        self.aborted = False
        self._decoder = msgspec.json.Decoder(Judged | Replayed)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Without workers: the items that are left after ``-k``."""
        self.recorder.plan([item.nodeid for item in session.items])

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: list[str]) -> None:
        """With workers: every worker collects the same."""
        self.recorder.plan(ids)

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """An item begins, here or in a worker."""
        self.recorder.start(nodeid)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Record the outcome that a report carries; a worker's death is one, too."""
        carried = getattr(report, "conformance_event", None)
        if carried is not None:
            self.recorder.record(self._decoder.decode(carried))
        elif self.recorder.awaited(report.nodeid) and (report.failed or report.when == "teardown"):
            of_item = report.when in ("setup", "call", "teardown")
            self.recorder.record_broken(report.nodeid, str(report.longrepr or "no outcome") if of_item else CRASHED)

    def pytest_keyboard_interrupt(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """Ctrl-C leaves no footer; a stop that ``-x`` asked for is no interruption."""
        self.aborted |= excinfo.type is KeyboardInterrupt

    def pytest_internalerror(self) -> None:
        """An error of pytest itself leaves no footer."""
        self.aborted = True

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """End the events with a footer, unless the run was cut short."""
        option = self.config.option
        if self.aborted or option.collectonly:
            return
        self.recorder.finish(stopped=bool(option.maxfail) and session.testsfailed >= option.maxfail)
        # Skips are no failures to pytest. That nothing, or too little, was tested is one to us.
        if self.recorder.footer and self.recorder.footer.exit_code and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if self.recorder.unwritten:
            session.exitstatus = pytest.ExitCode.INTERNAL_ERROR

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """What the reports of items do not say: where less was tested than expected, and what else is to be noted."""
        footer = self.recorder.footer
        if footer and (footer.short or footer.partial):
            terminalreporter.section(f"conformance: {MEANING[5]}", red=True)
            left = f"{footer.counts.get(NOT_RUN, 0)} items were not run"
            for words in [*[left] * footer.partial, *footer.short]:
                terminalreporter.write_line(plain(words))
        for note in self.recorder.run().notes:
            terminalreporter.write_line(plain(f"conformance: {note}"), red=True)

    def pytest_unconfigure(self) -> None:
        """Close the events file."""
        self.recorder.close()
