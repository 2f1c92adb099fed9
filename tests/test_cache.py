"""The cache folder, and pip as a downloader: the files come from a folder that takes the index's place."""

import os
import zipfile
from pathlib import Path

import platformdirs
import pytest

from burnish.cache import cache_folder, download


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder where pip finds its packages, and nothing else."""
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


def write_wheel(path: Path, requires: str = "") -> None:
    name, version, *_ = path.name.split("-")
    with zipfile.ZipFile(path, "w") as wheel:
        info = f"{name}-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{requires}")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def test_the_cache_folder_is_the_users_or_the_chosen_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("BURNISH_CACHE", raising=False)
    assert cache_folder() == platformdirs.user_cache_path("burnish")
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path


def test_one_file_is_downloaded_without_what_its_package_requires(index: Path, tmp_path: Path) -> None:
    write_wheel(index / "wanted-1.2-py3-none-any.whl", "Requires-Dist: absent\n")
    write_wheel(index / "wanted-1.3-py3-none-any.whl")
    (tmp_path / "here").mkdir()
    path = tmp_path / "here" / "wanted-1.2-py3-none-any.whl"
    assert download("wanted==1.2", path, "--only-binary", ":all:") == ""
    assert path.read_bytes() == (index / path.name).read_bytes()
    assert list(path.parent.iterdir()) == [path]


def test_what_pip_says_is_returned_as_one_sentence(index: Path, tmp_path: Path) -> None:
    problem = download("absent==1.2", tmp_path / "absent-1.2-py3-none-any.whl")
    assert problem == "No matching distribution found for absent==1.2"
