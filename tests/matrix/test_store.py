"""Environments: one folder per package release, and what is known of each pair."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import platformdirs
import pytest
from msgspec.structs import replace
from platformdirs.api import PlatformDirsABC
from platformdirs.macos import MacOS
from platformdirs.unix import Unix
from platformdirs.windows import Windows

from conformance.core.errors import UserError
from conformance.core.pair import Pair
from conformance.matrix import process as child
from conformance.matrix.store import Store, default_folder, installed
from conformance.matrix.uv import Unreachable

if TYPE_CHECKING:
    from tests.matrix.conftest import Index

ROOT = Path(__file__).parents[2]
PAIR = Pair("0.13.2", "4.45.1")


@pytest.fixture
def made(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def test_a_pair_is_the_folders_of_its_packages_and_whatever_fits_is_taken_from_here(index: Index, made: Store) -> None:
    here = installed()["msgspec"]
    index.packages["msgspec"] = {here: {}}
    index.change("transformers", "4.45.1", needs=["helper", "msgspec"])
    admission = made.admit(PAIR)
    assert set(admission.packages) == {"peft-0.13.2", "transformers-4.45.1", "helper-1.0"}
    assert admission.why == ""
    assert all(Path(path).is_dir() for path in made.paths(admission))


def test_packages_are_installed_once_and_shared(index: Index, made: Store) -> None:
    made.admit(PAIR)
    index.write()
    made.admit(Pair("0.14.0", "4.45.1"))
    assert index.calls == ["pip compile", "pip install"]
    assert sorted(folder.name for folder in made.packages.iterdir()) == [
        "peft-0.13.2",
        "peft-0.14.0",
        "transformers-4.45.1",
    ]


def test_what_is_known_of_a_pair_is_not_found_out_again(index: Index, made: Store) -> None:
    admission = made.admit(PAIR)
    index.write(down=99)
    assert Store(made.folder).admit(PAIR) == admission
    assert index.calls == []


@pytest.mark.parametrize("loss", ["folder", "base", "record"])
def test_what_is_no_longer_so_is_found_out_again(index: Index, made: Store, loss: str) -> None:
    admission = made.admit(PAIR)
    record = made.pairs / f"{PAIR.name}.json"
    if loss == "folder":
        (made.packages / "peft-0.13.2").rename(made.folder / "elsewhere")
    else:
        other = msgspec.json.encode(replace(admission, base="another"))
        record.write_bytes(other if loss == "base" else b"{")
    index.write()
    assert made.known(PAIR) is None
    assert made.admit(PAIR) == admission
    assert index.calls


def test_a_pair_that_cannot_be_resolved_is_impossible(index: Index, made: Store) -> None:
    index.change("transformers", "4.45.1", needs=["helper>=2"])
    admission = made.admit(PAIR)
    assert (
        admission.why
        == "cannot be resolved: No solution found when resolving dependencies there is no helper>=2 at the index"
    )
    index.change("helper", "2.0")
    assert not made.admit(PAIR).why, "what the index has not today is not remembered"


def test_a_pair_that_cannot_be_imported_is_impossible(index: Index, made: Store) -> None:
    index.change("peft", "0.13.2", code="raise ImportError('cannot import name X (/some/place.py)')")
    assert made.admit(PAIR).why == "cannot be imported: ImportError: cannot import name X"


def test_a_process_that_is_ended_while_it_imports_tells_nothing_about_the_pair(index: Index, made: Store) -> None:
    index.change("peft", "0.13.2", code="import os; print('so long', flush=True); os._exit(7)")
    with pytest.raises(Unreachable, match="ended with exit code 7: so long"):
        made.admit(PAIR)
    assert made.known(PAIR) is None


def test_a_package_that_cannot_be_fetched_is_tried_twice_and_leaves_nothing(index: Index, made: Store) -> None:
    index.change("peft", "0.13.2", lost=True)
    with pytest.raises(Unreachable, match="Failed to fetch: the index"):
        made.admit(PAIR)
    assert index.calls == ["pip compile", "pip install", "pip install"]
    assert list(made.packages.iterdir()) == []
    assert made.known(PAIR) is None


def test_a_store_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError) as refused:
        Store(tmp_path / "file" / "store")
    assert refused.value.code == "unwritable-store"


@pytest.mark.parametrize(
    ("platform", "variable", "folder"),
    [
        (Unix, "XDG_CACHE_HOME", "peft-conformance"),
        (Unix, "HOME", ".cache/peft-conformance"),
        (Windows, "LOCALAPPDATA", "peft-conformance"),
        (MacOS, "HOME", "Library/Caches/peft-conformance"),
    ],
)
def test_by_default_it_lies_where_caches_lie(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, platform: type[PlatformDirsABC], variable: str, folder: str
) -> None:
    monkeypatch.setattr(platformdirs, "PlatformDirs", platform)
    # Only there can Windows itself be asked, which has the last word about its folders.
    local = {"CSIDL_LOCAL_APPDATA": str(tmp_path)}
    monkeypatch.setattr("platformdirs.windows.get_win_folder", local.__getitem__)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    assert default_folder() == tmp_path / folder


def test_a_process_sees_its_pair_first_then_this_package_then_what_the_user_had(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    outer = {"PYTHONPATH": "mine", "PYTHONDONTWRITEBYTECODE": "1", "HOME": "h"}
    started: dict[str, str] = {}

    class Process(subprocess.Popen[bytes]):
        def __init__(self, command: list[str], *, env: dict[str, str], **rest: Any) -> None:
            started.update(env)
            super().__init__([sys.executable, "-c", ""], **rest)

    monkeypatch.setattr("os.environ", outer)
    monkeypatch.setattr("subprocess.Popen", Process)
    with Path(os.devnull).open("wb") as nothing:
        assert child.call("a_module", (), ["a", "b"], out=nothing, err=nothing, limit=60) == 0
    assert started == {
        "PYTHONPATH": os.pathsep.join(["a", "b", str(ROOT), str(Path("mine").absolute())]),
        "HOME": "h",
        "OMP_NUM_THREADS": "1",
        "PYTHONHASHSEED": "0",
        "HF_HUB_OFFLINE": "1",
    }
