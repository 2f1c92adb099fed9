"""The versions of installed packages, which results depend on."""

from functools import cache
from importlib import metadata


@cache
def version(package: str) -> str:
    """The version of an installed package, read from disk once per process."""
    return metadata.version(package)


def versions(*packages: str) -> dict[str, str]:
    """The versions of installed packages by name."""
    return {package: version(package) for package in packages}
