from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

Names = tuple[str, ...]


@pytest.fixture
def saved(devices: Names, tmp_path: Path) -> Path:
    path = tmp_path / "saved.pt"
    torch.save({"a": torch.arange(3.0, device=devices[0]), "b": [torch.ones(2, device=devices[1])]}, path)
    return path


def places(found: dict[str, Any]) -> list[torch.device]:
    assert found["a"].tolist() == [0, 1, 2]
    return [found["a"].device, found["b"][0].device]


@pytest.mark.parametrize("weights_only", [True, False])
def test_what_was_saved_comes_back_to_its_device(saved: Path, devices: Names, weights_only: bool) -> None:
    assert places(torch.load(saved, weights_only=weights_only)) == [torch.device(devices[0]), torch.device(devices[1])]


@pytest.mark.parametrize("goal", ["cpu", 2])
def test_what_is_loaded_goes_where_it_is_told(saved: Path, devices: Names, goal: str | int) -> None:
    place = torch.device(devices[goal] if isinstance(goal, int) else goal)
    assert places(torch.load(saved, map_location=place)) == [place, place]
    assert places(torch.load(saved, map_location=str(place))) == [place, place]


def test_a_map_of_devices_is_followed(saved: Path, devices: Names) -> None:
    found = torch.load(saved, map_location={devices[1]: devices[2]})
    assert places(found) == [torch.device(devices[0]), torch.device(devices[2])]


def test_what_was_saved_on_the_cpu_can_be_loaded_to_a_simulated_device(devices: Names, tmp_path: Path) -> None:
    torch.save({"weight": torch.ones(2)}, tmp_path / "plain.pt")
    assert torch.load(tmp_path / "plain.pt", map_location=devices[1])["weight"].device == torch.device(devices[1])


def test_safetensors_are_written_from_and_read_to_simulated_devices(devices: Names, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    save_file(nn.Linear(2, 2).to(devices[0]).state_dict(), path)
    assert load_file(path)["weight"].device == torch.device("cpu")
    assert load_file(path, device=devices[2])["weight"].device == torch.device(devices[2])
    with safe_open(path, framework="pt", device=devices[1]) as opened:
        assert sorted(opened.keys()) == ["bias", "weight"]
        assert opened.get_tensor("bias").device == torch.device(devices[1])


def test_tensors_that_share_memory_are_still_refused(devices: Names, tmp_path: Path) -> None:
    held = torch.zeros(4, device=devices[0])
    with pytest.raises(RuntimeError, match="share memory"):
        save_file({"a": held, "b": held.view(2, 2)}, tmp_path / "shared.safetensors")


def test_a_state_dict_is_loaded_across_devices(devices: Names) -> None:
    source, target = nn.Linear(2, 2).to(devices[0]), nn.Linear(2, 2).to(devices[1])
    target.load_state_dict(source.state_dict())
    assert target.weight.device == torch.device(devices[1])
    assert torch.equal(target.weight.cpu(), source.weight.cpu())
