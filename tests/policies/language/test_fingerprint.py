"""A fingerprint changes where numbers do, and nowhere else. A part is named where it alone changes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from safetensors.torch import load_file, save_file
from tiny_scorers import make_scorer
from transformers import ByT5Tokenizer

from burnish.policies.language.adapters import Lora
from burnish.policies.language.fingerprint import fingerprint, tokenizer_hash
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tiny.save_model(tmp_path / "model", "gpt2")
    tokenizer = tiny.make_tokenizer()
    tokenizer.chat_template = "{{ messages[0]['content'] }}"
    tokenizer.save_pretrained(folder)
    return folder


def rewrite(path: Path, change: Callable[[dict[str, Any]], Any], **how: Any) -> None:
    content = json.loads(path.read_text())
    changed = change(content)
    path.write_text(json.dumps(content if changed is None else changed, **how))


def changed_parts(folder: Path, before: dict[str, Any]) -> set[str]:
    after = fingerprint(load_policy(folder))
    return {part for part in before | after if before.get(part) != after.get(part)}


HARMLESS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "version": lambda c: c.update(transformers_version="4.0.0"),
    "name": lambda c: c.update(_name_or_path="elsewhere"),
    "order": lambda c: dict(reversed(c.items())),
    "default": lambda c: {key: c[key] for key in c if key != "layer_norm_epsilon"},
    "labels": lambda c: c.update(id2label={"0": "bad"}, label2id={"bad": 0}),
    "old name": lambda c: c.update(torch_dtype=c.pop("dtype")),
    "architectures": lambda c: c.update(architectures=None),
}


def test_what_does_not_matter_is_no_difference(folder: Path) -> None:
    """A missing epsilon is the family's own, which the file had; one hash each is enough to find one that counts."""
    before = fingerprint(load_policy(folder))
    original = (folder / "config.json").read_text()
    for name, change in HARMLESS.items():
        rewrite(folder / "config.json", change, indent=7)
        assert changed_parts(folder, before) == set(), name
        (folder / "config.json").write_text(original)
    rewrite(folder / "tokenizer.json", lambda c: dict(reversed(c.items())), indent=7)
    rewrite(folder / "tokenizer_config.json", lambda c: c.update(name_or_path="elsewhere"))
    rewrite(folder / "generation_config.json", lambda c: c.update(transformers_version="4.0.0"))
    assert changed_parts(folder, before) == set()


def other_weight(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["transformer.wpe.weight"][0, 0] += 1e-6
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def test_the_part_that_changes_is_named(folder: Path) -> None:
    """The value of another epsilon is there, so that a message can say it."""
    changes: dict[str, Callable[[], Any]] = {
        "config": lambda: rewrite(folder / "config.json", lambda c: c.update(layer_norm_epsilon=1e-3)),
        "generation_config": lambda: rewrite(
            folder / "generation_config.json", lambda c: c.update(eos_token_id=[1, 5])
        ),
        "tokenizer_sha256": lambda: rewrite(folder / "tokenizer.json", swap_words),
        "chat_template_sha256": lambda: (folder / "chat_template.jinja").write_text("{{ bos_token }}"),
        "weights_sha256": lambda: other_weight(folder),
    }
    for part, change in changes.items():
        before = fingerprint(load_policy(folder))
        change()
        assert changed_parts(folder, before) == {part}
    assert fingerprint(load_policy(folder))["config"]["layer_norm_epsilon"] == 1e-3


def swap_words(content: dict[str, Any]) -> None:
    words = content["model"]["vocab"]
    words["good"], words["bad"] = words["bad"], words["good"]


@pytest.mark.parametrize(
    "change",
    [{"attn_pdrop": 0.9}, {"resid_pdrop": 0.9}, {"_attn_implementation": "eager"}, {"scale_attn_weights": False}],
)
def test_every_key_of_a_configuration_that_matters_counts(folder: Path, change: dict[str, Any]) -> None:
    before = fingerprint(load_policy(folder))
    rewrite(folder / "config.json", lambda c: c.update(change))
    assert changed_parts(folder, before) == {"config"}


def test_special_tokens_are_a_part_of_the_tokenizer(folder: Path) -> None:
    before = fingerprint(load_policy(folder))
    rewrite(folder / "tokenizer_config.json", lambda c: c.update(pad_token="dull"))
    assert "tokenizer_sha256" in changed_parts(folder, before)


def test_a_scorer_has_no_generation_and_an_offset(tmp_path: Path) -> None:
    make_scorer(double=False).save(tmp_path)
    before = fingerprint(load_scorer(tmp_path))
    assert before.keys() == {"config", "tokenizer_sha256", "chat_template_sha256", "weights_sha256"}
    rewrite(tmp_path / "config.json", lambda c: c.update(score_offset=2.0))
    after = fingerprint(load_scorer(tmp_path))
    assert {part for part in before if before[part] != after[part]} == {"config"}


def test_an_adapters_configuration_is_a_part(folder: Path) -> None:
    """Alpha alone: the two adapters begin with the same weights."""
    one, other = (fingerprint(load_policy(folder, lora=Lora(2, alpha))) for alpha in (4, 8))
    assert {part for part in one if one[part] != other[part]} == {"adapter_config"}


def test_a_tokenizer_without_rules_of_tokenizers_has_a_hash_too() -> None:
    assert tokenizer_hash(ByT5Tokenizer()) == tokenizer_hash(ByT5Tokenizer())
    assert tokenizer_hash(ByT5Tokenizer()) != tokenizer_hash(ByT5Tokenizer(extra_ids=3))
