"""A repository that uses the plugin, with miniatures in the place of clauses and lab."""

from __future__ import annotations

import os
from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
Consumer = Callable[..., pytest.RunResult]

KNOWN = (ROOT / "tests" / "miniature" / "known.toml").read_text("utf-8")
"""A known failure that still fails; :data:`MENDED` is one that does not."""
MENDED = KNOWN.replace("equal-lengths", "long-gone").replace("miniature.wrong", "miniature.holds")


@pytest.fixture
def consumer(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Consumer:
    """Run pytest, in a process of its own, in a repository that has one test of its own."""
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT / "tests" / "miniature"), str(ROOT), *inherited]))
    pytester.makepyfile(test_host="def test_of_the_host():\n    assert True\n")
    (pytester.path / "known.toml").write_text(KNOWN, "utf-8")
    (pytester.path / "mended.toml").write_text(MENDED, "utf-8")
    plugin = () if LOADED else ("-p", "conformance.plugin")

    def run(*arguments: str, known: str = "none") -> pytest.RunResult:
        return pytester.runpytest_subprocess(
            *plugin, "--conformance", "--conformance-known", known, "-p", "no:cacheprovider", *arguments
        )

    return run
