"""What several verbs share: options, and how they print."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from conformance.core.options import SET, Option, Taker, option_named, taken_by
from conformance.core.plain import plain


class Format(str, Enum):
    """For whom to print."""

    TEXT = "text"
    JSON = "json"


def _typer_option(option: Option, default: Any = ...) -> Any:
    if option.kind == "flag":
        return typer.Option(default is SET, f"--{option.name}", help=option.help)
    words = option.help + {"names": " or repeated", "files": "; may be repeated"}.get(option.kind, "")
    return typer.Option(default, f"--{option.name}", metavar=option.metavar, help=words)


FormatOption = Annotated[Format, typer.Option("--format", help="text for people, json for programs")]
KnownOption = Annotated[str | None, _typer_option(option_named("known"))]
DevicesOption = Annotated[str | None, _typer_option(option_named("devices"))]
FamilyFileOption = Annotated[list[Path] | None, _typer_option(option_named("family-file"))]


def takes_options(taker: Taker) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Let a command take all options that the table has for ``taker``; its parameter ``given`` is what was given for each."""
    table = taken_by(taker)

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def called(**values: Any) -> None:
            given = {option.name: _values(option, values.pop(option.parameter)) for option in table}
            command(given=given, **values)

        signature = inspect.signature(command, eval_str=True)
        parameters = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in signature.parameters.values()]
        place = list(signature.parameters).index("given")
        parameters[place : place + 1] = [_parameter(option) for option in table]
        called.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        called.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return called

    return decorate


def _parameter(option: Option) -> inspect.Parameter:
    made = _typer_option(option, option.default)
    kind = bool if option.kind == "flag" else list[str] | None if option.kind in ("names", "files") else str | None
    return inspect.Parameter(option.parameter, inspect.Parameter.KEYWORD_ONLY, default=made, annotation=kind)


def _values(option: Option, value: str | list[str] | bool | None) -> tuple[str, ...]:
    """One text for names however they were given, and for files absolute paths: children run in other folders."""
    if isinstance(value, bool):
        return (SET,) * value
    values = [value] if isinstance(value, str) else value or []
    if option.kind == "names":
        return (",".join(values),) if values else ()
    if option.kind in ("file", "files"):
        return tuple(text if text == "none" else str(Path(text).absolute()) for text in values)
    return tuple(values)


def say(text: str) -> None:
    """``text``, which may be from anybody's file, on standard output."""
    typer.echo(plain(text))


def print_json(value: Any) -> None:
    """``value`` as indented JSON on standard output."""
    typer.echo(plain(msgspec.json.format(msgspec.json.encode(value), indent=2).decode()))


def register_files(files: list[Path] | None) -> None:
    """Register family files of other repositories."""
    from conformance.families import register

    for file in files or ():
        register(file)
