"""Bisect the stored Case of issue 2134 along both axes, on real releases, and hold the answer against history.

Arguments go to ``peft-conformance bisect``, such as ``--store DIR``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CASE = Path(__file__).parent / "issue_2134.json"
SEARCH = ("--clause", "injection.ignored_never", "--bad", "0.13.2x4.45.1", "--good", "0.15.2x4.46.3")
EXPECTED = {"peft": ("0.13.2", "0.14.0"), "transformers": ("4.45.1", "4.45.2")}
"""By axis, the last release that is bad and the first that is good."""


def main() -> int:
    """Print what is found; 0 if it is what happened."""
    command = [sys.executable, "-m", "conformance", "bisect", str(CASE), *SEARCH, "--format", "json", *sys.argv[1:]]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        print(f"bisect ended with exit code {done.returncode}\n{done.stdout}")
        return 1
    answer = json.loads(done.stdout)
    found = {}
    for axis in answer["axes"]:
        older, newer = axis["found"]["older"], axis["found"]["newer"]
        print(f"{axis['axis']}: {older['release']} is {older['look']}, {newer['release']} is {newer['look']}")
        print("\n".join(f"  {link}" for link in axis["links"]))
        if (older["look"], newer["look"]) == ("bad", "good"):
            found[axis["axis"]] = (older["release"], newer["release"])
    print(f"{answer['runs']} runs")
    return 0 if found == EXPECTED else 1


if __name__ == "__main__":
    sys.exit(main())
