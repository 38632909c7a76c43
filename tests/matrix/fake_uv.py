"""A uv with an index of its own, for tests: a JSON file that ``FAKE_INDEX`` names.

By package and release the file says what else is needed (``needs``), what importing it does (``code``), and whether it can
be installed (``lost``). ``down`` in place of a package says how many calls of uv fail before the network is there. Each
call leaves one line in a file beside the index.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn

from packaging.requirements import Requirement
from packaging.version import Version

INDEX = Path(os.environ["FAKE_INDEX"])
CALLS = INDEX.with_suffix(".calls")


def fail(code: int, said: str) -> NoReturn:
    print(said, file=sys.stderr)
    sys.exit(code)


def newest(index: dict[str, Any], wanted: Requirement, pre: bool) -> str:
    fitting = [release for release in index.get(wanted.name, {}) if wanted.specifier.contains(release, prereleases=pre)]
    if not fitting:
        fail(
            1,
            f"error: No solution found when resolving dependencies\n  cause: there is no {wanted} at https://x.example/",
        )
    return str(max(fitting, key=Version))


def resolved(index: dict[str, Any], lines: Iterable[str], pre: bool) -> dict[str, str]:
    pins: dict[str, str] = {}
    for line in lines:
        wanted = Requirement(line)
        pins[wanted.name] = newest(index, wanted, pre)
        if "--no-deps" not in sys.argv:
            pins |= resolved(index, index[wanted.name][pins[wanted.name]].get("needs", []), pre)
    return pins


def after(flag: str) -> str | None:
    return sys.argv[sys.argv.index(flag) + 1] if flag in sys.argv else None


def compile_(index: dict[str, Any]) -> None:
    pins = resolved(index, sys.stdin.read().split("\n")[:2] if after("--output-file") else [sys.stdin.read()], _pre())
    text = "".join(f"{name}=={release}\n" for name, release in pins.items())
    if to := after("--output-file"):
        Path(to).write_text(text)
    else:
        print(text, end="")


def _pre() -> bool:
    return after("--prerelease") != "disallow"


def install(index: dict[str, Any]) -> None:
    name, _, release = next(argument for argument in sys.argv if "==" in argument).partition("==")
    about, target = index[name][release], Path(str(after("--target")))
    (target / name).mkdir(exist_ok=True)
    if about.get("lost"):
        fail(2, f"error: Failed to fetch: `https://x.example/{name}.whl`")
    (target / name / "__init__.py").write_text(about.get("code", ""))
    (target / f"{name}-{release}.dist-info").mkdir()
    (target / f"{name}-{release}.dist-info" / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {release}\n"
    )


def main() -> None:
    index = json.loads(INDEX.read_text())
    before = CALLS.read_text().splitlines() if CALLS.exists() else []
    CALLS.write_text("".join(f"{line}\n" for line in (*before, " ".join(sys.argv[1:3]))))
    if len(before) < index.get("down", 0):
        fail(2, "error: Request failed after 3 retries\n  cause: Failed to fetch: `https://x.example/simple/`")
    {"compile": compile_, "install": install}[sys.argv[2]](index)


if __name__ == "__main__":
    main()
