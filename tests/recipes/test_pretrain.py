"""The recipe of the embedded model, on a model so small that it learns nothing, and the facts of the one that ships."""

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import pytest
import ranks
import torch
from datasets import Dataset
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from burnish.algorithms.sft import SFT
from burnish.config import Settings
from burnish.data import builtin
from burnish.evaluation.english import vocabulary
from burnish.functional import categorical_kl
from burnish.policies.interface import Models
from burnish.policies.language.layout import completions_batch
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.recipes import pretrain as recipe
from burnish.recipes.assets import resolve_model
from burnish.recipes.pretrain import (
    Recipe,
    add_dropout,
    beginnings,
    export,
    pretrain,
    save_start,
    training_facts,
    words_of,
)
from burnish.recipes.train.given import Given
from burnish.recipes.train.run import run_training
from burnish.recipes.writing.spelling import Lexicon, Speller
from burnish.run import UserError, read_jsonl
from burnish.run.world import joined

TINY = Recipe(vocabulary=300, width=16, layers=1, heads=2, context=64)
TEXTS = ["a warm and funny film", "a dull film about nothing"] * 4


def test_the_start_is_a_function_of_the_seed(tmp_path: Path) -> None:
    for name, seed in (("one", 0), ("same", 0), ("other", 1)):
        save_start(tmp_path / name, TEXTS, TINY, seed)
    one, same, other = ((tmp_path / n / "model.safetensors").read_bytes() for n in ("one", "same", "other"))
    assert one == same != other


def test_the_tokenizer_gives_back_every_text(tmp_path: Path) -> None:
    save_start(tmp_path / "start", TEXTS, TINY, 0)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "start")
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (0, 1, 2)
    for text in ("a dull film", "Ünseen—bytes ☂", " two  spaces"):
        assert tokenizer.decode(tokenizer(text, add_special_tokens=False)["input_ids"]) == text


def test_the_export_is_the_model_in_half_the_size(tmp_path: Path) -> None:
    save_start(tmp_path / "start", TEXTS, TINY, 0)
    export(tmp_path / "start", tmp_path / "film")
    small = AutoModelForCausalLM.from_pretrained(tmp_path / "film", dtype="auto")
    full = AutoModelForCausalLM.from_pretrained(tmp_path / "start")
    for a, b in zip(small.parameters(), full.parameters(), strict=True):
        assert a.dtype == torch.bfloat16
        torch.testing.assert_close(a.float(), b, rtol=2**-8, atol=0)


def test_facts_of_a_training_run(tmp_path: Path) -> None:
    metrics = [
        {"step": 1, "epoch": 0.5, "loss": 3.0, "num_tokens": 10},
        {"step": 2, "epoch": 1.0, "loss": 2.0, "num_tokens": 20, "eval_loss": 2.5},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(m) + "\n" for m in metrics))
    (tmp_path / "timings.jsonl").write_text('{"step": 1, "seconds": 60}\n{"step": 2, "seconds": 30}\n')
    found = training_facts(tmp_path)
    assert (found["tokens_seen"], found["minutes"]) == (20, 1.5)
    assert found["evaluations"] == [{"step": 2, "epoch": 1.0, "loss": 2.0, "eval_loss": 2.5}]


