"""pytest's face: ``pytest --conformance`` in any repository.

This module is imported in every pytest run of its host, so it imports nothing but pytest and a table; the rest is in
:mod:`conformance.pytest_plugin`, which is imported when it is asked for.
"""

from __future__ import annotations

import pytest

from conformance.core.options import SET, Given, taken_by


def pytest_addoption(parser: pytest.Parser) -> None:
    """All options, in one group."""
    group = parser.getgroup("conformance", "conformance of prompt learning in PEFT")
    group.addoption(
        "--conformance", action="store_true", help="judge the installed PEFT, in place of this repository's tests"
    )
    for option in taken_by("pytest"):
        name, repeated = f"--conformance-{option.name}", option.kind == "files"
        if option.kind == "flag":
            group.addoption(name, action="store_const", const=SET, help=option.help)
            continue
        group.addoption(
            name,
            metavar=option.metavar,
            action="append" if repeated else "store",
            help=option.help + "; may be repeated" * repeated,
        )


def given_options(config: pytest.Config) -> Given:
    """What was given for each option."""
    values = {option.name: getattr(config.option, f"conformance_{option.parameter}") for option in taken_by("pytest")}
    return {name: (value,) if isinstance(value, str) else tuple(value or ()) for name, value in values.items()}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Do nothing unless asked."""
    if config.option.conformance:
        from conformance.pytest_plugin.hooks import begin_session

        begin_session(config, given_options(config))
        return
    for name, values in given_options(config).items():
        if values:
            raise pytest.UsageError(f"--conformance-{name} does nothing without --conformance: add it")
