"""Versions of installed packages, without importing them: that takes seconds for some."""

from importlib import metadata


def installed(package: str) -> str:
    """The version of ``package``; ``"not installed"`` where it is not."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
