"""What the machine has is found, and what it lacks is refused with the cure."""

from __future__ import annotations

import warnings

import pytest
import torch

from metainr_core import device
from metainr_core.errors import DeviceError


def test_cuda_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(DeviceError, match=r"device is cuda, but .*choose auto or cpu") as error:
        device.find_device("cuda")
    assert "\n" not in str(error.value)
    assert device.find_device("auto") == torch.device("cpu")
    assert device.find_device("cpu") == torch.device("cpu")


def test_cuda_is_taken_when_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device.find_device("auto") == device.find_device("cuda") == torch.device("cuda")
    assert device.find_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("fast", [True, False])
def test_bf16_is_taken_where_it_is_fast(monkeypatch: pytest.MonkeyPatch, fast: bool) -> None:
    monkeypatch.setattr(device, "_cpu_has_bf16", lambda: fast)
    cpu = torch.device("cpu")
    assert device.find_dtype("auto", cpu) == (torch.bfloat16 if fast else torch.float32)
    assert device.find_dtype("fp32", cpu) == torch.float32
    assert device.find_dtype("bf16", cpu) == torch.bfloat16
    assert ("bf16" in device.describe(cpu)) == fast


@pytest.mark.cuda
def test_a_device_that_is_there_is_described(cuda: torch.device) -> None:
    assert device.describe(cuda)
    assert device.find_dtype("auto", cuda) in (torch.bfloat16, torch.float32)


def test_decoding_takes_bf16_where_it_is_good_enough_and_fast() -> None:
    cpu = torch.device("cpu")
    assert device.decode_dtype("fp32", cpu) == torch.float32
    fast = device.find_dtype("auto", cpu)
    assert device.decode_dtype("bf16", cpu) == fast


@pytest.mark.parametrize("room", [1, 2, 3, 5, 100])
def test_parts_cover_everything_once_in_order(room: int) -> None:
    done: list[int] = []

    def work(part: slice) -> None:
        if part.stop - part.start > room:
            raise torch.OutOfMemoryError("no memory\ndetails")
        done.extend(range(part.start, part.stop))

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        device.in_parts(11, 5, work, "things are done")
    assert done == list(range(11))
    assert bool(seen) == (room < 5)
    assert all("things are done at once" in str(w.message) for w in seen)


def test_no_room_for_one_is_an_error() -> None:
    def work(part: slice) -> None:
        raise torch.OutOfMemoryError("no memory\ndetails")

    with pytest.raises(DeviceError, match="batch_size") as caught:
        device.in_parts(1, 5, work, "things")
    assert "\n" not in str(caught.value)
