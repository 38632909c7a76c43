from __future__ import annotations

import copy
import pickle
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conformance.devices.simulated.rule import DeviceMismatch
from conformance.devices.simulated.tensor import SimulatedTensor
from conformance.devices.simulated.transfers import Crossed, transfers

Names = tuple[str, ...]
VALUES = [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]


@pytest.fixture
def tensor(devices: Names) -> torch.Tensor:
    return torch.tensor(VALUES, device=devices[1])


def test_a_tensor_says_where_it_lies(tensor: torch.Tensor, devices: Names) -> None:
    assert tensor.device == torch.device(devices[1])
    assert tensor.device.index == tensor.get_device() == 1 or tensor.is_cpu
    assert not tensor.is_cuda
    assert type(tensor.cpu()) is torch.Tensor


def test_numbers_come_to_the_host(tensor: torch.Tensor) -> None:
    assert tensor.tolist() == VALUES
    assert (tensor.sum().item(), bool(tensor.sum() > 1), int(tensor[1, 1])) == (15.0, True, 4)
    assert len(tensor) == 2
    assert [row.tolist() for row in tensor] == VALUES


def test_numpy_is_refused_as_for_a_gpu(tensor: torch.Tensor, devices: Names) -> None:
    for convert in (tensor.numpy, partial(np.asarray, tensor)):
        with pytest.raises(TypeError, match=f"can't convert {devices[1]} device type tensor to numpy. Use Tensor.cpu"):
            convert()
    assert tensor.numpy(force=True).tolist() == VALUES


def test_a_tensor_prints_its_numbers_and_its_device(tensor: torch.Tensor, devices: Names) -> None:
    assert repr(tensor[0]) == f"tensor([0., 1., 2.], device='{devices[1]}')"
    assert repr(tensor[0].requires_grad_()) == f"tensor([0., 1., 2.], device='{devices[1]}', requires_grad=True)"
    assert f"{tensor[1, 0]:.2f}" == "3.00"
    with pytest.raises(TypeError, match="format"):
        f"{tensor:.2f}"


def test_tensors_of_different_devices_and_views_never_share_an_address(devices: Names) -> None:
    host = torch.zeros(4)
    everywhere = [host, *(host.to(device) for device in devices)]
    assert len({it.data_ptr() for it in everywhere}) == 4
    there = everywhere[1]
    assert there[1:].data_ptr() == there.data_ptr() + 4
    assert there.untyped_storage().data_ptr() == there.view(2, 2).untyped_storage().data_ptr()


def test_a_copy_shares_nothing(tensor: torch.Tensor) -> None:
    parameter = nn.Parameter(tensor)
    parameter.grad = torch.ones_like(tensor)
    parameter.note = ["kept"]  # type: ignore[attr-defined]
    for made in (copy.deepcopy(parameter), pickle.loads(pickle.dumps(parameter))):
        assert isinstance(made, nn.Parameter)
        assert (made.device, made.requires_grad, made.note) == (tensor.device, True, ["kept"])  # type: ignore[attr-defined]
        with torch.no_grad():
            made.add_(1)
        assert parameter.tolist() == VALUES
    assert torch.equal(copy.deepcopy(parameter).grad, parameter.grad)  # type: ignore[arg-type]
    twice = copy.deepcopy([parameter, parameter])
    assert twice[0] is twice[1]
    with pytest.raises(RuntimeError, match="graph leaves"):
        copy.deepcopy(parameter * 2)


def test_a_module_moves_and_keeps_its_parameters(devices: Names) -> None:
    module = nn.Linear(3, 2)
    weight, expected = module.weight, module.weight.tolist()
    for device in (*devices, devices[0]):
        module.to(device)
        assert module.weight is weight
        assert weight.device == torch.device(device)
        assert weight.tolist() == expected
    # Back on the CPU there may be a new Parameter: torch has no way to tell it that the old one could be kept.
    assert copy.deepcopy(module).to("cpu").weight.tolist() == expected
    assert type(copy.deepcopy(module).to("cpu").weight) is nn.Parameter
    assert weight.requires_grad
    assert isinstance(weight, nn.Parameter)
    assert module.to(torch.float64).weight.dtype == torch.float64
    assert copy.deepcopy(module).weight.device == torch.device(devices[0])


def test_a_parameter_is_made_anew_as_accelerate_does(tensor: torch.Tensor, devices: Names) -> None:
    old = nn.Parameter(tensor)
    made = type(old)(torch.ones(2, device=devices[0]), requires_grad=False)
    assert (made.device, made.requires_grad, isinstance(made, nn.Parameter)) == (torch.device(devices[0]), False, True)
    plain = SimulatedTensor(torch.ones(2), requires_grad=True)
    assert str(type(plain)) == str(nn.Parameter)


