"""Versions of packages: those that the interpreter finds, each looked up once."""

from importlib import metadata

import pytest

from burnish.run.versions import version, versions


def test_versions_are_those_installed_and_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = {name: metadata.version(name) for name in ("torch", "burnish")}
    original, asked = metadata.version, []
    monkeypatch.setattr(metadata, "version", lambda name: asked.append(name) or original(name))
    version.cache_clear()
    assert versions("torch", "burnish") == versions("torch", "burnish") == expected
    assert asked == ["torch", "burnish"]
