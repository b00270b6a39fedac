"""What backends offer under names of their own: waiting, random generators, memory."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from blitz.base import backend
from blitz.base.errors import UnusableDevice

CPU = torch.device("cpu")


class TestSynchronize:
    @pytest.mark.parametrize("name", ["cpu", "meta"])
    def test_returns_at_once_where_nothing_is_queued(
        self, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        monkeypatch.delattr(torch.cpu, "synchronize")

        backend.synchronize(torch.device(name))

    @pytest.mark.parametrize(("name", "given"), [("cuda:1", ("cuda:1",)), ("mps", ())])
    def test_waits_for_the_device_itself_or_for_mps_without_an_argument(
        self, monkeypatch: pytest.MonkeyPatch, name: str, given: tuple[str, ...]
    ) -> None:
        waited = []
        waits = (lambda device: waited.append((device,))) if given else lambda: waited.append(())
        monkeypatch.setattr(torch.get_device_module(name), "synchronize", waits)

        backend.synchronize(torch.device(name))

        assert waited == [tuple(map(torch.device, given))]

    def test_refuses_a_device_without_a_way_to_wait(self) -> None:
        with pytest.raises(UnusableDevice, match=r"'vulkan' cannot be timed: .* leave this device"):
            backend.synchronize(torch.device("vulkan"))


class TestForkedGenerators:
    def test_restore_the_generator_of_the_cpu(self) -> None:
        before = torch.get_rng_state()

        with backend.forked_generators([CPU, torch.device("meta")]):
            torch.manual_seed(1)
            torch.rand(3)

        assert torch.equal(torch.get_rng_state(), before)

    def test_restore_the_generators_of_accelerators(self, monkeypatch: pytest.MonkeyPatch) -> None:
        states = {
            torch.device("xpu:0"): torch.tensor([1]),
            torch.device("xpu:1"): torch.tensor([2]),
        }
        monkeypatch.setattr(torch.xpu, "get_rng_state", lambda device: states[device])
        monkeypatch.setattr(
            torch.xpu, "set_rng_state", lambda state, device: states.update({device: state})
        )

        with backend.forked_generators([CPU, torch.device("xpu:1")]):
            states[torch.device("xpu:0")] = torch.tensor([3])
            states[torch.device("xpu:1")] = torch.tensor([4])

        assert [state.item() for state in states.values()] == [3, 2]

    def test_generator_of_mps_takes_no_device(self, monkeypatch: pytest.MonkeyPatch) -> None:
        states = [torch.tensor([1])]
        monkeypatch.setattr(torch.mps, "get_rng_state", lambda: states[-1])
        monkeypatch.setattr(torch.mps, "set_rng_state", states.append)

        with backend.forked_generators([torch.device("mps")]):
            states.append(torch.tensor([5]))

        assert [state.item() for state in states] == [1, 5, 1]

    @pytest.mark.parametrize("missing", ["get_rng_state", "set_rng_state"])
    def test_backend_whose_generator_tells_nothing_is_left_alone(
        self, monkeypatch: pytest.MonkeyPatch, missing: str
    ) -> None:
        monkeypatch.delattr(torch.mps, missing)

        with backend.forked_generators([torch.device("mps")]):
            pass


class TestSeed:
    def test_seeds_the_cpu(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(torch, "get_device_module", None)  # neither has one to ask
            backend.seed(7, [CPU, torch.device("meta")])

        assert (
            torch.rand(3).tolist()
            == torch.rand(3, generator=torch.Generator().manual_seed(7)).tolist()
        )

    @pytest.mark.parametrize("function", ["manual_seed_all", "manual_seed"], ids=["cuda", "mps"])
    def test_seeds_the_accelerators_in_use(
        self, monkeypatch: pytest.MonkeyPatch, function: str
    ) -> None:
        seeded = []
        module = SimpleNamespace(manual_seed=lambda number: seeded.append("one"))
        setattr(module, function, seeded.append)
        monkeypatch.setattr(torch, "get_device_module", lambda device: module)

        backend.seed(7, [torch.device("cuda:0")])

        assert seeded == [7]

    def test_seeds_a_device_through_its_package(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seeded: list[int] = []
        package = SimpleNamespace(manual_seed=seeded.append)
        monkeypatch.setitem(sys.modules, "torch_vulkan", package)

        backend.seed(7, [torch.device("vulkan")])

        assert seeded == [7]


class TestMemory:
    def test_free_memory_is_what_the_kernel_would_give(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        file = tmp_path / "meminfo"
        file.write_text("MemTotal: 9 kB\nMemFree: 1 kB\nMemAvailable: 5 kB\n")
        assert str(backend.MEMINFO) == "/proc/meminfo"
        monkeypatch.setattr(backend, "MEMINFO", file)

        assert backend.free_bytes(CPU) == 5 * 1024
        file.unlink()
        assert backend.free_bytes(CPU) is None
        assert backend.free_bytes(torch.device("mps")) is None

    def test_memory_of_an_accelerator_is_what_torch_says_of_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        device = torch.device("cuda", 1)
        monkeypatch.setattr(torch.cuda, "mem_get_info", {device: (11, 99)}.__getitem__)
        monkeypatch.setattr(torch.cuda, "memory_allocated", {device: 88}.__getitem__)

        assert backend.free_bytes(device) == 11
        assert backend.allocated_bytes(device) == 88

    def test_memory_is_unknown_where_torch_has_no_word_for_the_device(self) -> None:
        device = torch.device("vulkan")

        assert not hasattr(torch, "vulkan")
        assert backend.free_bytes(device) is None
        assert backend.allocated_bytes(device) is None

    def test_free_memory_is_unknown_where_the_driver_does_not_tell(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(device: torch.device) -> None:
            raise RuntimeError("The device doesn't support querying its memory info.")

        monkeypatch.setattr(torch.xpu, "mem_get_info", refuse, raising=False)

        assert backend.free_bytes(torch.device("xpu:0")) is None
