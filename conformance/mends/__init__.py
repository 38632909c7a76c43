"""Mends: small patches of judged functions, one per known failure, under which its Cases conform.

A mend proves the reason that a known failure gives, and tells one bug from another: a violation is known only if the same Case
conforms with the mend in force. So a mend changes what its function is given or gives, and still calls the function: another
bug in the same place must stay visible under it. It is a context manager without arguments, works for any model and any Case, and
leaves alone what it is not about.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pkgutil import resolve_name
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from conformance.runs.subject import Subject

FOUND_BY = "conformance.mends:mended_maker"
Mends = Mapping[str, str]
"""The mends in force, as ``module:function``, by the known failures that they mend."""


INNERMOST = {"conformance.mends.generating:as_many_tokens_as_are_verified"}
"""Mends of what tokens are read: those that make a mask for these tokens are around them, in whichever order they were found."""


@contextmanager
def in_force(mends: Mends) -> Iterator[None]:
    """Within the block all of ``mends`` are in force, one inside the other in their order, but for the innermost; each once."""
    with ExitStack() as stack:
        for function in sorted(dict.fromkeys(mends.values()), key=lambda function: function not in INNERMOST):
            stack.enter_context(resolve_name(function)())
        yield


def mended(maker: type[Subject], mends: Mends, names: tuple[str, ...]) -> type[Subject]:
    """``maker`` with its mends, such that another process finds it; ``names`` is what reports say is mended.

    Its subjects are made and run only where the mends are :func:`in_force`.
    """
    functions = ",".join(dict.fromkeys(mends.values()))
    name = f"{functions} {maker.found_by} {maker.maker}"
    return type(f"Mended{maker.__name__}", (maker,), {"maker": name, "found_by": FOUND_BY, "mended": names})


@contextmanager
def mended_maker(name: str) -> Iterator[type[Subject]]:
    """The maker that :func:`mended` has named, with its mends in force."""
    functions, found_by, inner = name.split(" ", 2)
    with resolve_name(found_by)(inner) as maker, in_force({function: function for function in functions.split(",")}):
        yield maker
