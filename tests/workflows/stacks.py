"""The stacks of a night that is played: one of each end."""

from __future__ import annotations

import nox

CURRENT = ["current"]


@nox.session
@nox.parametrize("stack", [nox.param(name, id=name, tags=CURRENT) for name in ("fine", "red", "cut", "lost")])
def stack(session: nox.Session, stack: str) -> None:
    """Nothing: conformance.yml installs a stack by its group."""
