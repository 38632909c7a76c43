"""Markdown pages: templates in which every value is escaped. The summary of a job is one of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cache
from itertools import accumulate
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from conformance.core.outcome import BROKEN, INCOMPLETE, TABLE, VIOLATES, Word
from conformance.report import phrases
from conformance.report.finding import link, repeat
from conformance.report.merged import Merged
from conformance.report.templating import templates

VIOLATIONS = 20
"""How many violations are shown; and as many known failures and broken results."""
VALUE = 800
"""Characters of one value that are shown."""
LINE = 6000
"""Characters of a line that repeats a violation; a longer one is left out, since half of it repeats nothing."""
TABLE_SIZE = 300_000
"""Bytes of the rows of a table. A summary that GitHub takes has less than 1 MiB."""
GRAVE = (BROKEN, INCOMPLETE, VIOLATES)


def summary_page(merged: Merged) -> str:
    """The summary of a job: which versions can be used, the table, the violations with a line that repeats each."""
    broken = [reason for reason in merged.undecided if reason.word == BROKEN]
    return markdown("summary.md.jinja", merged=merged, broken=broken)


def markdown(template: str, **values: Any) -> str:
    """The page that a template makes of ``values``. However many blank lines it leaves between two blocks, there is one."""
    text = _environment().get_template(template).render(values)
    return re.sub(r"\n{3,}", "\n\n", text.strip()) + "\n"


@cache
def _environment() -> Environment:
    made = templates(finalize=inline)
    made.filters.update(link=link, fence=fence, code=_code, limited=_limited)
    made.globals.update(repeat=repeat, legend=_legend, GRAVE=GRAVE, MOST=VIOLATIONS)
    return made


def inline(value: object) -> Markup:
    """``value`` on one line, clipped, nothing in it being a mark; what is Markdown already stays as it is."""
    return value if isinstance(value, Markup) else Markup(escape(phrases.clip(str(value), VALUE)))


def escape(text: str) -> str:
    """``text`` as Markdown shows it: on one line, nothing in it being a mark."""
    flat = " ".join(text.split())
    return re.sub(r"([\\`*\[<>|#~&$]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", flat)


def fence(lines: Iterable[str], language: str = "") -> Markup:
    """``lines`` as code, in a fence that none of them can close."""
    shown = [
        " ".join(line.splitlines()) if len(line) <= LINE else f"# a line of {len(line)} characters: the events have it"
        for line in lines
    ]
    marks = "`" * max(3, 1 + max(map(len, re.findall("`+", " ".join(shown))), default=0))
    return Markup("\n".join((marks + language, *shown, marks)))


def _code(text: str) -> Markup:
    """``text`` as code within a line, unless it has a mark that would end it."""
    return inline(text) if re.search(r"[`\n]", text) else Markup(f"`{text}`")


def _limited(table: str) -> str:
    """A table with as many of its rows as may be in a page."""
    lines = table.strip().split("\n")
    fitting = sum(used <= TABLE_SIZE for used in accumulate(len(row.encode()) for row in lines[2:]))
    left = len(lines) - 2 - fitting
    more = f"\n\nLeft out, since the table would be too long: the last {left} rows." if left else ""
    return "\n".join(lines[: 2 + fitting]) + more + "\n"


def _legend(merged: Merged) -> list[Word]:
    """The words that occur."""
    used = {word for report in merged.pairs for word in (report.word, *report.counts, *report.subjects)}
    return [row for word, row in TABLE.items() if word in used]
