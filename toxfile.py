"""Tells tox of the stacks: the dependency groups of pyproject.toml, which are written down nowhere else."""

from __future__ import annotations

import sys
from pathlib import Path

from tox.plugin import impl

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@impl
def tox_extend_envs() -> tuple[str, ...]:
    """The environments that tox.ini does not name."""
    groups = tomllib.loads(Path(__file__).with_name("pyproject.toml").read_text("utf-8"))["dependency-groups"]
    return tuple(name for name in groups if name.startswith("stack-"))
