"""The environments: `nox` runs the main job, `nox -l` lists the rest. tox.ini runs these sessions by their names."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
REFERENCE_STACK = "stack-peft-0.21.2-transformers-5.23.0"
"""The latest pair whose violations are all known. The suite is tested on it: half of its tests need a PEFT that injects."""
STACKS = tuple(name.removeprefix("stack-") for name in PYPROJECT["dependency-groups"] if name.startswith("stack-"))
TAGS = {
    "current": ("newest", REFERENCE_STACK.removeprefix("stack-"), "main"),
    "recent": (
        "newest",
        "peft-0.19.1-transformers-5.5.4",
        "peft-0.20.0-transformers-5.15.1",
        "peft-0.21.2-transformers-5.15.1",
        "peft-0.21.2-transformers-5.23.0",
    ),
    "all": tuple(name for name in STACKS if name != "main"),
}
"""Stacks by tag: those in which a bug can still be fixed, those in use today, and all releases."""
REGRESSIONS = nox.project.load_toml(ROOT / "tests" / "history" / "regressions.toml")["regression"]
PAIRS = {
    "x".join(pin.rpartition("==")[2] for pin in PYPROJECT["dependency-groups"][f"stack-{name}"][1:]): name
    for name in STACKS
}
"""The stacks by what they pin, such as 0.13.2x4.45.1."""
HISTORY = sorted({PAIRS[pair] for regression in REGRESSIONS for pair in (*regression["bad"], *regression["good"])})
"""Stacks whose past is known."""
WORKFLOWS = ".github/workflows"
ON_ALL_CORES = ("--numprocesses", "auto", "--dist", "worksteal")
CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
"""What a Chromium is called; tests/browser looks for the same names."""

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["conform"]

# uv has its own name for pip's folder of wheels.
if "PIP_FIND_LINKS" in os.environ:
    os.environ.setdefault("UV_FIND_LINKS", ",".join(os.environ["PIP_FIND_LINKS"].split()))


def install(session: nox.Session, *groups: str, project: tuple[str, ...] = ("-e", ".[cli]")) -> None:
    """Install dependency groups and the project in one resolve, so that nothing replaces the torch that is named."""
    session.install(*nox.project.dependency_groups(PYPROJECT, *groups), *project)
    quiet(session)


def quiet(session: nox.Session) -> None:
    """Set what every run needs: byte code is kept, one thread per process, and nothing is asked of the Hub."""
    # Some machines forbid byte code; every process would then compile torch and transformers anew.
    session.env.update(PYTHONDONTWRITEBYTECODE="", OMP_NUM_THREADS="1", HF_HUB_OFFLINE="1")


def judge(session: nox.Session, *mended: str) -> None:
    """Judge what is installed; the events stay in the session's folder, also of a run that was ended."""
    events = Path(session.create_tmp()) / f"{session.name.split('(')[0]}{''.join(mended)}.events.jsonl"
    events.unlink(missing_ok=True)
    session.run("peft-conformance", "run", *mended, "--report", str(events), *session.posargs)


@nox.session
def conform(session: nox.Session) -> None:
    """Judge what `pip install` gives today, and what is left with every known failure mended. Arguments go to `run`."""
    install(session, "stack-newest")
    judge(session)
    judge(session, "--mended")


@nox.session
def expect(session: nox.Session) -> None:
    """Hold the reference stack against what is expected of it, to the count; `-- --write` writes that anew."""
    install(session, REFERENCE_STACK)
    write = "--write" in session.posargs
    session.run("peft-conformance", "expect", *[] if write else ["--check"])


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests on all cores. Arguments go to pytest, such as a folder, or `-n 0` for one process."""
    install(session, REFERENCE_STACK, "test")
    session.run("python", "-m", "pytest", *ON_ALL_CORES, *session.posargs)


@nox.session
def fast(session: nox.Session) -> None:
    """Run the tests that need no torch, in seconds. Arguments go to pytest."""
    install(session, REFERENCE_STACK, "test")
    session.run("python", "-m", "pytest", "-m", "light", *ON_ALL_CORES, *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the sources, their format, which way imports point, and the workflows."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports", env={"PYTHONPATH": str(ROOT)})
    workflows = sorted(str(path.relative_to(ROOT)) for path in (ROOT / WORKFLOWS).glob("*.yml"))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    # Without the linters of shell and Python that some machines have and others have not.
    session.run("actionlint", "-shellcheck=", "-pyflakes=", *workflows)
    session.run("zizmor", "--offline", "--quiet", *workflows)


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, strictly."""
    install(session, REFERENCE_STACK, "test", "typing")
    session.run("mypy", *session.posargs)


