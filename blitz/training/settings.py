"""What a training is started with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch

from blitz import devices
from blitz.base.errors import BlitzError
from blitz.classifier import Net
from blitz.training import tuning

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Settings:
    """What a training is started with; the defaults are the tutorial's.

    Attributes:
        data: Folder of the images; None for images made on the spot.
        epochs: Passes over the training images.
        batch_size: Images to a step, those of all processes together.
        lr: Learning rate of SGD.
        momentum: Momentum of SGD.
        width: Channels of the net's first convolution.
        seed: Fixes the net's first weights and the order of the images.
        device: Where the net is trained.
        threads: Threads that the cpu computes with. How they share a sum shows in its last bits.
        workers: Processes that fetch the images; 0 to fetch them in this one.
        feed: One of :data:`blitz.training.feeds.NAMES`; None for the fastest.
        exact: Whether the cpu computes the tutorial's loop to the last bit.
    """

    data: str | None = None
    epochs: int = 2
    batch_size: int = 4
    lr: float = 0.001
    momentum: float = 0.9
    width: int = 6
    seed: int = 0
    device: torch.device = CPU
    threads: int = 1
    workers: int = 0
    feed: str | None = None
    exact: bool = False

    # These may change when a training goes on. The checkpoint has a digest of the images.
    FREE = frozenset({"data", "workers", "feed"})

    def plain(self) -> dict[str, Any]:
        """Return the settings as numbers and texts, for a file."""
        return {**asdict(self), "device": str(self.device)}


def chosen(given: Mapping[str, Any]) -> Settings:
    """Return the settings of a new training: those in ``given``, else the defaults.

    The default device is the first accelerator, else the cpu; raises UnusableDevice if it fails.
    """
    settings = replace(Settings(), **given)
    device = settings.device if "device" in given else devices.pick()
    return replace(settings, device=device, threads=_threads(settings, device))


def _threads(settings: Settings, device: torch.device) -> int:
    """Return one for work that costs more to share out than to do, else torch's own number."""
    # On meta the net takes no memory and draws no random numbers.
    with torch.device("meta"):
        net = Net(settings.width)
    little = device.type == "cpu" and tuning.little_work(net, settings.batch_size)
    return 1 if little else torch.get_num_threads()


def resumed(given: Mapping[str, Any], saved: Mapping[str, Any], where: Path) -> Settings:
    """Return the plain settings ``saved`` in ``where``, with those in ``given`` that may change.

    Raises BlitzError where one differs that may not, or ``saved`` holds no settings.
    """
    if saved.keys() != {field.name for field in fields(Settings)}:
        raise BlitzError(f"{where}: holds no settings of a training. Choose another --out.")
    differing = [
        f"--{name.replace('_', '-')} {value} (there: {saved[name]})"
        for name, value in given.items()
        if name not in Settings.FREE and str(value) != str(saved[name])
    ]
    if differing:
        raise BlitzError(
            f"{where}: its training has other settings than those given: {', '.join(differing)}. "
            "Leave them out to go on with it, or start anew with another --out."
        )
    device = given.get("device", saved["device"])
    return replace(Settings(**{**saved, "device": torch.device(device)}), **given)
