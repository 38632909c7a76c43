"""The plugin does nothing and weighs nothing until it is asked."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conformance.core.options import taken_by

ROOT = Path(__file__).parents[2]


def test_a_bare_run_imports_nothing_of_ours(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    pytester.makepyfile(
        """
        import os, sys

        def test_modules():
            heavy = {"torch", "transformers", "peft", "hypothesis", "msgspec", "rich", "typer"}
            assert heavy & set(sys.modules) == set()
            ours = {name for name in sys.modules if name.startswith("conformance.")}
            assert ours == {"conformance.plugin", "conformance.core", "conformance.core.options"}
            assert os.environ.get("OMP_NUM_THREADS") == "before"
        """
    )
    monkeypatch.setenv("OMP_NUM_THREADS", "before")
    result = pytester.runpytest_subprocess("-p", "conformance.plugin")
    result.assert_outcomes(passed=1)


def test_options_without_the_switch_are_refused_rather_than_ignored(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT)]))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    result = pytester.runpytest_subprocess("-p", "conformance.plugin", "--conformance-families", "llama")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--conformance-families does nothing without --conformance*"])


def test_all_options_are_in_one_group(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    lines = pytester.runpytest_subprocess("-p", "conformance.plugin", "--help").outlines
    start = lines.index("conformance of prompt learning in PEFT:")
    end = lines.index("", start)
    ours = [line.split()[0].partition("=")[0] for line in lines if line.startswith("  --conformance")]
    assert sorted(ours) == sorted(["--conformance", *(f"--conformance-{option.name}" for option in taken_by("pytest"))])
    assert all(start < i < end for i, line in enumerate(lines) if line.startswith("  --conformance"))