@nox.session(reuse_venv=False)
def packaging(session: nox.Session) -> None:
    """Build sdist, then wheel from the sdist; install the wheel into a fresh environment; use it from elsewhere."""
    dist = Path(session.create_tmp()) / "dist"
    session.install("build[uv]")
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    install(session, REFERENCE_STACK, project=(f"peft-conformance[cli] @ {wheel.resolve().as_uri()}",))
    session.run("python", "tests/packaging/check.py")


@nox.session
def workflows(session: nox.Session) -> None:
    """Play the workflows of GitHub here, by act, without Docker; nothing is judged. Arguments go to pytest."""
    install(session, REFERENCE_STACK, "test", "workflows")
    session.run("python", "-m", "pytest", "tests/workflows", *session.posargs)


@nox.session
def known(session: nox.Session) -> None:
    """Prove, on the newest pair, the reason of each known failure that it has. Arguments go to pytest."""
    install(session, "stack-newest", "test")
    session.run("python", "-m", "pytest", "tests/known", *session.posargs)


@nox.session(tags=["regression"])
@nox.parametrize("stack", [nox.param(name, id=name) for name in HISTORY])
def history(session: nox.Session, stack: str) -> None:
    """Check an old pair against its history: it shows the bugs it had, and not those that it fixed."""
    install(session, f"stack-{stack}")
    session.run("python", "tests/history/check.py", session.create_tmp(), *session.posargs)


def tagged(stack: str) -> list[str]:
    """The tags of a stack."""
    return [tag for tag, stacks in TAGS.items() if stack in stacks]


@nox.session
@nox.parametrize("stack", [nox.param(name, id=name, tags=tagged(name)) for name in STACKS])
def stack(session: nox.Session, stack: str) -> None:
    """Judge one pair of releases; `-t recent` and `-t all` choose some. Arguments go to the run."""
    install(session, f"stack-{stack}")
    judge(session)


@nox.session
def matrix(session: nox.Session) -> None:
    """Find both releases that fixed issue 2134, by bisection over environments that are built on the way."""
    install(session, REFERENCE_STACK, "matrix")
    session.run("python", "tests/matrix/check.py", *session.posargs)


@nox.session
def browser(session: nox.Session) -> None:
    """Open the report page in a real browser. Needs a Chromium; as root, apt-get installs Debian's."""
    install(session, REFERENCE_STACK, "browser")
    if not any(map(shutil.which, CHROMIUM)) and shutil.which("apt-get") and getattr(os, "geteuid", lambda: 1)() == 0:
        session.run("apt-get", "update", "--quiet", external=True)
        session.run("apt-get", "install", "--yes", "--no-install-recommends", "chromium", external=True)
    if not any(map(shutil.which, CHROMIUM)):
        session.error(f"there is no Chromium on the path ({', '.join(CHROMIUM)}): sudo apt-get install chromium")
    session.run("python", "-m", "pytest", "tests/browser", *session.posargs)


@nox.session
def soak(session: nox.Session) -> None:
    """Hold subjects that are right against every clause, in the oddest families. Arguments go to `peft-conformance soak`."""
    install(session, REFERENCE_STACK)
    report = Path(session.create_tmp()) / "soak.json"
    # Windows, and an encoder: one round has all methods, so two families make it; the night has all ten.
    asked = session.posargs or ("--families", "gemma3,t5", "--least", "10000", "--workers", "2")
    session.run("peft-conformance", "soak", "--report", str(report), *asked)


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure what the suite costs; fails beyond the bounds. benchmarks/README.md says how."""
    install(session, REFERENCE_STACK)
    session.run("python", "benchmarks/overhead.py")
    session.run("python", "benchmarks/quick_profile.py")
    session.run("python", "benchmarks/simulated_devices.py")
    session.run("python", "benchmarks/kill_curve.py")
