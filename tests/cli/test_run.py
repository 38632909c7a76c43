"""``peft-conformance run``: its exit codes, its isolation, and what it prints."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.session.reader import read_events

Command = Callable[..., "subprocess.CompletedProcess[str]"]
ROOT = Path(__file__).parents[2]


def llama(*names: str) -> tuple[str, ...]:
    return ("run", "--families", "llama", "--clauses", ",".join(f"miniature.{name}" for name in names))


@pytest.mark.parametrize(
    ("arguments", "code", "closing"),
    [
        ((*llama("holds"), "--known", "none"), 0, "1 conforms"),
        ((*llama("wrong", "holds"), "--known", "none"), 1, "1 violates, 1 conforms"),
        ((*llama("broken", "wrong"), "--known", "none"), 3, "1 broken harness, 1 violates"),
        ((*llama("holds"), "--known", "mended.toml"), 4, "1 conforms, 1 known failure mended"),
        ((*llama("refused", "undecided"), "--known", "none"), 5, "1 refused, 1 undecided"),
        ((*llama("wrong"), "--known", "known.toml"), 0, "1 known, 1 known failure still fails"),
        (("run", "--families", "t5", "--clauses", "miniature.holds", "--known", "none"), 5, "1 absent"),
        ((*llama("wrong", "crashes", "refused"), "--known", "none", "-x"), 1, "1 violates, 2 not run"),
    ],
)
def test_the_exit_code_and_the_closing_line(
    command: Command, arguments: tuple[str, ...], code: int, closing: str
) -> None:
    done = command(*arguments)
    assert done.returncode == code, done.stderr
    last = done.stdout.splitlines()[-1]
    assert f": {closing} in " in last
    assert f"Exit code {code}: " in last


def test_a_known_failure_is_listed_with_its_reason(command: Command) -> None:
    done = command(*llama("wrong"), "--known", "known.toml")
    assert "equal-lengths: still fails; met by " in done.stdout
    assert " of 1 clause in llama" in done.stdout
    assert "peft.PeftModel.generate" in done.stdout
    assert "it counts once too often" in done.stdout
    assert "https://github.com/huggingface/peft/issues/1" in done.stdout


def test_it_is_deaf_to_the_caller(command: Command, tmp_path: Path) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n", "utf-8")
    (tmp_path / "conftest.py").write_text("raise SystemExit(77)\n", "utf-8")
    (tmp_path / "test_host.py").write_text("def test_host():\n    assert False\n", "utf-8")
    (tmp_path / "unruly.py").write_text("raise SystemExit(78)\n", "utf-8")
    done = command(*llama("holds"), "--known", "none", PYTEST_ADDOPTS="--no-such-option", PYTEST_PLUGINS="unruly")
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / ".pytest_cache").exists()


def test_workers_give_the_same_table_and_findings(command: Command) -> None:
    pytest.importorskip("xdist")
    arguments = ("run", "--families", "llama,gpt2", "--clauses", "miniature.[hrw]*", "--known", "none")
    one, two = command(*arguments), command(*arguments, "--workers", "2")
    assert one.returncode == two.returncode == 1

    def timeless(done: subprocess.CompletedProcess[str]) -> list[str]:
        return [line for line in done.stdout.splitlines() if "Exit code" not in line]

    assert timeless(one) == timeless(two)


def test_a_dead_child_of_a_worker_is_a_broken_harness(command: Command) -> None:
    pytest.importorskip("xdist")
    done = command(*llama("dies", "holds"), "--known", "none", "--workers", "1")
    assert done.returncode == 3
    assert "miniature.dies[llama]\n    the child process ended with exit code 9" in done.stdout
    assert "1 broken harness, 1 conforms" in done.stdout


def test_progress_names_each_item_on_standard_error(command: Command) -> None:
    done = command(*llama("holds", "wrong"), "--known", "known.toml")
    lines = done.stderr.splitlines()
    assert lines[0].startswith("[1/3] miniature.holds[llama]: conforms (15 examples, ")
    assert lines[1].startswith("[2/3] miniature.wrong[llama]: known (15 examples, ")
    assert lines[2] == "[3/3] known[equal-lengths]: still fails"


def test_a_terminal_shows_what_is_being_judged_now(command: Command) -> None:
    done = command(*llama("slow", "holds"), "--known", "none", "--examples", "1", FORCE_COLOR="1", TERM="xterm")
    assert done.returncode == 0
    assert "0/2" in done.stderr
    assert "miniature.slow[llama]" in done.stderr
    assert "\x1b[" in done.stderr
    assert "\x1b[" in done.stdout


def test_json_is_the_whole_run_and_nothing_else(command: Command) -> None:
    done = command(*llama("holds"), "--known", "none", "--format", "json")
    said = json.loads(done.stdout)
    assert said["cells"][0]["verdict"]["outcome"] == "conforms"
    assert said["footer"]["exit_code"] == 0


def test_a_report_can_be_shown_again(command: Command, tmp_path: Path) -> None:
    done = command(*llama("holds", "wrong"), "--known", "none", "--report", "events.jsonl")
    again = command("show", "events.jsonl", miniatures=False)
    assert again.returncode == done.returncode == 1
    assert done.stdout.endswith(again.stdout)
    assert read_events(tmp_path / "events.jsonl").footer is not None


def test_the_first_line_is_out_before_torch_is_imported(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("import os\nos._exit(9)\n", "utf-8")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    start = "from conformance.cli import main; main()"
    arguments = ("run", "--clauses", "equivalence.step_logits", "--known", "none")
    with subprocess.Popen(
        [sys.executable, "-c", start, *arguments], env=env, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline().startswith("judging peft ")
        child.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_is_incomplete_and_leaves_nothing(
    command: Command, tmp_path: Path, number: signal.Signals
) -> None:
    report, temporary = tmp_path / "events.jsonl", tmp_path / "temporary"
    temporary.mkdir()
    path = os.pathsep.join([str(ROOT / "tests" / "miniature"), str(ROOT)])
    env = os.environ | {"PYTHONPATH": path, "TMPDIR": str(temporary)}
    env.pop("CONFORMANCE_SCRATCH", None)
    start = "from conformance.cli import main; main()"
    arguments = (*llama("slow"), "--known", "none", "--report", str(report))
    # A job in the background of a shell, or of nohup, ignores some signals and hands that down, unless it handles them itself.
    before = signal.signal(number, signal.default_int_handler)
    child = subprocess.Popen(
        [sys.executable, "-c", start, *arguments], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    signal.signal(number, before)
    with child:
        for _ in range(1200):
            if report.exists() and '"event":"start"' in report.read_text("utf-8"):
                break
            time.sleep(0.05)
        assert list(temporary.glob("conformance-run-*"))
        child.send_signal(number)
        out, _ = child.communicate(timeout=60)
    assert child.returncode == 3
    assert "this run is incomplete, stopped at miniature.slow[llama]" in out
    assert read_events(report).footer is None
    assert not list(temporary.glob("conformance-run-*"))
    assert command("show", str(report), miniatures=False).returncode == 3


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "| true", "2>&1 | true"])
@pytest.mark.parametrize(("clause", "code"), [("holds", 0), ("wrong", 1)])
def test_the_verdict_does_not_depend_on_who_reads(tmp_path: Path, closed: str, clause: str, code: int) -> None:
    path = os.pathsep.join([str(ROOT / "tests" / "miniature"), str(ROOT)])
    words = shlex.join([*llama(clause), "--known", "none", "--examples", "1", "--workers", "0"])
    start = f"{shlex.quote(sys.executable)} -c 'from conformance.cli import main; main()'"
    script = f"{start} {words} {closed}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", script], env=os.environ | {"PYTHONPATH": path}, cwd=tmp_path, check=False, capture_output=True
    )
    assert done.returncode == code


SAYS_IT_AT_THE_END = "from conformance.cli.streams import own_streams\nwith own_streams(): print('said')"


@pytest.mark.parametrize(
    ("command", "unbuffered"),
    [("-m conformance clauses", "1"), ("-m conformance clauses", ""), (f"-c {shlex.quote(SAYS_IT_AT_THE_END)}", "")],
    ids=["each piece is written at once", "pieces are buffered", "buffered until the end"],
)
def test_an_output_that_is_lost_for_want_of_space_is_no_success(tmp_path: Path, command: str, unbuffered: str) -> None:
    path = os.pathsep.join([str(ROOT / "tests" / "miniature"), str(ROOT)])
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} {command} >/dev/full"],
        env=os.environ | {"PYTHONPATH": path, "PYTHONUNBUFFERED": unbuffered},
        cwd=tmp_path,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 3
