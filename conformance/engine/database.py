"""Violations that were found before, kept in one of Hypothesis' own databases, so that a search begins with them.

What is kept is the Case, as JSON under ``clause[family]``: unlike Hypothesis' own notes it means the same in every version.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from hypothesis.database import (
    DirectoryBasedExampleDatabase,
    ExampleDatabase,
    GitHubArtifactDatabase,
    InMemoryExampleDatabase,
    MultiplexedDatabase,
    ReadOnlyDatabase,
)

from conformance.core.case import Case, from_json
from conformance.core.errors import UserError

T = TypeVar("T")
FOLDER = "CONFORMANCE_EXAMPLES"
"""Environment variable: where local examples are kept."""
ARTIFACT = "conformance-examples"
"""Name of the artifact of a GitHub workflow that holds them."""
TIMEOUT = 1.0
"""Seconds in which a Redis server must take a connection."""


class Counterexamples:
    """Cases that violated a clause; an unreachable store is said once, and is empty from then on."""

    def __init__(self, database: ExampleDatabase) -> None:
        self._database = database

    def recall(self, item: str) -> list[Case]:
        """The Cases kept for ``item``, the shortest first; what this version cannot read is forgotten."""
        found: list[bytes] = self._try(lambda: sorted(self._database.fetch(item.encode()), key=_size), [])
        return [case for kept in found if (case := self._read(item, kept))]

    def keep(self, item: str, case: Case) -> None:
        """``case`` violates."""
        self._try(lambda: self._database.save(item.encode(), case.to_json().encode()), None)

    def forget(self, item: str, case: Case) -> None:
        """``case`` no longer violates."""
        self._try(lambda: self._database.delete(item.encode(), case.to_json().encode()), None)

    def _read(self, item: str, kept: bytes) -> Case | None:
        try:
            return from_json(kept)
        except UserError:
            self._try(lambda: self._database.delete(item.encode(), kept), None)
            return None

    def _try(self, use: Callable[[], T], otherwise: T) -> T:
        try:
            return use()
        except Exception as error:
            warnings.warn(f"the database of examples cannot be used, the run goes on without: {error}", stacklevel=3)
            self._database = InMemoryExampleDatabase()
            return otherwise


def _size(kept: bytes) -> tuple[int, bytes]:
    return len(kept), kept


@cache
def open_database(setting: str) -> Counterexamples | None:
    """The examples that ``setting`` names: ``none``, ``local``, ``redis://...`` or ``github:OWNER/REPOSITORY``.

    Raises :class:`~conformance.core.errors.UserError` for anything else, and where a package for it is missing.
    """
    if setting == "none":
        return None
    if setting == "local":
        return Counterexamples(DirectoryBasedExampleDatabase(local_folder()))
    if setting.startswith(("redis://", "rediss://", "unix://")):
        return Counterexamples(_redis(setting))
    owner, _, repository = setting.removeprefix("github:").partition("/")
    if setting.startswith("github:") and owner and repository:
        shared = GitHubArtifactDatabase(owner, repository, artifact_name=ARTIFACT)
        local = DirectoryBasedExampleDatabase(local_folder())
        return Counterexamples(MultiplexedDatabase(local, ReadOnlyDatabase(shared)))
    raise UserError(
        "bad-database",
        f"{setting!r} is no database of examples",
        "a database is none, local, redis://HOST:PORT/NUMBER or github:OWNER/REPOSITORY",
        "name one of these",
    )


def local_folder() -> Path:
    """Where local examples are kept: what the environment says, else beside Hypothesis' own, else a temporary place."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else Path(tempfile.gettempdir()) / "conformance-examples"


def _redis(url: str) -> ExampleDatabase:
    try:
        from hypothesis.extra.redis import RedisExampleDatabase
        from redis import Redis
        from redis.backoff import NoBackoff
        from redis.retry import Retry
    except ImportError as error:
        raise UserError(
            "missing-package",
            "redis is not installed here",
            "a Redis server is talked to through it",
            "pip install 'peft-conformance[redis]', or another database",
        ) from error
    # Waiting for a dead server would be paid by every item.
    server: Any = Redis.from_url(
        url, retry=Retry(NoBackoff(), 0), socket_connect_timeout=TIMEOUT, socket_timeout=TIMEOUT
    )
    return RedisExampleDatabase(server)
