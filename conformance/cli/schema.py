"""``peft-conformance schema``."""

from __future__ import annotations

from enum import Enum

from conformance.cli.common import print_json


class What(str, Enum):
    """What has a schema."""

    CASE = "case"
    EVENTS = "events"


def print_schema(what: What) -> None:
    """Print the JSON schema of a Case, or of one line of an events file."""
    from conformance.session.events import schema

    print_json(schema(what.value))
