from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from conformance.core.errors import UserError
from conformance.devices import FORCED, activate, available

ROOT = Path(__file__).parent.parent.parent


def said(code: str) -> str:
    """What a process of its own prints."""
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout.strip()


def test_the_best_lane_is_found_without_registering_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FORCED, raising=False)
    assert (
        said(
            "import torch; from conformance.devices import available; print(available());"
            "print(torch._C._get_privateuse1_backend_name(), torch.accelerator.is_available())"
        )
        == "simulated\nprivateuseone False"
    )


def test_without_the_hook_tensors_are_labelled() -> None:
    assert (
        said(
            "from torch.utils import backend_registration as it; del it._setup_privateuseone_for_python_backend;"
            "from conformance.devices import available; print(available())"
        )
        == "labelled"
    )


def test_without_wrappers_there_is_only_offloading() -> None:
    assert (
        said(
            "import torch; from torch.utils import backend_registration as it;"
            "del it._setup_privateuseone_for_python_backend; torch.Tensor._make_wrapper_subclass = None;"
            "from conformance.devices import available; print(available())"
        )
        == "offload"
    )


def test_where_another_backend_is_registered_it_is_left_alone() -> None:
    assert (
        said(
            "import torch; torch.utils.rename_privateuse1_backend('npu');"
            "from conformance.devices import available; print(available())"
        )
        == "labelled"
    )


def test_importing_the_package_registers_nothing() -> None:
    assert (
        said(
            "import pkgutil, importlib, conformance.devices as it, torch\n"
            "for found in pkgutil.iter_modules(it.__path__): importlib.import_module(f'{it.__name__}.{found.name}')\n"
            "print(torch._C._get_privateuse1_backend_name(), torch.load.__module__, torch.zeros(1).tolist())"
        )
        == "privateuseone torch.serialization [0.0]"
    )


@pytest.mark.parametrize("lane", ["simulated", "labelled", "offload", "real"])
def test_a_lane_can_be_forced(lane: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED, lane)
    assert available() == lane


def test_a_lane_that_does_not_exist_is_refused_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED, "simulate")
    with pytest.raises(UserError, match="unknown-lane") as caught:
        available()
    assert "'simulated'" in caught.value.cure


def test_offloading_has_the_names_that_accelerate_knows() -> None:
    assert activate("offload", 3) == ("cpu", "disk")


def test_real_devices_are_those_that_are_named() -> None:
    assert activate("real", 2, ("cuda:3", "cuda:1", "cuda:0")) == ("cuda:3", "cuda:1")
    with pytest.raises(UserError, match="too-few-devices"):
        activate("real", 2, ("cuda:0",))
