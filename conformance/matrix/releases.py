"""Which releases there are, as the index that uv is configured with has them for this Python."""

from __future__ import annotations

import sys

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.utils import canonicalize_name

from conformance.compat.versions import OLDEST, oldest_first
from conformance.core.errors import UserError
from conformance.matrix import uv


def specifier(package: str, text: str) -> SpecifierSet:
    """A range of releases, within the supported one; ``4.45.1`` and ``4.45.*`` mean exactly these.

    Raises :class:`~conformance.core.errors.UserError` if ``text`` is none.
    """
    try:
        wanted = SpecifierSet(f"=={text}" if text[:1].isdigit() else text)
    except InvalidSpecifier as error:
        raise UserError(
            "bad-range",
            f"{text!r} is not a range of releases of {package}",
            "a range is one release, or clauses as for pip (>=, <, ==, !=), separated by commas",
            "write it so, in quotes that keep the shell from reading < and >",
        ) from error
    return wanted & SpecifierSet(f">={OLDEST[package]}")


def releases(package: str, text: str, pre: bool = False) -> tuple[str, ...]:
    """The releases of ``package`` in the range ``text``, oldest first; yanked ones and, unless ``pre``, previews left out.

    uv is asked for the newest, then for the newest but that one, and so on: about 0.15 s each, and it is uv that knows
    which index is meant, what is yanked, and what this Python can have. Raises
    :class:`~conformance.core.errors.UserError` where there is none, and where the index cannot be reached.
    """
    wanted, in_range = specifier(package, text), list[str]()
    while (newest := _newest(package, wanted, in_range, pre)) is not None:
        in_range.append(newest)
    if not in_range:
        raise UserError(
            "no-release",
            f"the index has no release of {package} in the range {text!r}",
            f"the range, from {package} {OLDEST[package]} up, is empty for this Python, or holds pre-releases only",
            "widen it, or ask for pre-releases with --pre",
        )
    return tuple(oldest_first(in_range))


def _newest(package: str, wanted: SpecifierSet, but: list[str], pre: bool) -> str | None:
    line = package + ",".join([str(wanted), *(f"!={release}" for release in but)])
    arguments = ("pip", "compile", "--no-deps", "--no-header", "--no-annotate", "--python", sys.executable)
    allowed = "allow" if pre or wanted.prereleases else "disallow"
    try:
        output = uv.run_uv(*arguments, "--prerelease", allowed, "-", stdin=line)
    except uv.Unsolvable:
        return None
    except uv.Unreachable as error:
        raise UserError(
            "no-index",
            f"the releases of {package} cannot be read: {error}",
            "uv was asked twice for what the package index has",
            "see that uv reaches the index, as pip does: it reads UV_DEFAULT_INDEX, UV_FIND_LINKS and its own files",
        ) from error
    name, _, release = output.strip().partition("==")
    assert canonicalize_name(name) == package, output
    return release
