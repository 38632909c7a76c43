"""What a user can get wrong: each time a code, a message, the cause and the cure, and nothing has run."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Consumer = Callable[..., pytest.RunResult]
FAMILY = (
    'schema = 1\nname = "mine"\nhazard = "h"\nmodel = "M"\nconfig = "C"\n[anatomy]\nlayers = "l"\npositions = "none"\n'
)


@pytest.mark.parametrize(
    ("option", "value", "code"),
    [
        ("families", "lama", "unknown-family"),
        ("clauses", "miniature.hold", "unknown-clause"),
        ("methods", "LORA", "unknown-method"),
        ("profile", "fast", "unknown-profile"),
        ("examples", "0", "bad-examples"),
        ("examples", "many", "bad-examples"),
        ("seed", "-1", "bad-seed"),
        ("known", "bad.toml", "malformed-known-failures"),
        ("known", "missing.toml", "unreadable-file"),
        ("devices", "cuda:x", "bad-device"),
        ("devices", "meta", "no-such-device"),
        ("report", "no/such/folder/events.jsonl", "unwritable-report"),
        ("family-file", "keys.toml", "malformed-family"),
        ("family-file", "other.toml", "contradictory-family"),
    ],
)
def test_it_is_refused_in_words(
    consumer: Consumer, pytester: pytest.Pytester, option: str, value: str, code: str
) -> None:
    for name, text in (("bad", "schema = 1\nfailures = 2\n"), ("keys", FAMILY + "speed = 1\n"), ("other", FAMILY)):
        (pytester.path / f"{name}.toml").write_text(text, "utf-8")
    result = consumer(f"--conformance-{option}", value)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"ERROR: {code}: *", "  cause: *", "  cure:  *"])
    assert "test session starts" not in result.stdout.str()


def test_a_family_file_of_the_host_is_judged(consumer: Consumer, pytester: pytest.Pytester) -> None:
    (pytester.path / "mine.toml").write_text(FAMILY, "utf-8")
    chosen = ("--conformance-family-file", "mine.toml", "--conformance-families", "mine")
    consumer(*chosen, "--conformance-clauses", "miniature.holds").assert_outcomes(passed=1)