def test_the_shipped_model_is_small_and_knows_films() -> None:
    folder = Path(resolve_model("builtin"))
    assert sum(path.stat().st_size for path in folder.iterdir()) < 24e6
    policy = load_policy(folder)
    assert 5e6 < sum(p.numel() for p in policy.parameters().values()) < 12e6
    texts = list(builtin.demonstrations("held_out")["text"])[:64]
    ids = [policy.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
    total = sum(map(len, ids))
    with torch.no_grad():
        losses = [
            float(policy.model(torch.tensor([[0, *row]]), labels=torch.tensor([[0, *row]])).loss) * len(row)
            for row in ids
        ]
    assert sum(losses) / total < 5.6  # nats a token; untrained it is log 24576 = 10.1


def small_policy(folder: Path) -> LanguagePolicy:
    save_start(folder, TEXTS, TINY, 0)
    return load_policy(folder)


def logits(policy: LanguagePolicy) -> torch.Tensor:
    with torch.no_grad():
        return policy.model(torch.tensor([[0, 5, 6, 7, 8]])).logits


def test_dropout_acts_while_training_alone(tmp_path: Path) -> None:
    policy = small_policy(tmp_path / "start")
    before = logits(policy)
    add_dropout(Models(policy=policy), 0.5)
    torch.testing.assert_close(logits(policy), before, rtol=0, atol=0)
    policy.dropout(True)
    torch.manual_seed(0)
    one, other = logits(policy), logits(policy)
    torch.manual_seed(0)
    again = logits(policy)
    assert not torch.equal(one, other)
    torch.testing.assert_close(again, one, rtol=0, atol=0)
    policy.dropout(False)
    torch.testing.assert_close(logits(policy), before, rtol=0, atol=0)


def test_dropping_everything_leaves_nothing(tmp_path: Path) -> None:
    """With everything dropped the residual stream is 0, and so are all logits."""
    policy = small_policy(tmp_path / "start")
    add_dropout(Models(policy=policy), 1.0)
    policy.dropout(True)
    assert logits(policy).abs().max() == 0


def test_dropout_leaves_no_trace_in_the_saved_model(tmp_path: Path) -> None:
    policy = small_policy(tmp_path / "start")
    add_dropout(Models(policy=policy), 0.5)
    policy.model.save_pretrained(tmp_path / "saved")
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "saved" / name).read_bytes() == (tmp_path / "start" / name).read_bytes()
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "saved").train()
    assert not any(module._forward_hooks for module in plain.modules())


def test_two_trainings_with_dropout_give_the_same_weights(tmp_path: Path) -> None:
    save_start(tmp_path / "start", TEXTS, TINY, 0)
    rows = Dataset.from_dict({"text": TEXTS})
    found = {}
    for name, share in (("one", 0.3), ("same", 0.3), ("without", 0.0)):
        settings = Settings(
            model=str(tmp_path / "start"),
            data="texts",
            out=str(tmp_path / name),
            steps=3,
            batch_size=4,
            learning_rate=1e-2,
            max_length=TINY.context,
            threads=1,
            quiet=True,
        )
        run_training(SFT(), settings, Given(rows), change=partial(add_dropout, share=share))
        found[name] = (tmp_path / name / "model" / "model.safetensors").read_bytes()
    assert found["one"] == found["same"] != found["without"]


SHORT = replace(TINY, dropout=0.0, epochs=2.0, batch_size=5, precision="float32")


def whole(out: Path, short: Recipe = SHORT, first: Path | None = None) -> tuple[int, int, int]:
    """The recipe on few texts, without what a measurement takes: how often this process measured, counted the words of
    the texts, and made a dictionary."""
    found, held = {"film": TEXTS, "news": TEXTS[:1]}, {"train": TEXTS, "validation": TEXTS[:2]}
    with (
        patch.object(recipe, "freeze", return_value=[]),
        patch.object(recipe, "parts", return_value=found),
        patch.object(recipe.builtin, "pretraining_texts", return_value=held),
        patch.object(recipe, "measure", return_value={"words": joined().rank}) as measured,
        patch.object(recipe, "text_counts", wraps=recipe.text_counts) as counted,
        patch.object(recipe, "dictionary", wraps=recipe.dictionary) as made,
    ):
        pretrain(out, short, Settings(quiet=True, threads=1), first=first)
    return measured.call_count, counted.call_count, made.call_count