def test_data_is_shared_and_can_be_replaced(tensor: torch.Tensor, devices: Names) -> None:
    parameter = nn.Parameter(tensor)
    parameter.data.add_(1)
    assert tensor[0, 0].item() == 1
    parameter.data = torch.zeros(4, device=devices[0])
    assert (parameter.device, parameter.shape) == (torch.device(devices[0]), (4,))
    parameter.data = torch.ones(2)
    assert (str(parameter.device), parameter.tolist()) == ("cpu", [1, 1])
    assert not isinstance(parameter, SimulatedTensor)


def test_shapes_follow_changes_in_place(devices: Names) -> None:
    made = torch.zeros(3, device=devices[0])
    assert made.unsqueeze_(0).shape == (1, 3)
    assert made.t_().shape == (3, 1)
    assert made.resize_(2, 2).shape == (2, 2)
    assert made.add_(1) is made


def test_values_are_assigned_through_views_and_indices(devices: Names) -> None:
    made = torch.zeros(4, device=devices[1])
    made[1:3] = 5
    made[0] = torch.tensor(7.0)
    made[torch.tensor([3])] = made[1].clone()
    made.view(2, 2)[1, 0] = 2
    assert made.tolist() == [7, 5, 2, 5]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int64, torch.bool])
def test_every_type_of_number_goes_there_and_back(dtype: torch.dtype, devices: Names) -> None:
    host = torch.tensor([[0, 1], [2, 3]]).to(dtype)
    there = host.to(devices[0])
    assert (there.dtype, there.device) == (dtype, torch.device(devices[0]))
    assert torch.equal(there.cpu(), host)
    assert torch.equal((there + there).cpu(), host + host)


def test_random_numbers_are_those_of_the_cpu_whatever_the_device(devices: Names) -> None:
    def drawn(device: str) -> list[Any]:
        torch.manual_seed(5)
        made = torch.randn(2, 3, device=device)
        dropped = nn.functional.dropout(made, 0.5)
        chosen = torch.multinomial(made.softmax(-1), 1)
        own = torch.rand(2, device=device, generator=torch.Generator().manual_seed(2))
        return [it.tolist() for it in (made, dropped, chosen, own, made.clone().normal_())]

    assert drawn(devices[0]) == drawn(devices[1]) == drawn("cpu")


def test_what_crosses_is_counted(devices: Names) -> None:
    first, second = torch.zeros(2, 3, device=devices[0]), torch.zeros(2, 3, device=devices[1])
    with transfers() as outer:
        first.cpu()
        with transfers() as inner:
            first.to(devices[1])
            first.copy_(second)
            torch.zeros(1).to(devices[1])
            first.to(devices[0])
            first.double().add(1)
    assert inner.crossed == {
        (devices[0], devices[1]): Crossed(1, 24),
        (devices[1], devices[0]): Crossed(1, 24),
        ("cpu", devices[1]): Crossed(1, 4),
    }
    assert (inner.count, outer.count) == (3, 4)
    assert outer.crossed[devices[0], "cpu"] == Crossed(1, 24)


def test_a_foreach_over_several_devices_stays_on_each(devices: Names) -> None:
    held = [torch.ones(2, device=device) for device in devices]
    assert [it.device for it in torch._foreach_mul(held, held)] == [torch.device(it) for it in devices]
    torch._foreach_add_(held, held)
    assert [it.tolist() for it in held] == [[2, 2]] * 3


def test_there_are_no_more_devices_than_were_asked_for(devices: Names) -> None:
    kind = devices[0].partition(":")[0]
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.zeros(1, device=f"{kind}:7")


def test_a_device_given_as_a_number_is_a_simulated_one(backend: Names) -> None:
    assert torch.tensor([1.0], device=1).device == torch.device("sim:1")
    assert torch.zeros(1, device="sim").device == torch.device("sim:0")
    module: Any = torch.get_device_module("sim")
    assert (module.device_count(), module.current_device()) == (3, 0)
    with module.device(2):
        assert torch.zeros(1, device="sim").device.index == 2
    assert module.current_device() == 0


def test_autocast_says_that_it_does_nothing(backend: Names) -> None:
    with pytest.warns(UserWarning, match="Disabling autocast"), torch.autocast("sim", dtype=torch.bfloat16):
        assert (torch.ones(2, 2, device=1) @ torch.ones(2, 2, device=1)).dtype == torch.float32
    with torch.autocast("sim", enabled=False):
        assert (torch.ones(2, 2, device=1) @ torch.ones(2, 2, device=1)).dtype == torch.float32


def test_a_mismatch_is_a_runtime_error_of_its_own(devices: Names) -> None:
    with pytest.raises(DeviceMismatch, match=f"two devices, {devices[0]} and {devices[1]}!"):
        torch.cat([torch.zeros(1, device=devices[0]), torch.zeros(1, device=devices[1])])


def test_nothing_can_be_copied_out_of_a_meta_tensor(devices: Names) -> None:
    for place in (devices[0], torch.device(devices[1]), "cpu"):
        with pytest.raises(NotImplementedError, match="Cannot copy out of meta tensor"):
            torch.zeros(2, device="meta").to(place)
    assert torch.zeros(2, device=devices[0]).to("meta").device.type == "meta"
