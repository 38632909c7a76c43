"""Violations that were found before, kept in one of Hypothesis' own databases, so that a search begins with them.

What is kept is the Case, as JSON under ``clause[family]``: unlike Hypothesis' own notes it means the same in every version.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from queue import Empty, Queue
from tempfile import TemporaryFile
from threading import Thread
from typing import Any, TypeVar, cast

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
UNUSABLE = "the database of examples cannot be used, the run goes on without"
DEADLINE = 20.0
"""Seconds in which a store must have answered, however it does: an artifact of GitHub is downloaded meanwhile."""
TIMEOUT = 1.0
"""Seconds in which a Redis server must take a connection."""


class Counterexamples:
    """Cases that violated a clause. A store that cannot be used is said once, and is empty from then on.

    So is what is dropped: what this version cannot read, and Cases that the family of their item cannot have.
    """

    def __init__(self, database: ExampleDatabase, trouble: str = "") -> None:
        self._database = database
        self._unsaid = [f"{UNUSABLE}: {trouble}"] if trouble else []

    def recall(self, item: str, problem: Callable[[Case], str] = lambda case: "") -> list[Case]:
        """The Cases kept for ``item``, the shortest first, without those that have a ``problem``."""
        found: list[bytes] = self._try(lambda: sorted(self._database.fetch(item.encode()), key=_size), [])
        return [case for kept in found if (case := self._read(item, kept, problem))]

    def said(self) -> tuple[str, ...]:
        """What is to be told of the store, and was not told before."""
        unsaid, self._unsaid = tuple(self._unsaid), []
        return unsaid

    def keep(self, item: str, case: Case) -> None:
        """``case`` violates."""
        self._try(lambda: self._database.save(item.encode(), case.to_json().encode()), None)

    def forget(self, item: str, case: Case) -> None:
        """``case`` no longer violates."""
        self._try(lambda: self._database.delete(item.encode(), case.to_json().encode()), None)

    def drop(self, item: str, case: Case, why: str) -> None:
        """``case`` cannot be judged."""
        self._drop(item, case.to_json().encode(), why)

    def _read(self, item: str, kept: bytes, problem: Callable[[Case], str]) -> Case | None:
        try:
            case = from_json(kept)
        except UserError as error:
            self._drop(item, kept, error.message)
            return None
        why = problem(case)
        if why:
            self._drop(item, kept, why)
        return None if why else case

    def _drop(self, item: str, kept: bytes, why: str) -> None:
        self._unsaid.append(f"a Case that was kept for {item} was dropped: {why}")
        self._try(lambda: self._database.delete(item.encode(), kept), None)

    def _try(self, use: Callable[[], T], otherwise: T) -> T:
        try:
            return _within(DEADLINE, use)
        except Exception as error:
            self._unsaid.append(f"{UNUSABLE}: {error}")
            self._database = InMemoryExampleDatabase()
            return otherwise


def _within(seconds: float, use: Callable[[], T]) -> T:
    """What ``use`` gives, if it comes in time. A server that sends a byte now and then never times out by itself."""
    ended: Queue[tuple[T | None, Exception | None]] = Queue()

    def run() -> None:
        try:
            ended.put((use(), None))
        except Exception as error:
            ended.put((None, error))

    Thread(target=run, daemon=True).start()
    try:
        result, error = ended.get(timeout=seconds)
    except Empty:
        raise TimeoutError(f"it did not answer within {seconds:g} s") from None
    if error:
        raise error
    return cast("T", result)


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
        return Counterexamples(DirectoryBasedExampleDatabase(local_folder()), _local_trouble())
    if setting.startswith(("redis://", "rediss://", "unix://")):
        return Counterexamples(_redis(setting))
    owner, _, repository = setting.removeprefix("github:").partition("/")
    if setting.startswith("github:") and owner and repository:
        shared = GitHubArtifactDatabase(owner, repository, artifact_name=ARTIFACT)
        local = DirectoryBasedExampleDatabase(local_folder())
        return Counterexamples(MultiplexedDatabase(local, ReadOnlyDatabase(shared)), _local_trouble())
    raise _bad_database(setting, "a database is none, local, redis://HOST:PORT/NUMBER or github:OWNER/REPOSITORY")


def _bad_database(setting: str, cause: str) -> UserError:
    return UserError(
        "bad-database", f"{setting!r} is no database of examples", cause, "name one, such as local or none"
    )


def local_folder() -> Path:
    """Where local examples are kept: what the environment says, else beside Hypothesis' own, else a temporary place."""
    named = os.environ.get(FOLDER)
    return Path(named) if named else Path(tempfile.gettempdir()) / "conformance-examples"


def _local_trouble() -> str:
    """Why the folder of local examples cannot be used: Hypothesis, whose cache it is, would not say."""
    folder = local_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return ""


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
    limits = {"socket_connect_timeout": TIMEOUT, "socket_timeout": TIMEOUT}
    try:
        server: Any = Redis.from_url(url, retry=Retry(NoBackoff(), 0), **limits)
    except ValueError as error:
        raise _bad_database(url, str(error)) from error
    return RedisExampleDatabase(server)
