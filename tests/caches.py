"""Cache folders of tests' own, with the archive of the built-in data in them: pip takes seconds to download it."""

import functools
from contextlib import suppress
from pathlib import Path

from burnish.cache import cache_folder
from burnish.data.corpora import SOURCE, archive
from burnish.run import UserError


@functools.cache
def downloaded() -> Path:
    """The archive in the cache that is set now. Without a network there may be none: tests that need it say so."""
    with suppress(UserError):
        archive()
    return cache_folder() / SOURCE.name


def cache_with_archive(folder: Path) -> str:
    """Make the folder and return its path for BURNISH_CACHE. The archive is a link, which a download replaces."""
    folder.mkdir(parents=True)
    (folder / SOURCE.name).symlink_to(downloaded())
    return str(folder)
