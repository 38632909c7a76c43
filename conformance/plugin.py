"""pytest's face: ``pytest --conformance`` in any repository.

This module is imported in every pytest run of its host, so it imports nothing but pytest; the rest is in
:mod:`conformance.pytest_plugin`, which is imported when it is asked for.
"""

from __future__ import annotations

import pytest

OPTIONS = {
    "families": ("NAMES", "families to judge, separated by commas (default: all)"),
    "clauses": ("NAMES", "clauses, chapters or globs to judge, separated by commas (default: all)"),
    "methods": ("NAMES", "methods of PEFT to judge, separated by commas (default: PREFIX_TUNING, the only one so far)"),
    "profile": ("NAME", "quick, standard or thorough (default: quick)"),
    "examples": ("N", "examples per stratum of the search, in place of the profile's"),
    "seed": ("N", "seed of the search (default: 0)"),
    "time": ("TIME", "stop after 60s, 5m, 1h; what is left is not run, what is worth most comes first"),
    "known": ("FILE", "known-failures file, or none (default: the shipped one)"),
    "database": (
        "NAME",
        "earlier violations: none, local, redis://... or github:OWNER/REPOSITORY (default: local if thorough)",
    ),
    "devices": ("NAMES", "real devices for the chapter placement, such as cuda:0,cuda:1 (default: simulated ones)"),
    "report": ("FILE", "write events to FILE, as JSON lines"),
}
"""Options with one value, by what follows ``--conformance-``."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """All options, in one group."""
    group = parser.getgroup("conformance", "conformance of prompt learning in PEFT")
    group.addoption(
        "--conformance", action="store_true", help="judge the installed PEFT, in place of this repository's tests"
    )
    for name, (metavar, words) in OPTIONS.items():
        group.addoption(f"--conformance-{name}", metavar=metavar, default=None, help=words)
    group.addoption(
        "--conformance-family-file",
        metavar="FILE",
        action="append",
        default=[],
        help="register the family that this TOML file describes; may be repeated",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Do nothing unless asked."""
    option = config.option
    if option.conformance:
        from conformance.pytest_plugin.hooks import start

        start(config)
        return
    given = [f"--conformance-{name}" for name in OPTIONS if getattr(option, f"conformance_{name}") is not None]
    if option.conformance_family_file:
        given.append("--conformance-family-file")
    if given:
        raise pytest.UsageError(f"{given[0]} does nothing without --conformance: add it")
