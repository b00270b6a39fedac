"""Versions of installed packages, without importing them: that takes seconds for some."""

import platform
from importlib import metadata

NOT_INSTALLED = "not installed"


def installed(package: str) -> str:
    """Return the version of ``package``, or ``"not installed"``."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return NOT_INSTALLED


def stack() -> dict[str, str]:
    """Return the versions of torch, torchvision, numpy and python, by these names."""
    # torch's metadata may lack the build (+cu130, +cpu), which __version__ has.
    import torch

    return {
        "torch": str(torch.__version__),
        "torchvision": installed("torchvision"),
        "numpy": installed("numpy"),
        "python": platform.python_version(),
    }
