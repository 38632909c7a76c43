"""What a planted fault is, and the registry of all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from importlib import import_module
from pkgutil import walk_packages
from typing import Any, Protocol, TypeVar

from msgspec import Struct

from conformance.clauses.registry import Check, described
from conformance.core.errors import duplicate, unknown
from conformance.core.finding import DEFAULT_METHOD
from conformance.methods.reference.cache import ReferencePrefix
from conformance.methods.reference.contexts import ReferenceContext
from conformance.methods.reference.embeddings import ReferencePrompt
from conformance.methods.reference.tasks import ReferenceTasks
from conformance.runs.makers import MAKERS, ReferenceSubject
from conformance.runs.subject import Subject


class Fired(Protocol):
    """What a patch calls where it takes effect: a fault that never did was not tested."""

    def __call__(self, when: object = True) -> bool:
        """Count that the fault takes effect, if ``when`` holds; returns whether it does."""
        ...


class Fires:
    """What a wrapper with a bug says where the bug takes effect."""

    @staticmethod
    def fired(when: object = True) -> bool:
        """As :class:`Fired`; replaced by what counts while the fault is in force."""
        return bool(when)


class Planted(Fires, ReferencePrefix):
    """The base of reference wrappers that do one thing wrong with a prefix."""


class PlantedTasks(Fires, ReferenceTasks):
    """The base of those that do one thing wrong with a task's prompt."""


class PlantedContext(Fires, ReferenceContext):
    """The base of those that do one thing wrong with a context."""


class PlantedPrompt(Fires, ReferencePrompt):
    """The base of those that do one thing wrong with a prompt."""


Wrapper = TypeVar("Wrapper", bound=type[Fires])
Patch = TypeVar("Patch", bound=Callable[[Fired], AbstractContextManager[Any]])


class Fault(Struct, frozen=True, kw_only=True):
    """One planted bug.

    ``clause`` is the clause that must find it, in ``family``, with ``method``; ``weaker``, for fine faults, is a check one
    might have written instead, which does *not* find it. ``maker`` is ``reference`` or ``peft``; ``planted`` puts the bug in
    force and gives the maker of subjects that has it.
    """

    id: str
    statement: str
    clause: str
    family: str
    maker: str
    planted: Callable[[Fired], AbstractContextManager[type[Subject]]]
    method: str = DEFAULT_METHOD
    weaker: Check | None = None


FOUND_BY = "conformance.faults.registry:planted_maker"
_faults: dict[str, Fault] = {}


def in_reference(
    *, clause: str, family: str = "llama", method: str = DEFAULT_METHOD, weaker: Check | None = None
) -> Callable[[Wrapper], Wrapper]:
    """Register a subclass of the reference wrapper that does one thing wrong; its docstring says what.

    The overriding methods call ``self.fired()`` where the bug takes effect.
    """

    def register(wrapper: Wrapper) -> Wrapper:
        name = _snake_case(wrapper.__name__)

        @contextmanager
        def planted(fired: Fired) -> Iterator[type[Subject]]:
            counted = type(wrapper.__name__, (wrapper,), {"fired": staticmethod(fired)})
            yield type(
                "Faulty", (ReferenceSubject,), {"wrapper": counted, "maker": f"reference+{name}", "found_by": FOUND_BY}
            )

        _add(name, wrapper, "reference", planted, clause=clause, family=family, method=method, weaker=weaker)
        return wrapper

    return register


def in_peft(
    *, clause: str, family: str = "llama", method: str = DEFAULT_METHOD, weaker: Check | None = None
) -> Callable[[Patch], Patch]:
    """Register a context manager that patches PEFT or transformers at run time; its docstring says what goes wrong."""

    def register(patch: Patch) -> Patch:
        name = patch.__name__

        @contextmanager
        def planted(fired: Fired) -> Iterator[type[Subject]]:
            with patch(fired):
                yield type("Faulty", (MAKERS["peft"],), {"maker": f"peft+{name}", "found_by": FOUND_BY})

        _add(name, patch, "peft", planted, clause=clause, family=family, method=method, weaker=weaker)
        return patch

    return register


def _add(name: str, source: Any, maker: str, planted: Any, **fields: Any) -> None:
    statement = described(source, "fault")[0]
    if name in _faults:
        raise duplicate("fault", name)
    _faults[name] = Fault(id=name, statement=statement, maker=maker, planted=planted, **fields)


def _snake_case(camel: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in camel).lstrip("_")


@cache
def _load() -> None:
    import conformance.faults as package

    for module in walk_packages(package.__path__, f"{package.__name__}."):
        import_module(module.name)


def faults() -> dict[str, Fault]:
    """Every planted fault by id."""
    _load()
    return dict(_faults)


def fault_named(id: str) -> Fault:
    """The fault whose id is ``id``. Raises :class:`~conformance.core.errors.UserError` for any other."""
    known = faults()
    if id not in known:
        raise unknown("fault", id, known)
    return known[id]


@contextmanager
def planted_maker(name: str) -> Iterator[type[Subject]]:
    """The maker of subjects called ``reference+FAULT`` or ``peft+FAULT``, with the fault in force."""
    with fault_named(name.partition("+")[2]).planted(Fires.fired) as maker:
        yield maker
