"""The command's face: ``peft-conformance``, a file per verb. Nothing here imports torch before it has to."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """The console script. Exits 2 on a user's error, and 3, never 1, when something of ours breaks."""
    from conformance.cli.streams import ended_as_interrupted, own_streams

    with own_streams(), ended_as_interrupted():
        try:
            _main(arguments)
        except KeyboardInterrupt:
            sys.exit(3)


def _main(arguments: Sequence[str] | None) -> None:
    from conformance.core.errors import UserError

    try:
        from conformance.cli.app import app
    except ModuleNotFoundError as missing:
        if (missing.name or "conformance").partition(".")[0] == "conformance":
            traceback.print_exc()
            sys.exit(3)
        sys.exit(_without(missing.name or ""))
    try:
        app(arguments, prog_name="peft-conformance")
    except UserError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(3)


def _without(name: str) -> int:
    from conformance.core.errors import UserError

    error = UserError(
        "missing-package",
        f"{name} is not installed here",
        "the command needs the extra `cli`; the pytest plugin does not",
        "pip install 'peft-conformance[cli]'",
    )
    print(error, file=sys.stderr)
    return 2
