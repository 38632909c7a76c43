"""Use the installed distribution as another repository would. Run by the `packaging` environments of nox and tox.

The environment has the wheel and one release pair, nothing of the checkout; the repository it is used from has its own
``models.py``, pytest.ini and conftest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import distribution
from pathlib import Path

from msgspec.structs import replace

from conformance.core.finding import Cell
from conformance.session.reader import read_events

HERE = Path(__file__).parent
CHECKOUT = HERE.parent.parent
SAMPLE = ("--families", "llama,t5", "--clauses", "equivalence.step_logits,injection.present", "--known", "none")


class WrongError(Exception):
    """The installed distribution does not do what it should."""


def check(holds: bool, what: str) -> None:
    """Say ``what`` holds, or stop."""
    if not holds:
        raise WrongError(what)
    print(f"ok   {what}", flush=True)


def run(command: list[str], where: Path, codes: tuple[int, ...] = (0,), path: Path | None = None) -> str:
    """The output of ``command``, run in ``where`` with nothing of ours importable but ``path``."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHONPATH", "PYTEST_"))}
    if path:
        environment["PYTHONPATH"] = str(path)
    print(f"run  {' '.join(command)}", flush=True)
    done = subprocess.run(command, cwd=where, env=environment, text=True, capture_output=True, check=False)
    if done.returncode not in codes:
        raise WrongError(f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout


def pytest(*arguments: str, where: Path) -> str:
    """The output of pytest in ``where``."""
    return run([sys.executable, "-m", "pytest", *arguments], where)


def imported(where: Path, path: Path | None = None) -> Path:
    """The file of the ``conformance`` that a process in ``where`` imports."""
    printed = run([sys.executable, "-c", "import conformance; print(conformance.__file__)"], where, path=path)
    return Path(printed.strip())


def contents(where: Path) -> None:
    """The wheel holds the family files, its types, and nothing outside its own name."""
    files = {str(path) for path in distribution("peft-conformance").files or ()}
    families = {f"conformance/models/{path.name}" for path in (CHECKOUT / "models").glob("*.toml")}
    check(bool(families) and families <= files, f"the wheel has the {len(families)} family files")
    check("conformance/py.typed" in files, "the wheel says that it is typed")
    check("conformance/report/templates/page.html.jinja" in files, "the wheel has the template of the page")
    check(not any(name.startswith(("models/", "tests/")) for name in files), "the wheel keeps to its own name")
    check(not imported(where).is_relative_to(CHECKOUT / "conformance"), "the wheel is what is imported")
    listed = run(["peft-conformance", "families"], where)
    check(all(Path(name).stem in listed for name in families), "`peft-conformance families` lists them")


def plugin(where: Path) -> None:
    """The plugin is inert until asked; then it collects its own items only, and they run."""
    output = pytest(where=where)
    check("1 passed" in output, "a bare pytest run imports nothing heavy")
    output = pytest("--conformance", "--collect-only", "-q", "-k", "step_logits and llama", where=where)
    check("equivalence.step_logits[llama]" in output, "`pytest --conformance` collects clause[family]")
    check("test_own" not in output, "`pytest --conformance` collects nothing else")
    output = pytest("--conformance", "-k", "step_logits and llama", where=where)
    check("\nequivalence.step_logits[llama] ." in output, "equivalence.step_logits[llama] passes")


def cells(where: Path, name: str, path: Path | None = None) -> list[Cell]:
    """The cells of a small run, without the time they took."""
    report = where / name
    command = "import sys; from conformance.cli import main; sys.exit(main())"
    run([sys.executable, "-c", command, "run", *SAMPLE, "--report", str(report)], where, codes=(0, 1), path=path)
    return [
        replace(cell, verdict=cell.verdict and replace(cell.verdict, cpu_seconds=0))
        for cell in read_events(report).cells
    ]


def verdicts(where: Path) -> None:
    """The wheel and the checkout judge alike, to the last count."""
    check(imported(where, CHECKOUT).is_relative_to(CHECKOUT / "conformance"), "the checkout can be imported instead")
    installed = cells(where, "wheel.events.jsonl")
    checkout = cells(where, "checkout.events.jsonl", path=CHECKOUT)
    check(bool(installed) and installed == checkout, f"wheel and checkout give the same {len(installed)} verdicts")


def report(where: Path) -> None:
    """The events become a summary and a page, with the template of the wheel."""
    run(["peft-conformance", "report", "merge", "wheel.events.jsonl", "--out", "report"], where)
    check("</html>" in (where / "report" / "index.html").read_text("utf-8"), "the wheel writes the page")


def main() -> int:
    """Check everything; 0 if it holds."""
    with tempfile.TemporaryDirectory() as folder:
        where = Path(folder) / "consumer"
        shutil.copytree(HERE / "consumer", where, ignore=shutil.ignore_patterns("__pycache__", ".*"))
        try:
            contents(where)
            plugin(where)
            verdicts(where)
            report(where)
        except WrongError as wrong:
            print(f"not  {wrong}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
