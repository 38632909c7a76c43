"""One table of options, and all that is built from it."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from conformance import plugin
from conformance.cli.app import app
from conformance.cli.common import takes_options
from conformance.core import options
from conformance.core.options import OPTIONS, SET, Given, Option, Taker, arguments, option_named, taken_by, value_of

pytestmark = pytest.mark.light

EXTRA = {
    "run": {"exitfirst", "format"},
    "matrix run": {"peft", "transformers", "out", "limit", "store", "pre", "dry_run", "format"},
}
"""What a command takes beside the options of the table."""
DTYPE = Option("draw-dtype", "NAME", "a new option", options.EVERYWHERE)


class Group:
    """Takes the options of the plugin as pytest does, and reads a command line."""

    def __init__(self) -> None:
        self.parser = argparse.ArgumentParser()
        plugin.pytest_addoption(self)  # type: ignore[arg-type]

    def getgroup(self, name: str, description: str) -> Group:
        return self

    def addoption(self, *names: str, **about: Any) -> None:
        self.parser.add_argument(*names, **about)

    def read(self, *line: str) -> Given:
        config = argparse.Namespace(option=self.parser.parse_args(line))
        return plugin.given_options(config)  # type: ignore[arg-type]


def command(taker: Taker) -> tuple[typer.Typer, list[Given]]:
    """A command that takes the options of ``taker``, and what it is given."""
    received: list[Given] = []
    made = typer.Typer()

    @made.command()
    @takes_options(taker)
    def verb(given: Given, other: int = 3) -> None:
        received.append({**given, "other": (str(other),)})

    return made, received


def test_every_option_has_a_name_of_its_own() -> None:
    assert len({option.name for option in OPTIONS}) == len(OPTIONS)
    assert all(option.takers for option in OPTIONS)
    assert [option_named(option.name) for option in OPTIONS] == list(OPTIONS)


@pytest.mark.parametrize("taker", ["run", "matrix run"])
def test_the_command_takes_what_the_table_has_for_it(taker: Taker) -> None:
    found: Any = typer.main.get_command(app)
    for name in taker.split():
        found = found.commands[name]
    assert {parameter.name for parameter in found.params} - EXTRA[taker] == {o.parameter for o in taken_by(taker)}
    for option in taken_by(taker):
        (parameter,) = (one for one in found.params if one.name == option.parameter)
        assert parameter.opts == [f"--{option.name}"]
        assert option.kind == "flag" or parameter.metavar == option.metavar
        assert parameter.help.startswith(option.help)


def test_what_is_not_given_has_no_value_or_the_default() -> None:
    made, received = command("run")
    assert CliRunner().invoke(made, []).exit_code == 0
    (given,) = received
    assert {name: values for name, values in given.items() if values} == {"workers": ("auto",), "other": ("3",)}
    assert value_of(given, "seed") is None


def test_names_may_be_repeated_and_files_are_where_the_command_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    made, received = command("run")
    line = "--families a,b --families c --known k.toml --family-file one.toml --family-file two.toml --seed 1 --other 4"
    assert CliRunner().invoke(made, line.split()).exit_code == 0
    given = received[0]
    assert given["families"] == ("a,b,c",)
    assert given["known"] == (str(tmp_path / "k.toml"),)
    assert given["family-file"] == (str(tmp_path / "one.toml"), str(tmp_path / "two.toml"))
    assert (given["seed"], given["other"]) == (("1",), ("4",))
    CliRunner().invoke(made, ["--known", "none", "--families", ""])
    assert (received[1]["known"], received[1]["families"]) == (("none",), ("",))


@pytest.mark.parametrize("taker", ["run", "pytest"])
def test_what_is_given_is_given_on(taker: Any, read: dict[str, Callable[[list[str]], Given]]) -> None:
    given = {
        option.name: {"files": ("/one", "/two"), "file": ("/none",), "flag": (SET,)}.get(option.kind, ("3",))
        for option in taken_by(taker)
    }
    assert read[taker](arguments(given, taker)) == given


@pytest.fixture
def read() -> dict[str, Callable[[list[str]], Given]]:
    """How each taker reads its command line."""

    def by_command(line: list[str]) -> Given:
        made, received = command("run")
        assert CliRunner().invoke(made, line).exit_code == 0
        return {name: values for name, values in received[0].items() if name != "other"}

    return {"run": by_command, "pytest": lambda line: Group().read(*line)}


@pytest.mark.parametrize("taker", ["run", "pytest"])
def test_a_new_option_is_a_line_of_the_table(
    monkeypatch: pytest.MonkeyPatch, taker: Any, read: dict[str, Callable[[list[str]], Given]]
) -> None:
    monkeypatch.setattr(options, "OPTIONS", (*OPTIONS, DTYPE))
    line = arguments({DTYPE.name: ("float16",)}, taker)
    assert line == [f"--{'conformance-' if taker == 'pytest' else ''}draw-dtype=float16"]
    assert value_of(read[taker](line), DTYPE.name) == "float16"
