"""A model folder that comes with Python code, which writes a file when it is run."""

import json
from pathlib import Path
from typing import Any

import tiny

CODE = """
from pathlib import Path
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification, PreTrainedTokenizerFast

Path({ran!r}).touch()


class OwnConfig(LlamaConfig):
    model_type = "own"


class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig


class OwnScorer(LlamaForSequenceClassification):
    config_class = OwnConfig


class OwnTokenizer(PreTrainedTokenizerFast):
    pass
"""
CLASSES = {
    "AutoConfig": "code.OwnConfig",
    "AutoModelForCausalLM": "code.OwnModel",
    "AutoModelForSequenceClassification": "code.OwnScorer",
}


def change(file: Path, **changes: Any) -> None:
    """Set keys of a JSON file."""
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def save_own_code(folder: Path, ran: Path, model_type: str = "own", tokenizer: bool = False) -> Path:
    """A tiny Llama whose configuration names classes in `code.py`; running that file makes `ran`."""
    tiny.save_model(folder, "llama")
    (folder / "code.py").write_text(CODE.format(ran=str(ran)))
    change(folder / "config.json", model_type=model_type, auto_map=CLASSES)
    if tokenizer:
        own_tokenizer(folder)
    return folder


def own_tokenizer(folder: Path) -> None:
    """Name a tokenizer class in `code.py`."""
    own = {"tokenizer_class": "OwnTokenizer", "auto_map": {"AutoTokenizer": [None, "code.OwnTokenizer"]}}
    change(folder / "tokenizer_config.json", **own)
