"""Try a pair, in a process that sees it, and say why its two releases cannot meet, if so.

``python -m conformance.matrix.import_check FILE`` writes into the file why not, or nothing. Only what cannot be imported counts;
whatever else goes wrong is for the clauses to find.
"""

from __future__ import annotations

import re
import sys
import warnings
from pathlib import Path

from conformance.core.signals import RunFailed


def reason() -> str:
    """Why the two cannot meet, if so."""
    try:
        import peft  # noqa: F401 - it imports transformers
    except Exception as error:
        return _words(error)
    from conformance.core.case import Case
    from conformance.runs.lab import Lab

    try:
        Lab().new_subject(Case(family="llama"))
    except RunFailed as failed:  # some import the other one only when they are used
        return _words(failed.error) if isinstance(failed.error, ImportError) else ""
    return ""


def _words(error: BaseException) -> str:
    """The exception in words, without the places that are of this machine only."""
    text = re.sub(r" \((/|[A-Z]:)[^)]*\)", "", " ".join(str(error).split()))
    return f"{type(error).__name__}: {text}"


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    Path(sys.argv[1]).write_text(reason(), "utf-8")
