"""An adapter and its base as one plain model."""

from pathlib import Path
from typing import Any

import click.testing
import pytest
import tiny
import torch
from peft import AutoPeftModelForCausalLM
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from burnish.cli import cli
from burnish.config import Settings
from burnish.policies.language.adapters import Lora
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.recipes.merge import merge
from burnish.run import UserError

IDS = torch.tensor([[0, 3, 5, 7, 4]])
QUIET = Settings(quiet=True)


def moved(model: Any, seed: int = 1) -> Any:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters().values():
            parameter += 0.2 * torch.randn(parameter.shape, generator=generator)
    return model


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    moved(load_policy(tiny.save_model(tmp_path / "base"), lora=Lora(4))).save(tmp_path / "run" / "model")
    return tmp_path / "run"


@pytest.mark.parametrize("family", ["gpt2", "qwen", "llama"])
def test_the_logits_are_those_of_base_and_adapter(family: str, tmp_path: Path) -> None:
    """In float32 to 1e-5, by transformers alone and by peft; the embedding is the head in two of them."""
    moved(load_policy(tiny.save_model(tmp_path / "base", family), lora=Lora(4))).save(tmp_path / "adapter")
    assert merge(str(tmp_path / "adapter"), tmp_path / "merged", QUIET) == tmp_path / "merged"
    plain, base = (AutoModelForCausalLM.from_pretrained(tmp_path / name) for name in ("merged", "base"))
    with torch.no_grad():
        expected = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter")(IDS).logits
        torch.testing.assert_close(plain(IDS).logits, expected, rtol=0, atol=1e-5)
        assert (base(IDS).logits - expected).abs().max() > 0.1
    assert plain.state_dict().keys() == base.state_dict().keys()
    assert plain.config.tie_word_embeddings == base.config.tie_word_embeddings == (family != "llama")
    assert AutoTokenizer.from_pretrained(tmp_path / "merged")("good film")["input_ids"] == [0, 3, 5]
    assert not list((tmp_path / "merged").glob("adapter*"))


def test_the_merged_model_stops_at_all_ends(tmp_path: Path) -> None:
    """The chat template ends an answer with 6, which the base's generation configuration does not list."""
    base = tiny.save_model(tmp_path / "base")
    tiny.make_chat_tokenizer().save_pretrained(base)
    load_policy(base, lora=Lora(4)).save(tmp_path / "adapter")
    merge(str(tmp_path / "adapter"), tmp_path / "merged", QUIET)
    assert AutoModelForCausalLM.from_pretrained(base).generation_config.eos_token_id == tiny.EOS
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "merged").generation_config.eos_token_id == [tiny.EOS, 6]


def test_a_reward_model_keeps_its_head_and_its_offset(tmp_path: Path) -> None:
    scorer = moved(load_scorer(tiny.save_model(tmp_path / "base"), lora=Lora(4)))
    scorer.centre(0.7)
    scorer.save(tmp_path / "adapter")
    merge(str(tmp_path / "adapter"), tmp_path / "merged", QUIET)
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "merged")
    batch = tiny.demonstrations([(IDS[0].tolist(), [False, True, True, True, True])])
    with torch.no_grad():
        score = plain(IDS).logits[0, 0] - plain.config.score_offset
        torch.testing.assert_close(score, scorer.scores(batch)[0], rtol=0, atol=1e-5)
    assert plain.config.score_offset == 0.7


def test_the_command_takes_a_run(adapter: Path, tmp_path: Path) -> None:
    found = click.testing.CliRunner().invoke(cli, ["merge", str(adapter), "--out", str(tmp_path / "deep" / "merged")])
    assert found.exit_code == 0, found.output
    assert found.output.splitlines()[-1] == str(tmp_path / "deep" / "merged")
    assert load_policy(tmp_path / "deep" / "merged").adapter is None


def test_what_is_no_adapter_is_refused(adapter: Path, tmp_path: Path) -> None:
    for name in (tmp_path / "base", tmp_path / "nowhere", "builtin"):
        with pytest.raises(UserError, match="is not an adapter: give a run trained with lora_rank"):
            merge(str(name), tmp_path / "merged", QUIET)
    assert not (tmp_path / "merged").exists()


def test_a_folder_that_exists_is_refused(adapter: Path, tmp_path: Path) -> None:
    (tmp_path / "merged").mkdir()
    with pytest.raises(UserError, match="merged exists: choose another --out"):
        merge(str(adapter), tmp_path / "merged", QUIET)
    assert not list((tmp_path / "merged").iterdir())
