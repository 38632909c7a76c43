"""Stands in for what a workflow must not really do: `fakes.py NAME ARGUMENTS`. All of it is noted in `calls.jsonl`.

``SANDBOX`` is where all is played: `cache/` has the caches, `issue.json` the issue, if there is one. ``PLAY`` is the folder of
this run: `store/` has its artifacts.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable
from fnmatch import fnmatch
from pathlib import Path
from typing import NoReturn

SANDBOX, PLAY = Path(os.environ["SANDBOX"]), Path(os.environ["PLAY"])


def checkout(path: str) -> int:
    """A second checkout: the same files once more."""
    if path:
        here = Path.cwd()
        shutil.copytree(here, here / path, ignore=shutil.ignore_patterns(path, ".git"), dirs_exist_ok=True)
    return 0


def upload(name: str, path: str, missing: str) -> int:
    """Keep a folder under a name that is free."""
    if not Path(path).is_dir():
        return int(missing == "error")
    shutil.copytree(path, PLAY / "store" / name)
    return 0


def download(name: str, pattern: str, path: str) -> int:
    """One artifact into a folder, or several each into a folder of its own; one must be there, several need not."""
    store = PLAY / "store"
    if name:
        shutil.copytree(store / name, path, dirs_exist_ok=True)
        return 0
    for artifact in store.iterdir():
        if fnmatch(artifact.name, pattern):
            shutil.copytree(artifact, Path(path) / artifact.name)
    return 0


def restore(path: str, key: str, prefix: str) -> int:
    """The youngest cache whose key begins so."""
    cache = SANDBOX / "cache"
    found = [kept for kept in cache.iterdir() if kept.name.startswith(prefix or key)] if cache.is_dir() else []
    if found:
        shutil.copytree(max(found, key=lambda kept: kept.stat().st_mtime_ns), path)
    return 0


def save(path: str, key: str) -> int:
    """Keep a folder; a key is never written twice, and what is not there is a warning."""
    if Path(path).is_dir():
        shutil.copytree(path, SANDBOX / "cache" / key, copy_function=shutil.copyfile)
        os.utime(SANDBOX / "cache" / key)
    return 0


def uv(*arguments: str) -> int:
    """Everything can be installed but the stack `lost`."""
    return int(any(argument.endswith(":stack-lost") for argument in arguments))


def python(*arguments: str) -> int:
    """Python, but nothing is installed."""
    return 0 if arguments[:3] == ("-m", "pip", "install") else become(*arguments)


def gh(*arguments: str) -> int:
    """The one issue."""
    kept = SANDBOX / "issue.json"
    if arguments[:2] == ("issue", "list"):
        print(f"[{kept.read_text()}]" if kept.is_file() else "[]")
    return 0


def command(*arguments: str) -> int:
    """`peft-conformance`, but nothing is judged: the events of a run, and the counts of a soak, are made up."""
    if arguments[0] == "soak":
        count = {"subject": "reference", "item": {"clause": "a.b", "family": "llama"}, "words": {"conforms": 9}}
        Path(arguments[arguments.index("--report") + 1]).write_text(json.dumps({"counts": [count], "complete": True}))
        return 0
    if arguments[0] == "run":
        return become(str(Path(__file__).with_name("played.py")), *arguments)
    return become("-c", "from conformance.cli import main; main()", *arguments)


def become(*arguments: str) -> NoReturn:
    """The real Python, in place of this process."""
    os.execv(sys.executable, [sys.executable, *arguments])


FAKES: dict[str, Callable[..., int]] = {
    "checkout": checkout,
    "setup-python": lambda version: 0,
    "upload": upload,
    "download": download,
    "restore": restore,
    "save": save,
    "uv": uv,
    "python": python,
    "python3": python,
    "gh": gh,
    "peft-conformance": command,
}

if __name__ == "__main__":
    name, *rest = sys.argv[1:]
    with (PLAY / "calls.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps([name, *rest]) + "\n")
    sys.exit(FAKES[name](*rest))