def test_a_pretraining_starts_from_another(tmp_path: Path) -> None:
    """With the first one's layers, and the embeddings of the tokens that both have; another shape is refused."""
    small, large = replace(TINY, vocabulary=262), replace(TINY, vocabulary=280)
    save_start(tmp_path / "one" / "run" / "model", TEXTS, small, 0)
    save_start(tmp_path / "two", TEXTS, large, 1, tmp_path / "one")
    one, two = (
        load_file(folder / "model.safetensors") for folder in (tmp_path / "one" / "run" / "model", tmp_path / "two")
    )
    assert one.keys() == two.keys()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name][: len(tensor)], tensor, rtol=0, atol=0, msg=name)
    assert two["model.embed_tokens.weight"].shape == (280, 16)
    assert len(AutoTokenizer.from_pretrained(tmp_path / "two")) == 280
    with pytest.raises(UserError, match="has num_hidden_layers 1, and this pretraining 2"):
        save_start(tmp_path / "three", TEXTS, replace(large, layers=2), 1, tmp_path / "one")
    with pytest.raises(UserError, match="folder of a pretraining that has finished"):
        save_start(tmp_path / "three", TEXTS, large, 1, tmp_path / "none")


@pytest.mark.parametrize("size", [1, 2])
def test_a_pretraining_learns_which_words_exist(tmp_path: Path, size: int) -> None:
    """Another one gives less to what no word goes on with, after completions of its own; not the text again."""
    save_start(tmp_path / "first" / "run" / "model", TEXTS, TINY, 0)
    taught = replace(SHORT, spelling=12, learning_rate=1e-2)
    given = (tmp_path / "out", taught, tmp_path / "first")
    if size == 1:
        assert whole(*given) == (1, 1, 1)
    else:
        assert ranks.together(2, tmp_path / "ends", whole, *given) == [(1, 1, 1), (0, 1, 1)]
    rows = read_jsonl(tmp_path / "out" / "run" / "metrics.jsonl")
    assert [row["step"] for row in rows] == list(range(1, 13))
    found = []
    for name in ("start", "run/model"):
        policy = load_policy(tmp_path / "out" / name)
        lexicon = Lexicon(vocabulary(TEXTS), policy.tokenizer)
        batch = completions_batch([[0]] * 2, [policy.tokenizer(text)["input_ids"][1:] for text in TEXTS[:2]])
        apart = policy.divergences(batch, Speller(policy, lexicon), lambda own, other: categorical_kl(other, own))
        found.append(float(apart.detach().sum()))
    assert found[1] < 0.8 * found[0]


def test_words_exist_that_are_known_or_that_several_texts_have() -> None:
    """ "plke" has one text, "zorb" two; "film" is known."""
    found = words_of(["A zorb film", "the ZORB plke", "film's"], {"a", "film", "day"}.__contains__)
    assert sorted(found.existing) == ["a", "film", "zorb"]
    assert [word for word in ("zorb", "day", "plke", "the") if found.exists(word)] == ["zorb", "day"]


def test_beginnings_of_texts() -> None:
    """Of all lengths up to eight words, none among them; a function of the seed."""
    texts = ["one two three four five six seven eight nine ten"]
    found = beginnings(texts, 200, 0)
    assert {len(one.split()) for one in found} == set(range(9))
    assert all(texts[0].startswith(one) for one in found)
    assert beginnings(texts, 200, 0) == found != beginnings(texts, 200, 1)


def test_processes_share_the_training(tmp_path: Path) -> None:
    """The weights are those of one process, up to rounding; the first process alone measures, and counts words."""
    assert whole(tmp_path / "one") == (1, 1, 1)
    assert ranks.together(2, tmp_path / "ends", whole, tmp_path / "two") == [(1, 1, 1), (0, 0, 1)]
    one, two = (load_file(tmp_path / name / "run" / "model" / "model.safetensors") for name in ("one", "two"))
    start = load_file(tmp_path / "one" / "start" / "model.safetensors")
    assert max((one[name] - tensor).abs().max() for name, tensor in start.items()) > 1e-3
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5, msg=name)
    for name in ("one", "two"):
        report = json.loads((tmp_path / name / "film.json").read_text())
        assert report["words"] == 0
        assert report["tokens_seen"] > 100
        assert (tmp_path / name / "film" / "model.safetensors").exists()
