"""What several verbs share: options, and how they print."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer


class Format(str, Enum):
    """For whom to print."""

    TEXT = "text"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]
KnownOption = Annotated[
    str | None, typer.Option("--known", metavar="FILE", help="known-failures file, or none (default: the shipped one)")
]
DevicesOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES", help="real devices for placed models, such as cuda:0,cuda:1 (default: simulated ones)"
    ),
]
FamilyFileOption = Annotated[
    list[Path] | None,
    typer.Option("--family-file", metavar="FILE", help="register the family this TOML file describes; may be repeated"),
]


def print_json(value: Any) -> None:
    """``value`` as indented JSON on standard output."""
    typer.echo(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def register(files: list[Path] | None) -> None:
    """Register family files of other repositories."""
    from conformance.families import register as add

    for file in files or ():
        add(file)
