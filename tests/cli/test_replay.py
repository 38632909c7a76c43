"""``peft-conformance replay``: a Case from a file, an id, or the text that a report printed."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., "subprocess.CompletedProcess[str]"]
EQUAL = '{"family":"llama"}'
OTHER = '{"family":"llama","prefix":{"length":2}}'


def test_the_printed_line_alone_repeats_the_violation(command: Command) -> None:
    done = command("run", "--families", "llama", "--clauses", "miniature.wrong", "--known", "none")
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("repeat"))
    again = command(*shlex.split(line)[2:], "--known", "none")
    assert again.returncode == 1
    assert "miniature.wrong[llama] is violated: wrong answer" in again.stdout
    assert line in again.stdout


def test_the_printed_repr_repeats_it_too(command: Command) -> None:
    done = command("run", "--families", "llama", "--clauses", "miniature.wrong", "--known", "none")
    line = next(line for line in done.stdout.splitlines() if line.strip().startswith("case "))
    again = command("replay", "--clause", "miniature.wrong", line.strip()[4:].strip(), "--known", "none")
    assert again.returncode == 1
    assert line in again.stdout


@pytest.mark.parametrize(
    ("clause", "case", "code", "said"),
    [
        ("wrong", EQUAL, 1, "is violated: wrong answer"),
        ("wrong", OTHER, 0, "conforms"),
        ("refused", EQUAL, 5, "refused: ValueError: prefix tuning needs a cache"),
        ("broken", EQUAL, 3, "ZeroDivisionError: a bug of ours"),
        ("holds", '{"family":"t5","roles":{"encoder_layers":1}}', 5, "absent: no such class"),
    ],
)
def test_exit_codes(command: Command, clause: str, case: str, code: int, said: str) -> None:
    done = command("replay", "--clause", f"miniature.{clause}", case, "--known", "none")
    assert done.returncode == code, done.stderr
    assert said in done.stdout


def test_a_file_and_ids_bring_a_case(command: Command, tmp_path: Path) -> None:
    (tmp_path / "case.json").write_text(EQUAL + "\n", "utf-8")
    from_file = command("replay", "case.json", "--clause", "miniature.wrong", "--known", "none")
    from_known = command("replay", "equal-lengths", "--known", "known.toml")
    command(
        "run", "--families", "llama", "--clauses", "miniature.crashes", "--known", "none", "--report", "events.jsonl"
    )
    shown = json.loads(command("show", "events.jsonl", "--format", "json").stdout)
    text = json.dumps(shown["cells"][0]["verdict"]["finding"]["case"])
    from_text = command("replay", text, "--clause", "miniature.crashes", "--known", "none")
    id = from_text.stdout.split("replaying Case ")[1].split()[0]
    from_events = command("replay", id, "--events", "events.jsonl", "--known", "none")
    assert [done.returncode for done in (from_file, from_known, from_text, from_events)] == [1, 1, 1, 1]
    assert from_events.stdout == from_text.stdout


def test_json_is_one_example(command: Command) -> None:
    done = command("replay", "--clause", "miniature.wrong", EQUAL, "--known", "none", "--format", "json")
    assert json.loads(done.stdout)["outcome"] == "violates"
