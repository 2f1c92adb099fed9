"""Models, tokenizers and configurations from folders and from the Hugging Face hub: the one place that loads them.

Weights are read from safetensors only, because reading a pickle can run code. Code in a model's folder is run only with
`trust_remote_code`, and nothing is asked in the terminal.
"""

import contextlib
import importlib.util
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
import transformers
from transformers import (
    AutoConfig,
    AutoTokenizer,
    BitsAndBytesConfig,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.models.auto.tokenization_auto import get_tokenizer_config, tokenizer_class_from_name

from burnish import hub
from burnish.options import quoted
from burnish.policies.language.activations import fuse_gelu
from burnish.policies.language.dtypes import Dtype, dtype_of_files, without_fractions
from burnish.policies.language.values import check_config, check_generation
from burnish.run import UserError, lacks_memory, read_mapping, warn
from burnish.run.world import ALONE, LostError, World

CONFIG, INDEX, GENERATION = "config.json", "model.safetensors.index.json", "generation_config.json"
MAPPINGS = (CONFIG, INDEX, GENERATION, "tokenizer_config.json", "special_tokens_map.json")
TOKENIZER = ("*token*", "vocab*", "merges*", "*.model")
PICKLES = ("*.bin", "*.bin.index.json", "*.pt", "*.pth", "*.ckpt", "*.pkl")
CONVERT = (
    "convert it to safetensors, as with transformers' from_pretrained and save_pretrained, if you trust its author"
)
NEEDS_CODE = (
    "needs Python code from its author, which is not run: read that code, and give --trust-remote-code if you trust it"
)


@dataclass(frozen=True)
class Loading:
    """How a model is loaded.

    `revision` is a branch, tag or commit of a name on the hub. With `trust_remote_code` the Python code that comes with
    a model is run. `dtype` is what the weights are loaded and kept in; "auto" is what they were saved in. With `bits`
    4 or 8, bitsandbytes quantises the linear layers except the head, to NF4 (Dettmers et al. 2023, "QLoRA", section 3)
    or LLM.int8() (Dettmers et al. 2022). With `resize` the embedding gets rows for tokens that have none. The processes
    of the `world` divide the weights, see `sharding`: all have to load the model. `offload` keeps parts in main memory.
    """

    revision: str | None = None
    trust_remote_code: bool = False
    dtype: Dtype = "float32"
    bits: Literal[4, 8] | None = None
    resize: bool = False
    world: World = ALONE
    offload: bool = False

    def elsewhere(self) -> "Loading":
        """The same for another model than the one whose `revision` is given, and whose embedding is resized."""
        return replace(self, revision=None, resize=False)

    def hub(self, name: str) -> dict[str, Any]:
        """Arguments of every `from_pretrained`. With None instead of False, transformers asks in the terminal."""
        here = Path(name).exists()
        if not here:
            hub.reachable()  # else transformers' client asks for every file for half a minute
        revision = None if here else self.revision
        return {"trust_remote_code": self.trust_remote_code, "revision": revision}


PLAIN = Loading()


@contextlib.contextmanager
def explained(option: str, name: str | Path, kind: str) -> Iterator[None]:
    """Turn whatever loading raises into a UserError of one sentence that begins with option and name.

    A damaged folder makes transformers and tokenizers raise almost any exception, so all are caught.
    """
    named = f"{option} {name}"
    try:
        yield
    except LostError:
        raise
    except UserError as error:
        said = str(error)
        if said.startswith(option):
            raise
        raise UserError(f"{option} {said}" if said.startswith(f"{name} ") else f"{named}: {said}") from error
    except Exception as error:
        if lacking := lacks_memory(error):
            raise UserError(f"{named} does not fit into memory: {lacking}; give a smaller model or --dtype") from error
        if "trust_remote_code" in str(error):
            raise UserError(f"{named} {NEEDS_CODE}") from error
        if "cannot be loaded with `safetensors`" in str(error):  # of a name on the hub
            raise UserError(f"{named} has no weights in safetensors: {CONVERT}") from error
        raise UserError(
            f"{named} could not be loaded as {kind}: give a folder written by save_pretrained, or a model name that "
            f"this machine can reach ({reason(error)})"
        ) from error


def reason(error: BaseException) -> str:
    """An exception in one line, with its type where the text alone says little."""
    if type(error).__name__.startswith("StrictDataclass") and error.__cause__ is not None:
        error = error.__cause__  # the first line only says which validator failed
    said = (str(error).strip().splitlines() or [""])[0].split(". ")[0].strip().rstrip(".:")
    if not said:
        return type(error).__name__
    plain = isinstance(error, OSError | ValueError | ImportError | RuntimeError)
    return said if plain else f"{type(error).__name__}: {said}"


def load_config(name: str, loading: Loading, **changes: Any) -> PreTrainedConfig:
    """The configuration of a model, with `changes`. Raises UserError where it describes no model that can be built."""
    folder = Path(name)
    if folder.is_file():
        raise UserError(f"{name} is a file: give the folder of a model, written by save_pretrained")
    written = {one: read_mapping(folder / one) for one in MAPPINGS if (folder / one).exists()}
    if folder.is_dir() and CONFIG not in written:
        raise FileNotFoundError(f"it has no {CONFIG}")
    check_config(written.get(CONFIG, {}), CONFIG)
    check_generation(written.get(GENERATION, {}), GENERATION)
    with read_by_transformers(folder / CONFIG):
        config = AutoConfig.from_pretrained(name, **loading.hub(name), **changes)
    check_kernels(name, config, loading)
    return config


@contextlib.contextmanager
def read_by_transformers(file: Path) -> Iterator[None]:
    """Name the file of a model's folder that transformers or tokenizers cannot make sense of."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if "trust_remote_code" in str(error) or not file.parent.is_dir():
            raise
        raise UserError(f"transformers cannot use {file} ({reason(error)}): restore it") from error


def check_kernels(name: str, config: PreTrainedConfig, loading: Loading) -> None:
    """Raise UserError for a configuration that names attention code on the hub, which transformers would run."""
    written = [value for key, value in config.to_dict().items() if "implementation" in key]
    written.append(config._attn_implementation)
    if not loading.trust_remote_code and any("/" in str(value) for value in written):
        raise UserError(f"{name} {NEEDS_CODE}")


def load_generation_config(name: str, loading: Loading) -> GenerationConfig | None:
    """The generation configuration of a model; None where it has none."""
    options = loading.hub(name)
    try:
        return GenerationConfig.from_pretrained(name, revision=options["revision"])
    except OSError:
        return None


def load_tokenizer(name: str, loading: Loading) -> PreTrainedTokenizerBase:
    """The tokenizer of a model.

    Raises UserError where it needs code of its own (transformers would take a standard class in its place), and where
    there is none.
    """
    folder = Path(name)
    if folder.is_dir() and not any(path for pattern in TOKENIZER for path in folder.glob(pattern)):
        raise UserError(f"{name} has no usable tokenizer: save one there with tokenizer.save_pretrained")
    if not loading.trust_remote_code:
        own = get_tokenizer_config(name, revision=loading.hub(name)["revision"])
        kind = own.get("tokenizer_class")
        if own.get("auto_map") and isinstance(kind, str) and tokenizer_class_from_name(kind) is None:
            raise UserError(f"{name} {NEEDS_CODE}")
    with read_by_transformers(folder / "tokenizer.json"):
        tokenizer = AutoTokenizer.from_pretrained(name, **loading.hub(name))
    template = tokenizer.chat_template or ""
    for one in template.values() if isinstance(template, dict) else [template]:
        if not isinstance(one, str):
            raise UserError(f"{name} has a chat_template that is {quoted(one)}, which is no text: restore it")
    if not tokenizer("a film", add_special_tokens=False)["input_ids"]:
        raise UserError(f"{name} has no usable tokenizer: save one there with tokenizer.save_pretrained")
    return tokenizer


def load_weights(
    cls: Any,
    name: str,
    config: PreTrainedConfig,
    loading: Loading,
    device: str = "cpu",
    precision: str = "float32",
    built: Callable[[PreTrainedModel], None] | None = None,
) -> tuple[PreTrainedModel, dict[str, Any]]:
    """A model of a class (an Auto class, or one of transformers' own) on a device, and what is said of its weights.

    That is what transformers says, and as "dtype" that of their files. Weights that are missing or have another shape
    are drawn at random by transformers: see `check_complete`. `built` is called with the model before weights are read,
    while they are on the meta device, see `noticed`.
    """
    cls = cls if built is None else noticed(cls, config, built)
    check_files(name, config)
    if before := getattr(config, "quantization_config", None):
        raise UserError(f"{name} is quantised ({method_of(before)}): give the model as it was before that")
    if whole := without_fractions(Path(name)):
        raise UserError(f"{name} has {whole[0]} in {whole[1]}, which is no dtype of weights: restore the folder")
    files = dtype_of_files(name, config)  # from_pretrained writes another into the configuration
    dtype: Any = "auto" if loading.dtype == "auto" else getattr(torch, loading.dtype)
    half = precision == "bfloat16" or (config.dtype if dtype == "auto" else dtype) == torch.bfloat16
    options: dict[str, Any] = {}
    if loading.bits:
        options = {"quantization_config": quantisation(loading.bits, half), "device_map": {"": device}}
    with quiet():
        model, found = cls.from_pretrained(
            name,
            config=config,
            dtype=dtype,
            use_safetensors=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **loading.hub(name),
            **options,
        )
    fuse_gelu(model)
    found["dtype"] = files
    if not loading.bits:
        return model.to(device), found
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False  # those kernels have no gradient, but are used where it is needed
    return model, found


def noticed(cls: Any, config: PreTrainedConfig, built: Callable[[PreTrainedModel], None]) -> Any:
    """The class, whose `from_pretrained` calls `built` with a new model; for code of its own, not known yet, itself."""
    known = getattr(cls, "_model_mapping", None)
    if known is not None and type(config) not in known:
        return cls
    own: Any = cls if known is None else known[type(config)]

    def init(model: Any, *inputs: Any, **options: Any) -> None:
        own.__init__(model, *inputs, **options)
        built(model)

    made = type(own.__name__, (own,), {"__init__": init, "__module__": own.__module__})
    return made if known is None else type(cls.__name__, (cls,), {"_model_mapping": {type(config): made}})


def quantisation(bits: int, half: bool) -> BitsAndBytesConfig:
    """How bitsandbytes quantises a model, which then computes in bfloat16 or float32."""
    if importlib.util.find_spec("bitsandbytes") is None:
        raise UserError(f"--load-in-{bits}bit needs the package bitsandbytes: pip install 'burnish[quantized]'")
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it warns of a rounding at every matrix product
    if bits == 8:
        # With a threshold, which columns of the activations are set apart would depend on a row's neighbours.
        return BitsAndBytesConfig(load_in_8bit=True, llm_int8_threshold=0.0)
    dtype = torch.bfloat16 if half else torch.float32
    return BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=dtype)


def check_files(name: str, config: PreTrainedConfig) -> None:
    """Raise UserError for weights in pickle, also where a configuration or an index names them."""
    folder, safe = Path(name), (".safetensors", ".safetensors.index.json")
    named = str(getattr(config, "transformers_weights", None) or safe[0])
    index = read_mapping(folder / INDEX).get("weight_map") if (folder / INDEX).exists() else {}
    if not isinstance(index, dict):
        raise UserError(f"{folder / INDEX} has no weight_map of weights and files: restore it")
    if wrong := [str(file) for file in (named, *index.values()) if not str(file).endswith(safe)]:
        raise UserError(f"{name} has weights in {wrong[0]}, which is not a safetensors file: {CONVERT}")
    pickles = sorted(path.name for pattern in PICKLES for path in folder.glob(pattern))
    if pickles and not any(folder.glob("*.safetensors*")):
        raise UserError(
            f"{name} has its weights in a pickle alone ({pickles[0]}), and reading one can run code: {CONVERT}"
        )


def method_of(config: Any) -> str:
    """The name of the quantisation method in a configuration."""
    return str(config.get("quant_method") if isinstance(config, dict) else config.quant_method.value)


def check_complete(model: PreTrainedModel, name: str, found: dict[str, Any]) -> None:
    """Raise UserError where weights of a model were drawn at random, or layers in its files were left out."""
    if scoring := sorted(key for key in found["unexpected_keys"] if key.startswith("score.")):
        raise UserError(f"{name} is a reward model, with the weights {scoring[0]}: give a language model")
    if wrong := sorted(found["mismatched_keys"]):
        key, file, wanted = wrong[0]
        raise UserError(
            f"{name} has {key} of shape {tuple(file)}, and its {CONFIG} describes {tuple(wanted)}: restore the folder"
        )
    parameters = dict(model.named_parameters(remove_duplicate=False))
    if missing := sorted(key for key in found["missing_keys"] if key in parameters):
        raise UserError(
            f"{name} is incomplete: {len(missing)} of its weights are missing, such as {missing[0]}: restore them"
        )
    unread = sorted(found["unexpected_keys"])
    if layers := [key for key in unread if re.sub(r"\.\d+\.", ".0.", key, count=1) in parameters]:
        raise UserError(f"{name} has weights of layers that its {CONFIG} leaves out, such as {layers[0]}: restore it")
    if unread:
        warn(f"{name}: {len(unread)} weights, such as {unread[0]}, are not read")


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence transformers' own report of new, missing or unused weights."""
    verbosity = transformers.utils.logging.get_verbosity()
    transformers.utils.logging.set_verbosity_error()
    try:
        yield
    finally:
        transformers.utils.logging.set_verbosity(verbosity)
