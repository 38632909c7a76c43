"""What conformance.yml does: install what is asked for, judge it, tell the result. `judge.py install`, `run` or `summary`.

An input of the workflow is an environment variable, ``ASKED_FAMILIES`` for ``families``; an empty one was not given.
Needs nothing but Python until it has installed the rest: the table of options takes nothing else.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from conformance.core.options import Given, Option, arguments, taken_by

SUITE = Path(__file__).parents[2]
JUDGED = ("peft", "transformers")
VIOLATION, LESS = 1, 5
"""The exit codes of `peft-conformance run` for violations, and for less than was to be tested."""
UPSTREAM = "git+https://github.com/huggingface"


class WrongUse(Exception):
    """The inputs contradict each other."""


def asked(environment: Mapping[str, str]) -> dict[str, str]:
    """The inputs that were given."""
    return {
        name.removeprefix("ASKED_").lower().replace("_", "-"): value.strip()
        for name, value in environment.items()
        if name.startswith("ASKED_") and value.strip()
    }


def requirement(package: str, text: str) -> str:
    """``text`` as pip reads it: a version, a range, `main` for the branch upstream, an address, or nothing for the newest."""
    if text == "main":
        return f"{package} @ {UPSTREAM}/{package}"
    if "://" in text:
        return f"{package} @ {text}"
    return f"{package}=={text}" if re.match(r"\d", text) else f"{package}{text}"


def packages(given: Mapping[str, str]) -> list[str]:
    """What uv is to install in one resolve: the pair, this suite, and what else was asked for.

    Raises :class:`WrongUse` for a stack together with a version.
    """
    if "stack" in given:
        if also := [name for name in JUDGED if name in given]:
            raise WrongUse(f"a stack names its own releases: give either stack or {' and '.join(also)}")
        pair = ["--group", f"{SUITE / 'pyproject.toml'}:stack-{given['stack']}"]
    else:
        pair = [requirement(name, given.get(name, "")) for name in JUDGED]
    return [*pair, f"peft-conformance[cli] @ {SUITE.resolve().as_uri()}", *shlex.split(given.get("extra-install", ""))]


def input_of(option: Option) -> str:
    """The input of the workflow that is ``option``: nothing can be given repeatedly there, so many files are one text."""
    return f"{option.name}s" if option.kind == "files" else option.name


def options(inputs: Mapping[str, str], report: Path) -> list[str]:
    """The arguments of `peft-conformance run`."""
    given: Given = {
        option.name: tuple(shlex.split(inputs[name])) if option.kind == "files" else (inputs[name],)
        for option in taken_by("workflow")
        if (name := input_of(option)) in inputs
    }
    database = {"database": ("local",)} if inputs.get("remember") == "true" else {}
    return arguments({**given, **database, "report": (str(report),)}, "run")


def call(*command: str) -> int:
    """Run ``command``, shown, and give its exit code."""
    print("+", shlex.join(command), flush=True)
    return subprocess.run(command, check=False).returncode


def append(variable: str, text: str) -> None:
    """Write to one of the files by which a step talks to GitHub; to the terminal where there is none."""
    if path := os.environ.get(variable):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
    else:
        print(text)


def judge(given: Mapping[str, str], report: Path) -> int:
    """Judge, and leave the exit code as the output ``exit-code``.

    0 for violations if they are only to be reported, and for a run whose time was over if it may be partial.
    """
    report.parent.mkdir(parents=True, exist_ok=True)
    code = call("peft-conformance", "run", *options(given, report))
    append("GITHUB_OUTPUT", f"exit-code={code}\n")
    reported = given.get("report-only") == "true" and code in (VIOLATION, LESS)
    partial = given.get("allow-partial") == "true" and code == LESS and only_partial(report)
    return 0 if reported or partial else code


def only_partial(report: Path) -> bool:
    """Whether nothing is wrong with the run but that its time was spent before all was judged."""
    footer = json.loads(report.read_text("utf-8").splitlines()[-1])
    return bool(footer.get("partial")) and not footer.get("short")


def summarise(report: Path) -> int:
    """The summary of the job: what the events say, or that there are none."""
    summary = "Nothing was judged: see the log.\n"
    if report.is_file() and report.stat().st_size:
        page = report.with_name("report")
        merged = call("peft-conformance", "report", "merge", str(report), "--out", str(page)) == 0
        summary = (page / "summary.md").read_text("utf-8") if merged else "The events cannot be shown: see the log.\n"
    append("GITHUB_STEP_SUMMARY", summary)
    return 0


def main(verb: str) -> int:
    """Do ``verb``; exit as `peft-conformance` does, 2 for wrong use."""
    given = asked(os.environ)
    if verb == "install":
        try:
            return call("uv", "pip", "install", "--system", *packages(given))
        except WrongUse as error:
            print(f"::error::{error}")
            return 2
    report = Path(os.environ["EVENTS"]) / f"{given.get('name') or given.get('stack') or 'conformance'}.events.jsonl"
    return judge(given, report) if verb == "run" else summarise(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
