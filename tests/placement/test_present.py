"""Which devices a process for placed models has: asked of a short one, while this one stays as it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.core.errors import UserError
from conformance.devices import lanes, real
from conformance.devices.current import environment_for
from conformance.devices.inventory import Inventory, inventory
from conformance.devices.lanes import FORCED

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _asked_anew() -> Iterator[None]:
    inventory.cache_clear()
    yield
    inventory.cache_clear()


def test_asking_imports_no_torch() -> None:
    code = "import sys; from conformance.devices.inventory import inventory; print(inventory()); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.splitlines() == ["simulated: sim:0, sim:1, sim:2", "False"]


def test_a_forced_lane_is_the_reason_why_no_better_one_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED, "offload")
    assert str(inventory()) == "offload: cpu; not simulated or labelled: CONFORMANCE_LANE says offload"


def test_without_the_hook_the_reason_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils import backend_registration

    monkeypatch.delenv(FORCED, raising=False)
    monkeypatch.delattr(backend_registration, "_setup_privateuseone_for_python_backend")
    lane, why_not = lanes.chosen()
    assert lane == "labelled"
    assert why_not == {"simulated": "this torch has no _setup_privateuseone_for_python_backend"}


def test_gpus_are_hidden_from_simulated_devices_only() -> None:
    assert environment_for("")["CUDA_VISIBLE_DEVICES"] == ""
    assert "CUDA_VISIBLE_DEVICES" not in environment_for("cuda:0")


def test_the_cpu_is_a_real_device() -> None:
    assert inventory("cpu") == Inventory("real", ("cpu",), {})


@pytest.mark.parametrize(
    ("devices", "code", "said"),
    [
        ("meta", "no-such-device", "Cannot copy out of meta tensor"),
        ("cpu,meta", "no-such-device", "Cannot copy out of meta tensor"),
        ("quark:0", "no-such-device", "Expected one of cpu, cuda"),
        ("cpu,cpu", "repeated-device", "torch calls them cpu, cpu"),
    ],
)
def test_devices_that_torch_lacks_are_refused_with_its_reason(devices: str, code: str, said: str) -> None:
    with pytest.raises(UserError) as refused:
        inventory(devices)
    assert refused.value.code == code
    assert said in refused.value.cause


def test_devices_of_two_kinds_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(real, "_found", lambda name: name)
    with pytest.raises(UserError, match="cpu, cuda:0 are devices of different kinds") as refused:
        real.found(("cpu", "cuda:0"))
    assert refused.value.code == "mixed-devices"
    assert real.found(("cuda:1", "cuda:0")) == ("cuda:1", "cuda:0")


def test_a_lane_that_does_not_exist_is_refused_there_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FORCED, "simulate")
    with pytest.raises(UserError, match="there is no lane 'simulate'"):
        inventory()


def test_a_torch_that_does_not_import_is_a_users_error(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch today')\n", "utf-8")
    look = "from conformance.devices.inventory import inventory\ntry:\n    inventory()\nexcept Exception as error:\n"
    # The child must take torch from the same file as the process that asks.
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", f"{look}    print(error.code, error.cause)"],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "broken-torch no torch today\n", done.stderr
