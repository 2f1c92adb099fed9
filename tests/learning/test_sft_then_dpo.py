"""Short runs that must improve: a language model learns texts, and then which of two people like better."""

from pathlib import Path

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import burnish
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.run import read_jsonl

TEXTS = ["the film is good", "the plot is dull", "a very fine film", "not a great plot", "the film was bad"]
OPTIONS = {"batch_size": 10, "threads": 1, "quiet": True, "max_length": 24}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """SFT on five sentences, then DPO from there towards those that say "good"."""
    folder = tmp_path_factory.mktemp("learning")
    patch = pytest.MonkeyPatch()
    patch.setenv("BURNISH_CACHE", str(folder / "cache"))
    model = tiny.save_model(folder / "start", "gpt2", n_embd=32)
    rows = [{"text": text} for text in TEXTS * 8]
    sft = burnish.train(
        burnish.SFT(), model=model, data=rows, out=folder / "sft", epochs=15, learning_rate=0.01, **OPTIONS
    )
    subjects, verdicts = ("film", "plot"), (("good", "bad"), ("fine", "dull"), ("great", "bad"), ("good", "dull"))
    pairs = [
        {"prompt": f"the {subject}", "chosen": f" {verb} {good}", "rejected": f" {verb} {bad}"}
        for subject in subjects
        for verb in ("is", "was")
        for good, bad in verdicts
    ]
    dpo = burnish.train(
        burnish.DPO(beta=0.1),
        model=sft,
        data=pairs,
        eval_data=pairs,
        out=folder / "dpo",
        epochs=20,
        learning_rate=0.003,
        **OPTIONS,
    )
    patch.undo()
    return {"start": model, "sft": sft, "dpo": dpo}


def test_sft_learns_its_texts(runs: dict[str, Path]) -> None:
    """From the chance of 18 words, or worse, to what five equally likely sentences leave open: ln 5 nats a text."""
    losses = [m["loss"] for m in read_jsonl(runs["sft"] / "metrics.jsonl")]
    assert losses[0] > 2.5
    assert sum(losses[-4:]) / 4 < 0.45  # ln 5 / 5 tokens = 0.32 with EOS, were nothing more to learn


def test_sft_speaks_its_texts(runs: dict[str, Path]) -> None:
    policy = load_policy(runs["sft"] / "model")
    drawn = sample(policy, [[tiny.BOS]] * 60, seed=0, max_new_tokens=10)
    texts = [policy.tokenizer.decode(ids, skip_special_tokens=True) for ids in drawn.tokens]
    assert sum(text in TEXTS for text in texts) > 45
    assert set(TEXTS) <= set(texts)


def test_dpo_learns_to_prefer(runs: dict[str, Path]) -> None:
    metrics = read_jsonl(runs["dpo"] / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(0.6931472, abs=1e-5)
    assert metrics[-1]["eval_rewards/accuracies"] > 0.9
    assert metrics[-1]["eval_rewards/margins"] > 0.5
    assert metrics[-1]["eval_loss"] < 0.5
    assert metrics[-1]["eval_rewards/chosen"] > metrics[-1]["eval_rewards/rejected"]


def test_dpo_moves_what_it_says(runs: dict[str, Path]) -> None:
    """After "the plot is", where the demonstrations have "dull" alone, the good words' share of probability grows."""
    good = [3 + tiny.WORDS.index(word) for word in ("good", "fine", "great")]
    bad = [3 + tiny.WORDS.index(word) for word in ("bad", "dull")]
    shares = {}
    for name in ("sft", "dpo"):
        model = AutoModelForCausalLM.from_pretrained(runs[name] / "model")
        tokenizer = AutoTokenizer.from_pretrained(runs[name] / "model")
        ids = torch.tensor([tokenizer("the plot is")["input_ids"]])
        with torch.no_grad():
            p = model(ids).logits[0, -1].softmax(-1)
        shares[name] = (p[good].sum() / p[good + bad].sum()).item()
    assert shares["sft"] < 0.3
    assert shares["dpo"] > 3 * shares["sft"], shares
