"""What a Python program gives to a run that no file can hold: data, models and functions in memory.

`config.yaml` has their names, as "(in memory) LlamaForCausalLM", and `environment.json` their hashes.
"""

import contextlib
import filecmp
import hashlib
import inspect
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.config import Settings
from burnish.config.build import values_of, written_value
from burnish.data.names import IN_MEMORY, in_memory, is_in_memory
from burnish.policies.language.adapters import BESIDE
from burnish.run import RunFolder, UserCodeError, UserError, read_mapping, save_folder_atomically, user_code


@dataclass(frozen=True)
class Given:
    """Objects that take the place of the settings' own text. `on_step(step, metrics)` is called after each logged step.

    Raises UserError for a model without its tokenizer, and for objects of other kinds.
    """

    data: Any = None
    eval_data: Any = None
    model: PreTrainedModel | None = None
    tokenizer: Any = None
    on_step: Any = None

    def __post_init__(self) -> None:
        if self.on_step is not None and not callable(self.on_step):
            raise UserError(f"on_step is a {type(self.on_step).__name__}: give a function of the step and its metrics")
        if self.model is None:
            if self.tokenizer is not None:
                raise UserError("tokenizer goes with a model object; a model by name has its own: leave it out")
            return
        if not isinstance(self.tokenizer, PreTrainedTokenizerBase):
            kind = "none" if self.tokenizer is None else f"a {type(self.tokenizer).__name__}"
            raise UserError(f"a model object needs its tokenizer, not {kind}: give tokenizer=")

    @property
    def keys(self) -> set[str]:
        """The settings that it has an object for."""
        return {key for key in ("data", "eval_data", "model") if getattr(self, key) is not None}


NOTHING = Given()


def model_and_name(model: Any) -> tuple[PreTrainedModel | None, str]:
    """A model given in Python as an object, if it is one, and as the text for the settings."""
    if isinstance(model, str | Path):
        return None, str(model)
    if isinstance(model, PreTrainedModel):
        return model, in_memory(type(model).__name__)
    advice = "a name, a folder, or a transformers PreTrainedModel with its tokenizer"
    if hasattr(model, "merge_and_unload"):
        raise UserError(f"model is a {type(model).__name__}: give {advice}, such as its merge_and_unload()")
    raise UserError(f"model is a {type(model).__name__}: give {advice}")


def check_given(run: str | Path, config: Mapping[str, Any], found: set[str]) -> None:
    """Raise UserError where `config` names objects in memory for which `found`, by key, has none."""
    lacking = {key: str(value) for key, value in config.items() if is_in_memory(value) and key not in found}
    if not lacking:
        return
    named = ", ".join(f"{key} {value.removeprefix(IN_MEMORY).strip()}".strip() for key, value in lacking.items())
    needed = [f"{key}=…" for key in lacking] + (["tokenizer=…"] if "model" in lacking else [])
    raise UserError(
        f"{run} was begun in Python with objects in memory ({named}), which no file holds: go on in Python, with "
        f"burnish.train(…, {', '.join(needed)}, out={str(run)!r}, resume=True)"
    )


def objects_of(settings: Settings) -> dict[str, Any]:
    """The options of a run's experience that are objects, by key, such as a reward that is a function."""
    options = {} if settings.experience is None else values_of(settings.experience)
    return {key: value for key, value in options.items() if is_in_memory(written_value(value)) and value != str(value)}


def hashes(settings: Settings) -> dict[str, str]:
    """SHA-256 of the source code of the functions and classes in memory that a run's experience uses."""
    found = {}
    for key, value in objects_of(settings).items():
        code = value if inspect.isroutine(value) else type(value)
        with contextlib.suppress(OSError, TypeError):  # what was typed into an interpreter has no source
            found[f"{key}_sha256"] = hashlib.sha256(inspect.getsource(code).encode()).hexdigest()
    return found


@contextlib.contextmanager
def saved(given: Given, settings: Settings, run: Path, resumed: bool) -> Iterator[Settings]:
    """Settings from which the given model can be loaded like any other; the object itself is never trained.

    It is saved into a temporary folder; for LoRA into the run's folder, because the adapter needs its base. Raises
    UserError where a resumed run began with another base.
    """
    if given.model is None:
        yield settings
        return
    with tempfile.TemporaryDirectory(prefix="burnish-") as temporary:
        folder = Path(temporary)
        if settings.lora_rank is None:
            save(given, folder)
        else:
            base = run / BESIDE
            if resumed and base.exists():
                save(given, folder)
                if different(folder, base):
                    raise UserError(f"{run} was begun with another model: give the same one, or choose another --out")
            else:
                with save_folder_atomically(base) as folder:
                    save(given, folder)
            folder = base
        yield replace(settings, model=str(folder))


def save(given: Given, folder: Path) -> None:
    """Write the model and its tokenizer."""
    assert given.model is not None
    assert given.tokenizer is not None
    try:
        with user_code():  # a model class may be the user's own
            given.model.save_pretrained(folder)
            given.tokenizer.save_pretrained(folder)
    except UserCodeError as error:
        raise UserError(f"the {type(given.model).__name__} cannot be saved by save_pretrained ({error})") from error


def different(one: Path, other: Path) -> bool:
    """Whether two folders have other files, or files of other content."""
    names = {path.name for path in one.iterdir()}
    return names != {path.name for path in other.iterdir()} or any(
        not filecmp.cmp(one / name, other / name, shallow=False) for name in names
    )


def begun(run: RunFolder) -> dict[str, Any]:
    """The configuration of the run that is continued; nothing in a new run."""
    return read_mapping(run.path / "config.yaml") if run.resumed else {}


def calling(on_step: Callable[[int, dict[str, float]], object]) -> Callable[[str, dict[str, Any]], None]:
    """A listener of a run folder that calls `on_step` with every line of metrics.

    Raises UserError with what `on_step` raised.
    """

    def listen(name: str, record: dict[str, Any]) -> None:
        if name != "metrics":
            return
        try:
            with user_code():
                on_step(record["step"], {key: value for key, value in record.items() if key != "step"})
        except UserCodeError as error:
            raise UserError(
                f"step {record['step']}: on_step raised {error}: mend it and continue with --resume from the last "
                "checkpoint"
            ) from error.cause

    return listen
