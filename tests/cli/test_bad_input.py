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
KNOWN = f"""schema = 1
[[failure]]
id = "one"
clauses = ["{STEP}"]
families = ["llama"]
methods = ["PREFIX_TUNING"]
how = "wrong answer"
peft = ">=0"
transformers = ">=0"
function = "f"
reason = "r"
mend = "mends:mended"
clause = "{STEP}"
case = {{ family = "llama" }}
"""
FILES = {
    "bad": "schema = 1\nfailures = 2\n",
    "keys": FAMILY + "speed = 1\n",
    "other": FAMILY,
    "deep": "x = " + "[" * 100_000 + "]" * 100_000,
    "number": "schema = " + "1" * 10_000,
    "large": "schema = 1\n" + "# nothing\n" * 200_000,
    "typo-clause": KNOWN.replace(f'clause = "{STEP}"', 'clause = "equivalence.step"'),
    "typo-clauses": KNOWN.replace(f'["{STEP}"]', '["equivalence.steps*"]'),
    "typo-families": KNOWN.replace('["llama"]', '["lama"]'),
    "typo-family": KNOWN.replace('family = "llama"', 'family = "lama"'),
    "typo-methods": KNOWN.replace('["PREFIX_TUNING"]', '["P_TUNNING"]'),
    "no-prefix": KNOWN.replace('family = "llama"', 'family = "llama", prefix = { length = 0 }'),
}


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
        (("explain", "equivalent"), "unknown-name"),
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
        (("run", "--database", "redis://h:port/0"), "bad-database"),
        (("run", "--database", "rediss://[::1"), "bad-database"),
        (("run", "--database", "redis://h/0?socket_timeout=x"), "bad-database"),
        (("run", "--database", "github:"), "bad-database"),
        (("show", "/dev/zero"), "malformed-events"),
        (("known", "list", "--known", "/dev/zero"), "malformed-known-failures"),
        (("families", "--family-file", "/dev/zero"), "malformed-family"),
        (("run", "--seed", "9" * 5000), "bad-seed"),
        (("run", "--examples", "9" * 5000), "bad-examples"),
        (("run", "--known", "deep.toml"), "malformed-known-failures"),
        (("run", "--known", "number.toml"), "malformed-known-failures"),
        (("run", "--known", "large.toml"), "malformed-known-failures"),
        (("run", "--family-file", "deep.toml"), "malformed-family"),
        (("run", "--family-file", "number.toml"), "malformed-family"),
        (("run", "--family-file", "large.toml"), "malformed-family"),
        (("run", "--known", "typo-clause.toml"), "unknown-clause"),
        (("run", "--known", "typo-clauses.toml"), "unknown-clause"),
        (("run", "--known", "typo-families.toml"), "unknown-family"),
        (("run", "--known", "typo-family.toml"), "unknown-family"),
        (("run", "--known", "typo-methods.toml"), "unknown-method"),
        (("run", "--known", "no-prefix.toml"), "impossible-case"),
        (("known", "check", "--known", "typo-families.toml"), "unknown-family"),
        (("replay", '{"family":"t5"}', "--clause", STEP), "impossible-case"),
        (("replay", '{"family":"llama","prefix":{"length":0}}', "--clause", STEP), "impossible-case"),
        (("replay", '{"family":"llama","roles":{"rope":"yarn"}}', "--clause", STEP), "impossible-case"),
        (("replay", 'Case(family="gpt2", family="llama")', "--clause", STEP), "malformed-case"),
    ],
)
def test_it_is_refused_in_words(call: Call, tmp_path: Path, arguments: tuple[str, ...], code: str) -> None:
    for name, text in FILES.items():
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

        of_code = versions.of_code
        monkeypatch.setattr(versions, "version", found)
        monkeypatch.setattr(versions, "of_code", lambda name: changed[name] or "" if name in changed else of_code(name))
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


def test_a_table_that_is_to_be_a_folder_is_refused(call: Call, tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "matrix" / "violates.jsonl"
    code, _, err = call("report", "versions", str(golden), "--out", ".")
    assert code == 2
    assert err.startswith("unwritable-report: . cannot be written: it is a folder")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["families", "known"])
def test_what_files_of_others_say_reaches_no_terminal_as_a_command(call: Call, tmp_path: Path, verb: str) -> None:
    (tmp_path / "mine.toml").write_text(FAMILY.replace('hazard = "h"', 'hazard = "h\\u001b[2J\\u202e"') + "", "utf-8")
    text = (tmp_path / "mine.toml").read_text("utf-8").replace('positions = "none"', 'positions = "rotary"')
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    (tmp_path / "known.toml").write_text(KNOWN.replace('reason = "r"', 'reason = "r\\u001b[2J"'), "utf-8")
    given = {
        "families": ("families", "--family-file", "mine.toml"),
        "known": ("known", "list", "--known", "known.toml"),
    }
    code, out, _ = call(*given[verb])
    assert code == 0
    assert "\\u001b[2J" in out
    assert "\x1b" not in out
