"""What all tests need: pytest's own plugin for testing plugins, and the choice of those that are light."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]
LIGHT = "light"


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With ``-m light`` other files are not even imported: importing torch is most of what they would cost."""
    if config.option.markexpr != LIGHT or collection_path.name == "conftest.py":
        return None
    files = collection_path.rglob("test_*.py") if collection_path.is_dir() else [collection_path]
    return not any(f"pytest.mark.{LIGHT}" in file.read_text("utf-8") for file in files) or None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A light test that imports torch is none."""
    import sys

    if session.config.option.markexpr == LIGHT and "torch" in sys.modules:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("torch was imported: a test that is marked light is none")
