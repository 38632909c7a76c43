"""The consumer's own conftest: sees to it that a run of its own tests never loads what only a conformance run needs."""

from __future__ import annotations

import sys

import pytest

HEAVY = {"torch", "transformers", "peft", "hypothesis", "msgspec", "conformance.engine.search"}


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Refuse the run if something heavy was imported without being asked for."""
    loaded = sorted(HEAVY & sys.modules.keys())
    if loaded and not session.config.getoption("--conformance"):
        raise pytest.UsageError(f"imported in a run that did not ask for it: {', '.join(loaded)}")
