"""The archive is verified and downloaded, or rejected."""

import hashlib
import shutil
import warnings
from pathlib import Path

import pytest

from burnish.data.corpora import SOURCE
from burnish.run import UserError


@pytest.fixture(scope="module")
def real() -> Path:
    """The real archive, from the cache folder or downloaded; without network and cache the test is skipped."""
    try:
        return SOURCE.path()
    except UserError as error:
        pytest.skip(str(error))


def test_offline_without_a_cache_the_error_says_which_file_to_put_where(offline: Path) -> None:
    with pytest.raises(UserError) as caught:
        SOURCE.path()
    sentence = str(caught.value)
    for part in ("vaderSentiment-3.3.2.tar.gz", "vaderSentiment 3.3.2", SOURCE.sha256, str(offline)):
        assert part in sentence
    assert "\n" not in sentence
    assert list(offline.iterdir()) == []  # no partial download is left


def test_a_file_put_by_hand_is_used_without_a_network(offline: Path, real: Path) -> None:
    offline.mkdir()
    shutil.copy(real, offline)
    assert SOURCE.path() == offline / SOURCE.name


def test_a_damaged_archive_is_named_and_downloaded_again(
    offline: Path, real: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One flipped bit; pip finds the good file in a folder that replaces the index."""
    monkeypatch.setenv("PIP_FIND_LINKS", str(real.parent))
    monkeypatch.setenv("PIP_NO_BUILD_ISOLATION", "0")  # pip's way to say: without build isolation
    path, content = offline / SOURCE.name, bytearray(real.read_bytes())
    content[len(content) // 2] ^= 1
    offline.mkdir()
    path.write_bytes(content)
    with pytest.warns(UserWarning, match=f"{path} is damaged"):
        assert SOURCE.path() == path
    assert hashlib.sha256(path.read_bytes()).hexdigest() == SOURCE.sha256
    assert [file.name for file in offline.iterdir()] == [SOURCE.name]


def test_a_damaged_archive_that_cannot_be_downloaded_is_an_error_and_stays(offline: Path) -> None:
    offline.mkdir()
    (offline / SOURCE.name).write_bytes(b"not an archive")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(UserError, match="could not be downloaded"):
            SOURCE.path()
    assert (offline / SOURCE.name).read_bytes() == b"not an archive"


def test_a_cache_folder_that_cannot_be_created_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "file"))
    with pytest.raises(UserError, match="could not be downloaded"):
        SOURCE.path()
