"""How the templates of all pages are read: every value is escaped, and a name that is not there is an error."""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from conformance.core.outcome import title
from conformance.report import phrases, sentences


def templates(**settings: Any) -> Environment:
    """The folder of templates, with what all of them may call; ``settings`` are Jinja's."""
    made = Environment(
        loader=PackageLoader("conformance.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **settings,
    )
    made.filters["named"] = title
    made.globals.update(phrases=phrases, sentences=sentences)
    return made
