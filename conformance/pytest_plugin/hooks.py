"""One pytest session with ``--conformance``: what is collected, and what its reports carry."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from conformance.compat.versions import judged
from conformance.core.errors import UserError
from conformance.core.options import Given, value_of
from conformance.families import foreign
from conformance.families.presence import check_names
from conformance.pytest_plugin.items import ConformanceItem, collected_items
from conformance.pytest_plugin.reports import ReportListener
from conformance.session import time_budget
from conformance.session.recorder import SessionRecorder
from conformance.session.selection import Selection, devices_named, resolve
from conformance.worker import collector, scratch

LISTENER = "conformance-listener"
"""Name under which the controller's :class:`ReportListener` is registered."""


def begin_session(config: pytest.Config, given: Given) -> None:
    """Check the options and register the rest. A user's error is a usage error of pytest."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # before torch is imported, here or in a worker
    try:
        selection = resolve(given)
        if not hasattr(config, "workerinput"):
            report = value_of(given, "report")
            scratch.run_folder()  # one for all processes of this run
            devices_named(selection.devices)
            check_names(tuple(filter(None, map(foreign, selection.families))))
            time_budget.start_clock(selection.time, report)
            recorder = SessionRecorder(selection, None if config.option.collectonly else report)
            config.pluginmanager.register(ReportListener(recorder, config), LISTENER)
    except UserError as error:
        raise pytest.UsageError(str(error)) from error
    if config.args_source is not pytest.Config.ArgsSource.ARGS:
        config.args = []
    config.pluginmanager.register(Session(selection), "conformance-session")


class Session:
    """Hooks of every process, controller and worker."""

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    def pytest_report_header(self) -> str:
        """One line that says what is judged."""
        selection = self.selection
        return (
            f"conformance: judging {judged()}, {selection.profile} profile "
            f"({selection.budget.examples} examples of each pair of classes, seed {selection.budget.seed})"
        )

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(self, session: pytest.Session, items: list[pytest.Item]) -> None:
        """Add the items, before ``-k`` and the like choose among them."""
        added = collected_items(session, self.selection)
        items.extend(added)
        # what pytest itself says of collected items; without it the terminal would count none
        report = pytest.CollectReport(nodeid="", outcome="passed", longrepr=None, result=list(added))
        session.config.hook.pytest_collectreport(report=report)

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: object) -> object:
        """Spread items by what they share, where xdist was told to spread at all."""
        if config.getvalue("dist") not in ("load", "worksteal"):
            return None
        from conformance.pytest_plugin.spreading import Piece, Spreading, pieces_of

        pieces = pieces_of(self.selection)
        return Spreading(config, log, lambda name: pieces.get(name, Piece(name)))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self) -> Generator[None, object, object]:
        """Collect cycles seldom while items are judged, in a worker or here, and as before afterwards."""
        collector.calm()
        try:
            return (yield)
        finally:
            collector.restore()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Let the first report that follows an outcome carry it."""
        report = yield
        decisive = call.when == "call" or report.outcome != "passed"
        if isinstance(item, ConformanceItem) and item.event and decisive and not item.reported:
            item.reported = True
            report.conformance_event = item.event  # type: ignore[attr-defined]  # xdist carries it to the controller
        return report
