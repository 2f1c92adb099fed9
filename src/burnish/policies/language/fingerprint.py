"""What the numbers of a model depend on: its configuration, tokenizer, chat template and weights.

It is taken from the loaded model, not from its files, so that it covers folders, names and adapters alike, and that
what does not matter, such as the order of keys or the version of transformers that wrote them, makes no difference.
"""

import hashlib
import json
import tempfile
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from burnish.policies.language.adapters import arithmetic
from burnish.policies.language.reader import TokenReader
from burnish.policies.language.reference import weights_hash
from burnish.run import sha256

APART = {
    *("_name_or_path", "transformers_version", "architectures", "_from_model_config", "quantization_config"),
    *("dtype", "return_dict", "output_attentions", "output_hidden_states", "id2label", "label2id"),
}
"""Keys that affect no number, or that the weights' hash or the run's own options cover."""


def fingerprint(model: TokenReader) -> dict[str, Any]:
    """What the model's numbers depend on, as JSON: its configurations in full, and SHA-256 of all else."""
    found = {
        "config": configuration(model.model),
        "tokenizer_sha256": tokenizer_hash(model.tokenizer),
        "chat_template_sha256": hash_of(model.tokenizer.chat_template),
        "weights_sha256": model.weights_sha256 or weights_hash(model.model),
    }
    if model.model.can_generate():
        found["generation_config"] = matters(json.loads(model.model.generation_config.to_json_string()))
    if model.adapter is not None:
        found["adapter_config"] = json.loads(arithmetic(model.adapter))
    return found


def configuration(model: PreTrainedModel) -> dict[str, Any]:
    """The configuration as far as it affects numbers: what differs from the defaults of its family."""
    config = model.config
    return matters(json.loads(config.to_json_string())) | {"attn_implementation": config._attn_implementation}


def matters(content: dict[str, Any]) -> dict[str, Any]:
    """A configuration without the keys of `APART`, those of its parts included."""
    return {
        key: matters(value) if isinstance(value, dict) else value for key, value in content.items() if key not in APART
    }


def tokenizer_hash(tokenizer: PreTrainedTokenizerBase) -> str:
    """SHA-256 of how text becomes tokens and tokens become text."""
    named = [dict(tokenizer.special_tokens_map), bool(tokenizer.clean_up_tokenization_spaces)]
    if tokenizer.is_fast:
        rules = json.loads(tokenizer.backend_tokenizer.to_str())
        return hash_of([{key: rules[key] for key in rules if key not in ("truncation", "padding")}, *named])
    with tempfile.TemporaryDirectory() as folder:
        files = sorted(map(Path, tokenizer.save_vocabulary(folder)))
        hashes = [sha256(path) for path in files]
        return hash_of([tokenizer.get_vocab(), hashes, *named])


def hash_of(content: Any) -> str:
    """SHA-256 of a value's JSON text with sorted keys."""
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
