"""What a planted fault is, and the registry of all of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

from msgspec import Struct

from conformance.clauses.registry import Check
from conformance.core.errors import unknown
from conformance.methods.reference import ReferencePrefix
from conformance.runs.subject import MAKERS, ReferenceSubject, Subject

Fired = Callable[[], None]
"""A patch calls it when it runs: a fault whose patch never fired was not tested."""


class Planted(ReferencePrefix):
    """The base of reference wrappers that do one thing wrong."""

    @staticmethod
    def fired() -> None:
        """The fault takes effect now; replaced while it is in force."""


Wrapper = TypeVar("Wrapper", bound=type[Planted])
Patch = TypeVar("Patch", bound=Callable[[Fired], AbstractContextManager[Any]])


class Fault(Struct, frozen=True, kw_only=True):
    """One planted bug.

    ``clause`` is the clause that must find it, in ``family``; ``weaker``, for fine faults, is a check one might have written
    instead, which does *not* find it. ``maker`` is ``reference`` or ``peft``; ``planted`` puts the bug in force and gives the
    maker of subjects that has it.
    """

    id: str
    statement: str
    clause: str
    family: str
    maker: str
    planted: Callable[[Fired], AbstractContextManager[type[Subject]]]
    weaker: Check | None = None


_faults: dict[str, Fault] = {}


def in_reference(*, clause: str, family: str = "llama", weaker: Check | None = None) -> Callable[[Wrapper], Wrapper]:
    """Register a subclass of the reference wrapper that does one thing wrong; its docstring says what.

    The overriding methods call ``self.fired()`` where the bug takes effect.
    """

    def register(wrapper: Wrapper) -> Wrapper:
        name = _name(wrapper.__name__)

        @contextmanager
        def planted(fired: Fired) -> Iterator[type[Subject]]:
            broken = type(wrapper.__name__, (wrapper,), {"fired": staticmethod(fired)})
            yield type("Faulty", (ReferenceSubject,), {"wrapper": broken, "maker": f"reference+{name}"})

        _add(name, wrapper, clause, family, "reference", planted, weaker)
        return wrapper

    return register


def in_peft(*, clause: str, family: str = "llama", weaker: Check | None = None) -> Callable[[Patch], Patch]:
    """Register a context manager that patches PEFT or transformers at run time; its docstring says what goes wrong."""

    def register(patch: Patch) -> Patch:
        name = patch.__name__

        @contextmanager
        def planted(fired: Fired) -> Iterator[type[Subject]]:
            with patch(fired):
                yield type("Faulty", (MAKERS["peft"],), {"maker": f"peft+{name}"})

        _add(name, patch, clause, family, "peft", planted, weaker)
        return patch

    return register


def _add(name: str, source: Any, clause: str, family: str, maker: str, planted: Any, weaker: Check | None) -> None:
    statement = (inspect.getdoc(source) or "").partition("\n")[0]
    _faults[name] = Fault(
        id=name, statement=statement, clause=clause, family=family, maker=maker, planted=planted, weaker=weaker
    )


def _name(camel: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel).lstrip("_")


def faults() -> dict[str, Fault]:
    """Every planted fault by id."""
    from importlib import import_module
    from pkgutil import iter_modules

    import conformance.faults as package

    for module in iter_modules(package.__path__):
        import_module(f"{package.__name__}.{module.name}")
    return dict(_faults)


@contextmanager
def maker_named(name: str) -> Iterator[type[Subject]]:
    """The maker of subjects called ``peft``, ``reference`` or, with a fault in force, ``reference+FAULT``."""
    plain, _, fault = name.partition("+")
    if not fault:
        yield MAKERS[plain]
        return
    known = faults()
    if fault not in known:
        raise unknown("fault", fault, known)
    with known[fault].planted(lambda: None) as maker:
        yield maker
