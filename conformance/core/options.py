"""The options of a run, each once. The command, ``matrix run``, the pytest plugin and the workflow are built from this table.

Imports the standard library only: every pytest run of a host imports it, and so does a script before anything is installed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

Taker = Literal["run", "matrix run", "pytest", "workflow", "soak"]
Given = Mapping[str, tuple[str, ...]]
"""The values that were given for each option, by its name; none where it was left out."""
SET = "set"
"""The value of a flag that was given."""


class Option(NamedTuple):
    """``--NAME`` of the command, ``--conformance-NAME`` of the plugin, and an input of the workflow, for its ``takers``.

    ``names`` are separated by commas, ``files`` may be given repeatedly, a ``flag`` has no value. ``default`` is the command's,
    where that is more than to leave the option out.
    """

    name: str
    metavar: str
    help: str
    takers: tuple[Taker, ...]
    kind: Literal["names", "text", "file", "files", "flag"] = "text"
    default: str | None = None

    @property
    def parameter(self) -> str:
        """The name as Python has it."""
        return self.name.replace("-", "_")


EVERYWHERE: tuple[Taker, ...] = ("run", "matrix run", "pytest", "workflow")
BY_HAND: tuple[Taker, ...] = ("run", "matrix run", "pytest")
SOAK: tuple[Taker, ...] = ("soak",)
COMMANDS: tuple[Taker, ...] = ("run", "matrix run")
ONE_RUN: tuple[Taker, ...] = ("run", "pytest")
OPTIONS = (
    Option("families", "NAMES", "families to judge (default: all), separated by commas", (*EVERYWHERE, *SOAK), "names"),
    Option(
        "clauses",
        "NAMES",
        "clauses, chapters or globs (default: all), separated by commas",
        (*EVERYWHERE, *SOAK),
        "names",
    ),
    Option("methods", "NAMES", "methods of PEFT (default: all), separated by commas", (*BY_HAND, *SOAK), "names"),
    Option("profile", "NAME", "quick (default), standard or thorough", (*EVERYWHERE, *SOAK)),
    Option(
        "examples",
        "N",
        "examples of each pair of classes, in place of the profile's; 1: of most",
        (*BY_HAND, *SOAK),
    ),
    Option("seed", "N", "seed of the search (default: 0)", (*EVERYWHERE, *SOAK)),
    Option("time", "TIME", "stop after 60s, 5m, 1h; what is left is not run", (*ONE_RUN, "workflow")),
    Option("known", "FILE", "known-failures file, or none (default: the shipped one)", EVERYWHERE, "file"),
    Option("mended", "", "judge with every known failure mended, and excuse none", BY_HAND, "flag"),
    Option("expect", "FILE", "what must be decided, or none (default: the shipped file of the pair)", ONE_RUN, "file"),
    Option(
        "database",
        "NAME",
        "earlier violations: none, local, redis://... or github:OWNER/REPOSITORY (default: local if thorough)",
        ONE_RUN,
    ),
    Option(
        "devices", "NAMES", "real devices for placed models, such as cuda:0,cuda:1 (default: simulated ones)", ONE_RUN
    ),
    Option("report", "FILE", "write events to FILE, as JSON lines", ONE_RUN, "file"),
    Option("workers", "N", "processes; auto is one a core where that pays", COMMANDS, default="auto"),
    Option("family-file", "FILE", "register the family that this TOML file describes", (*EVERYWHERE, *SOAK), "files"),
)


def taken_by(taker: Taker) -> tuple[Option, ...]:
    """The options of ``taker``, in the order of its help."""
    return tuple(option for option in OPTIONS if taker in option.takers)


def option_named(name: str) -> Option:
    """The option called ``name``."""
    return next(option for option in OPTIONS if option.name == name)


def value_of(given: Given, name: str) -> str | None:
    """The one value of an option; nothing where it was left out."""
    return next(iter(given.get(name, ())), None)


def arguments(given: Given, taker: Literal["run", "pytest"]) -> list[str]:
    """``given`` as arguments on the command line of ``taker``."""
    prefix = "--conformance-" if taker == "pytest" else "--"
    return [
        f"{prefix}{option.name}" if option.kind == "flag" else f"{prefix}{option.name}={value}"
        for option in taken_by(taker)
        for value in given.get(option.name, ())
    ]
