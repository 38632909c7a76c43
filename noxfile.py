"""The environments: `nox` runs the main job on the newest pair, `nox -l` lists the rest. tox.ini has them too."""

from __future__ import annotations

import os
from pathlib import Path

import nox

ROOT = Path(__file__).parent
PYPROJECT = nox.project.load_toml(ROOT / "pyproject.toml")
NEWEST = "stack-newest"
HISTORY = ("peft-0.13.2-transformers-4.45.1", "peft-0.14.0-transformers-4.45.1")
WORKFLOWS = ".github/workflows"
JUDGEABLE = (0, 1, 3, 4)
"""Exit codes that leave events worth judging; about a broken harness, which is 3, the judge says more."""

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


@nox.session
def conform(session: nox.Session) -> None:
    """Judge the newest pair of PEFT and transformers. Arguments go to `peft-conformance run`."""
    install(session, NEWEST)
    session.run("peft-conformance", "run", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests. Arguments go to pytest, such as `-n 2` for two processes."""
    install(session, NEWEST, "test")
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check the sources, their format, and the workflows."""
    session.install(*nox.project.dependency_groups(PYPROJECT, "lint"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    workflows = sorted(str(path.relative_to(ROOT)) for path in (ROOT / WORKFLOWS).glob("*.yml"))
    session.run("check-jsonschema", "--builtin-schema", "vendor.github-workflows", *workflows)
    # Without the linters of shell and Python that some machines have and others have not.
    session.run("actionlint", "-shellcheck=", "-pyflakes=", *workflows)
    session.run("zizmor", "--offline", "--quiet", *workflows)


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types, strictly."""
    install(session, NEWEST, "test", "typing")
    session.run("mypy", *session.posargs)


@nox.session(reuse_venv=False)
def packaging(session: nox.Session) -> None:
    """Build sdist, then wheel from the sdist; install the wheel into a fresh environment; use it from elsewhere."""
    dist = Path(session.create_tmp()) / "dist"
    session.install("build[uv]")
    session.run("python", "-m", "build", "--installer", "uv", "--outdir", str(dist))
    (wheel,) = dist.glob("*.whl")
    install(session, NEWEST, project=(f"peft-conformance[cli] @ {wheel.resolve().as_uri()}",))
    session.run("python", "tests/packaging/check.py")


@nox.session
def workflows(session: nox.Session) -> None:
    """Play the workflows of GitHub here, by act, without Docker; nothing is judged. Arguments go to pytest."""
    install(session, NEWEST, "test", "workflows")
    session.run("python", "-m", "pytest", "tests/workflows", *session.posargs)


@nox.session
@nox.parametrize("stack", [nox.param(name, id=name) for name in HISTORY])
def history(session: nox.Session, stack: str) -> None:
    """Tell apart two releases of PEFT around issue 2134, by what the clauses find on each."""
    install(session, f"stack-{stack}")
    events = Path(session.create_tmp()) / "history.events.jsonl"
    events.unlink(missing_ok=True)
    run = ("run", "--known", "tests/history/known.toml", "--report", str(events), *session.posargs)
    session.run("peft-conformance", *run, success_codes=JUDGEABLE)
    session.run("python", "tests/history/judge.py", str(events))


@nox.session
def benchmarks(session: nox.Session) -> None:
    """Measure what the suite costs; fails beyond the bounds. benchmarks/README.md says how."""
    install(session, NEWEST)
    session.run("python", "benchmarks/overhead.py")
    session.run("python", "benchmarks/quick_profile.py")
    session.run("python", "benchmarks/simulated_devices.py")
