"""The verbs that only read."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from conformance.worker.child import ChildLost

Command = Callable[..., "subprocess.CompletedProcess[str]"]
Call = Callable[..., "tuple[int, str, str]"]
ROOT = Path(__file__).parents[2]


def test_clauses_are_listed_within_half_a_second_and_without_torch() -> None:
    listing = (
        "import sys; from conformance.cli import main\ntry: main(['clauses'])\nfinally: print('torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", listing]
    for _ in range(2):  # the first one may have to compile
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "False"
    assert "  step_logits " in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.5


def test_clauses_are_listed_by_chapter(command: Command) -> None:
    done = command("clauses")
    assert done.stdout.splitlines()[:2] == ["miniature", "  holds                        It holds."]
    listed = json.loads(command("clauses", "--format", "json").stdout)
    assert listed[1]["id"] == "miniature.wrong"
    assert listed[1]["sources"] == ["huggingface/peft#2134"]


def test_a_clause_is_explained(command: Command) -> None:
    done = command("explain", "miniature.wrong")
    assert done.stdout.splitlines()[:4] == [
        "miniature.wrong",
        "  It holds unless there are as many virtual tokens as text tokens.",
        "",
        "  More is to be said of it.",
    ]
    assert "  needs     A prefix" in done.stdout.splitlines()
    assert "  source    https://github.com/huggingface/peft/issues/2134" in done.stdout


def test_a_chapter_a_known_failure_and_a_trait_are_explained(command: Command) -> None:
    assert command("explain", "miniature").stdout.splitlines()[:2] == [
        "miniature",
        "  holds                        It holds.",
    ]
    entry = command("explain", "equal-lengths", "--known", "known.toml").stdout.splitlines()
    assert entry[0] == "equal-lengths: miniature.wrong for llama"
    assert entry[1].startswith("  peft >=0, transformers >=0: with the installed ")
    assert "  mend      miniature:mended" in entry
    assert command("explain", "rotary").stdout.splitlines()[1] == "  Queries and keys are rotated by their positions."


def test_a_feature_is_explained_with_the_known_failures_that_need_it(command: Command) -> None:
    said = command("explain", "some_pads").stdout.splitlines()
    assert said[:2] == [
        "some_pads",
        "  a feature of a Case: what it is in the dimension 'rows'; else it is one_row, equal_rows, all_pads_but_one",
    ]
    padded = command("explain", "left_padded").stdout.splitlines()
    assert padded[1:3] == [
        "  a feature of a Case beside those of its dimensions",
        "  needed by the known failure training-counts-pads",
    ]


def test_what_only_another_lane_shows_is_repeated_there(command: Command) -> None:
    (repeat,) = (line for line in command("explain", "whole-model-on-disk").stdout.splitlines() if "  repeat" in line)
    assert repeat.split()[1] == "CONFORMANCE_LANE=offload"


def test_a_replay_says_which_known_failure_explains_the_case(command: Command) -> None:
    case = ("replay", '{"family":"llama"}', "--clause", "miniature.wrong", "--known")
    known = command(*case, "known.toml")
    assert (known.returncode, known.stdout.splitlines()[-1]) == (1, "  known     as equal-lengths: mended, it conforms")
    assert json.loads(command(*case, "known.toml", "--format", "json").stdout)["known"] == ["equal-lengths"]
    unknown = command(*case, "none")
    assert (unknown.returncode, "  known " in unknown.stdout) == (1, False)


def test_an_entry_whose_range_has_ended_explains_nothing_and_is_told(command: Command, tmp_path: Path) -> None:
    ended = (tmp_path / "known.toml").read_text("utf-8").replace('peft = ">=0"', 'peft = "<0.1"')
    (tmp_path / "ended.toml").write_text(ended, "utf-8")
    # Alike, but its mend mends something else.
    (tmp_path / "other.toml").write_text(ended.replace("miniature:mended", "miniature:spared"), "utf-8")
    case = ("replay", '{"family":"llama"}', "--clause", "miniature.wrong", "--known")
    told = "  beyond    would be known as equal-lengths, whose range of versions leaves these out"
    assert told in command(*case, "ended.toml").stdout.splitlines()
    assert "would be known" not in command(*case, "other.toml").stdout


def test_families_are_listed_with_their_hazard(call: Call) -> None:
    code, out, _ = call("families")
    assert code == 0
    assert any(line.startswith("llama ") and line.endswith(".") for line in out.splitlines())
    _, out, _ = call("families", "--format", "json")
    assert "llama" in {family["name"] for family in json.loads(out)}


def test_coverage_is_counted(call: Call) -> None:
    code, out, _ = call("coverage", "--families", "gpt2")
    assert code == 0
    lines = out.splitlines()
    assert "quick, models in one place" in lines[1]
    assert lines[2].split()[:2] == ["gpt2", "10"]
    assert lines[2].split()[3:6] == ["28", "of", "28"]
    reached, _, possible = lines[2].split()[6:9]
    assert 0.9 * 357 <= int(reached) < int(possible) == 357
    assert "  no windows: every family" in lines
    assert not any("missing" in line for line in lines)


def test_coverage_is_told_to_programs_too(call: Call) -> None:
    code, out, _ = call("coverage", "--families", "bloom", "--families", "opt", "--format", "json")
    told = json.loads(out)
    assert code == 0
    assert len(told) == 2 * 3 * 3
    assert {line["family"] for line in told} == {"bloom", "opt", "all together"}
    assert all(line["missing"] == [] for line in told if line["size"] == 1)
    assert all(line["reached"] >= 0.9 * line["possible"] for line in told if line["size"] == 2)
    assert told[0]["impossible"]["no grouped heads"] == 2


def test_coverage_ends_with_1_where_a_pair_is_missing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    from conformance.core.dimension import Dimension
    from conformance.core.dimensions import DIMENSIONS
    from conformance.strategies import coverage

    never = Dimension(name="made up", classes={"never": lambda case: False, "always": lambda case: True})
    monkeypatch.setattr(coverage, "DIMENSIONS", (*DIMENSIONS, never))
    code, out, _ = call("coverage", "--families", "gpt2")
    assert code == 1
    assert "  missing in gpt2: never" in out.splitlines()


def test_coverage_of_an_unknown_profile_is_wrong_use(call: Call) -> None:
    code, _, err = call("coverage", "--profile", "quik")
    assert (code, err.splitlines()[0]) == (2, "unknown-profile: there is no profile 'quik'")


def test_schemas_are_json(call: Call) -> None:
    for what in ("case", "events"):
        code, out, _ = call("schema", what)
        assert code == 0
        assert "$defs" in json.loads(out)


def test_known_failures_are_listed_and_checked(command: Command, tmp_path: Path) -> None:
    listed = command("known", "list", "--known", "known.toml")
    assert listed.stdout.splitlines()[0] == "equal-lengths: miniature.wrong for llama"
    assert (
        json.loads(command("known", "list", "--known", "known.toml", "--format", "json").stdout)[0]["id"]
        == "equal-lengths"
    )
    toml = command("known", "list", "--known", "known.toml", "--format", "toml").stdout
    assert toml == (tmp_path / "known.toml").read_text("utf-8")
    holding = command("known", "check", "--known", "known.toml")
    assert (holding.returncode, "equal-lengths: still fails" in holding.stdout) == (0, True)
    mended = command("known", "check", "--known", "mended.toml")
    assert (mended.returncode, "long-gone: mended, its Case" in mended.stdout) == (4, True)


def test_a_known_failure_of_a_family_that_is_not_registered_is_wrong_use(command: Command, tmp_path: Path) -> None:
    known = (tmp_path / "known.toml").read_text("utf-8").replace('family = "llama"', 'family = "mine"')
    (tmp_path / "mine.toml").write_text(known, "utf-8")
    done = command("known", "check", "--known", "mine.toml")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("unknown-family: known failure equal-lengths: there is no family 'mine'\n")


def test_doctor_looks_at_everything(command: Command) -> None:
    checks = {check["what"]: check for check in json.loads(command("doctor", "--format", "json").stdout)}
    assert set(checks) == {
        "packages",
        "families",
        "clauses",
        "known failures",
        "pytest plugin",
        "temporary files",
        "workers",
        "torch",
        "peft",
        "device maps",
    }
    assert checks["packages"]["fine"]
    assert checks["torch"]["fine"]
    assert checks["device maps"]["said"] == "simulated: sim:0, sim:1, sim:2"


def test_doctor_says_which_lane_runs_and_why_not_a_better_one(command: Command) -> None:
    done = command("doctor", CONFORMANCE_LANE="labelled")
    assert done.returncode == 0
    said = "labelled: cpu:0, cpu:1, cpu:2; not simulated: CONFORMANCE_LANE says labelled"
    assert done.stdout.splitlines()[-1] == f"ok     device maps     {said}"


def test_doctor_looks_for_the_devices_that_are_named(command: Command) -> None:
    done = command("doctor", "--devices", "cpu,meta")
    assert done.returncode == 2
    assert "FAILS  device maps     no-such-device: there is no device 'meta' here\n  cause: torch says: " in done.stdout


def test_doctor_says_what_fails(command: Command, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch today')\n", "utf-8")
    done = command("doctor", TMPDIR=str(tmp_path))
    assert done.returncode == 2
    assert "FAILS  torch           no torch today" in done.stdout
    assert "FAILS  device maps     other-package: the process that judges takes torch from " in done.stdout
    assert "\n  cure:  run it in another folder, or remove what lies there under that name" in done.stdout
    assert "Traceback" not in done.stdout


@pytest.mark.parametrize("name", ["peft", "transformers"])
def test_doctor_says_what_is_judged_and_cannot_be_imported(command: Command, tmp_path: Path, name: str) -> None:
    (tmp_path / f"{name}.py").write_text("raise NameError('half installed')\n", "utf-8")
    done = command("doctor")
    assert done.returncode == 2
    assert "FAILS  peft            NameError: half installed" in done.stdout


def test_doctor_says_what_fails_in_whatever_way(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def lost(devices: str = "") -> None:
        raise ChildLost("the child process ended with exit code -9")

    monkeypatch.setattr("conformance.devices.inventory.inventory", lost)
    monkeypatch.setattr("conformance.clauses.registry.clauses", dict)
    code, out, _ = call("doctor")
    assert code == 2
    assert "FAILS  device maps     the child process ended with exit code -9" in out
    assert "FAILS  clauses         no chapter of clauses is installed" in out


def test_help_names_every_verb_and_exit_code(call: Call) -> None:
    _, out, _ = call("--help")
    for verb in (
        "run",
        "families",
        "clauses",
        "explain",
        "show",
        "replay",
        "known",
        "faults",
        "soak",
        "doctor",
        "calibrate",
        "schema",
        "report",
        "coverage",
    ):
        assert f" {verb} " in out
    assert "3 broken harness or" in " ".join(out.split())


def test_without_the_extra_the_command_says_what_to_install(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("conformance.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "typer", None)
    code, _, err = call("clauses")
    assert code == 2
    assert err.startswith("missing-package: typer is not installed here\n")
    assert "pip install 'peft-conformance[cli]'" in err


def test_a_module_of_ours_that_is_missing_is_no_mistake_of_the_user(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("conformance.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "conformance.cli.run", None)
    code, _, err = call("clauses")
    assert code == 3
    assert "import of conformance.cli.run halted" in err


@pytest.mark.parametrize(
    "arguments", [("no-such-verb",), ("run", "--no-such-option"), ("run", "--workers", "-1"), ("show",)]
)
def test_wrong_use_of_the_command_exits_2(call: Call, arguments: tuple[str, ...]) -> None:
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert err
