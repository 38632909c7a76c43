"""What a user can get wrong: code, message, cause and cure on standard error, exit 2, nothing half-written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import metadata
from importlib.metadata import PackageNotFoundError
from pathlib import Path

import pytest

from conformance.compat import versions

Call = Callable[..., "tuple[int, str, str]"]
FAMILY = (
    'schema = 1\nname = "mine"\nhazard = "h"\nmodel = "M"\nconfig = "C"\n[anatomy]\nlayers = "l"\npositions = "none"\n'
)
STEP = "equivalence.step_logits"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("run", "--families", "lama"), "unknown-family"),
        (("run", "--clauses", "equivalence.step_logit"), "unknown-clause"),
        (("run", "--profile", "fast"), "unknown-profile"),
        (("run", "--examples", "0"), "bad-examples"),
        (("run", "--seed", "x"), "bad-seed"),
        (("run", "--methods", "LORA"), "unknown-method"),
        (("run", "--methods", ""), "empty-option"),
        (("run", "--workers", "many"), "bad-workers"),
        (("run", "--workers", "-1"), "bad-workers"),
        (("run", "--known", "bad.toml"), "malformed-known-failures"),
        (("run", "--known", "absent.toml"), "unreadable-file"),
        (("run", "--family-file", "keys.toml"), "malformed-family"),
        (("run", "--family-file", "other.toml"), "contradictory-family"),
        (("families", "--family-file", "absent.toml"), "unreadable-file"),
        (("explain", "equivalence"), "unknown-clause"),
        (("show", "absent.jsonl"), "unreadable-file"),
        (("show", "bad.toml"), "malformed-events"),
        (("run", "--families", ""), "empty-option"),
        (("run", "--clauses", " , "), "empty-option"),
        (("replay", "absent.json", "--clause", STEP), "unreadable-file"),
        (("run", "--devices", "cuda0"), "bad-device"),
        (("run", "--devices", "sim:0,sim:1"), "bad-device"),
        (("run", "--devices", "cpu,meta"), "no-such-device"),
        (("known", "check", "--known", "none", "--devices", "meta"), "no-such-device"),
        (("replay", '{"family":"llama"}', "--clause", STEP, "--devices", "meta"), "no-such-device"),
        (("report", "merge", "bad.toml", "--out", "page"), "malformed-events"),
        (("report", "merge", "absent.jsonl", "--out", "page"), "unreadable-file"),
        (("report", "versions", "bad.toml", "--out", "versions.md"), "malformed-events"),
        (("known", "list", "--known", "bad.toml"), "malformed-known-failures"),
        (("known", "check", "--known", "bad.toml"), "malformed-known-failures"),
        (("replay", "0123456789ab", "--clause", STEP), "unknown-case"),
        (("replay", '{"family":"llama"', "--clause", STEP), "malformed-case"),
        (("replay", "bad.toml", "--clause", STEP), "malformed-case"),
        (("replay", '{"family":"llama"}'), "missing-clause"),
        (("replay", '{"family":"lama"}', "--clause", STEP), "unknown-family"),
        (("replay", '{"family":"llama"}', "--clause", "equivalence"), "unknown-clause"),
        (("replay", "0123456789ab", "--events", "bad.toml"), "malformed-events"),
    ],
)
def test_it_is_refused_in_words(call: Call, tmp_path: Path, arguments: tuple[str, ...], code: str) -> None:
    for name, text in (("bad", "schema = 1\nfailures = 2\n"), ("keys", FAMILY + "speed = 1\n"), ("other", FAMILY)):
        (tmp_path / f"{name}.toml").write_text(text, "utf-8")
    before = sorted(tmp_path.iterdir())
    needs_file = arguments[0] in ("run", "replay") and "--known" not in arguments
    exit_code, out, err = call(*arguments, *(("--known", "none") if needs_file else ()))
    assert (exit_code, out) == (2, "")
    first, *rest = err.splitlines()
    assert first.startswith(f"{code}: ")
    assert any(line.startswith("  cause: ") for line in rest)
    assert any(line.startswith("  cure:  ") for line in rest)
    assert sorted(tmp_path.iterdir()) == before


def test_a_report_that_cannot_be_written_is_refused_before_anything_runs(
    command: Callable[..., object], tmp_path: Path
) -> None:
    done = command("run", "--clauses", "miniature.holds", "--known", "none", "--report", "no/folder/events.jsonl")
    assert done.returncode == 2  # type: ignore[attr-defined]
    assert "unwritable-report: " in done.stderr  # type: ignore[attr-defined]
    assert "[1/" not in done.stderr  # type: ignore[attr-defined]
    assert not (tmp_path / "no").exists()


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Pretend that other versions are installed; ``None`` is not installed."""
    real = metadata.version

    def pretend(**changed: str | None) -> None:
        def found(name: str) -> str:
            release = changed.get(name, real(name) if name not in changed else None)
            if release is None:
                raise PackageNotFoundError(name)
            return release

        monkeypatch.setattr(versions, "version", found)
        versions.versions.cache_clear()

    yield pretend
    versions.versions.cache_clear()


@pytest.mark.parametrize("name", ["torch", "peft", "transformers"])
def test_a_missing_package_is_named(call: Call, installed: Callable[..., None], name: str) -> None:
    installed(**{name: None})
    code, _, err = call("run", "--known", "none")
    assert code == 2
    assert err.startswith(f"missing-package: {name} is not installed here\n")


def test_a_version_below_the_supported_range_is_named(call: Call, installed: Callable[..., None]) -> None:
    installed(peft="0.9.0")
    code, _, err = call("run", "--known", "none")
    assert code == 2
    assert err.startswith("unsupported-version: peft 0.9.0 is older than 0.10\n")


def test_an_error_of_ours_is_neither_green_nor_red(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def breaks() -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr("conformance.families.families", breaks)
    code, _, err = call("families")
    assert code == 3
    assert "ZeroDivisionError: a bug of ours" in err
