"""The monitor of a run: it changes no bit, its numbers are those of the saved models, and it warns once."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
from tiny_scorers import make_scorer

from burnish.algorithms.table import load
from burnish.config import build
from burnish.data import tokenise
from burnish.evaluation import monitor
from burnish.evaluation.monitor import Signal
from burnish.evaluation.text import repetition
from burnish.policies.language.decode import Decoder
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import sample
from burnish.recipes.train.given import Given
from burnish.recipes.train.run import run_training
from burnish.report.language.training import training_page
from burnish.run import UserError, read_jsonl

WEIGHTS = "model/model.safetensors"
TEXTS = {"length", "distinct_2", "repetition", "entropy"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "llama", seed=1)
    tiny.write_rows(folder / "pairs.jsonl", tiny.pair_rows(12))
    tiny.write_rows(folder / "labels.jsonl", tiny.pair_rows(6, seed=1))
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(8))
    for seed in (2, 3):
        make_scorer(seed=seed, double=False).save(folder / f"scorer-{seed}")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def go(files: Path, tmp_path: Path) -> Callable[..., Path]:
    """A run of two rollouts, or of eight batches; `dies` is the step after which it fails."""

    def run(name: str, method: str = "ppo", dies: int | None = None, **options: Any) -> Path:
        sampled = method in ("ppo", "online_dpo")
        data = files / ("prompts.jsonl" if sampled else "pairs.jsonl")
        common = {"model": str(files / "model"), "data": str(data), "eval_data": str(data), "out": str(tmp_path / name)}
        common |= {"steps": 8, "batch_size": 4, "learning_rate": 0.02, "threads": 1, "max_length": 40, "eval_every": 2}
        common |= {"save_every": 4}
        if sampled:
            common |= {"reward": str(files / "scorer-2"), "rollout": 8, "max_new_tokens": 5, "update_epochs": 2}

        def on_step(step: int, metrics: dict[str, float]) -> None:
            if step == dies:
                raise UserError("it is dead")

        return run_training(*build(load(method), common | options), Given(on_step=on_step))

    return run


def every(files: Path) -> dict[str, Any]:
    return {
        "watch": True,
        "watch_labels": str(files / "labels.jsonl"),
        "watch_rewards": f"{files / 'scorer-2'},{files / 'scorer-3'}",
    }


def watched(run: Path) -> dict[int, dict[str, float]]:
    """The monitor's metrics by step."""
    return {
        row["step"]: found
        for row in read_jsonl(run / "metrics.jsonl")
        if (found := {k.removeprefix("eval_watch/"): v for k, v in row.items() if k.startswith("eval_watch/")})
    }


@pytest.mark.parametrize(("method", "gap"), [("ppo", "gap"), ("online_dpo", "gap"), ("dpo", "own_gap")])
def test_a_watched_run_has_the_same_bits_and_its_numbers_at_each_evaluation(
    go: Callable[..., Path], files: Path, method: str, gap: str
) -> None:
    plain, other = go("plain", method), go("watched", method, **every(files))
    assert (plain / WEIGHTS).read_bytes() == (other / WEIGHTS).read_bytes()
    rows = read_jsonl(other / "metrics.jsonl")
    assert read_jsonl(plain / "metrics.jsonl") == [
        {key: value for key, value in row.items() if not key.startswith("eval_watch/")} for row in rows
    ]
    assert watched(other).keys() == {2, 4, 6, 8}
    assert all(one.keys() == TEXTS | {"disagreement", gap, f"{gap}_low"} for one in watched(other).values())
    assert not (plain / "watch.json").exists()
    assert (
        json.loads((plain / "environment.json").read_text()).keys()
        | {
            "watch_prompts_sha256",
            "watch_labels_sha256",
        }
        == json.loads((other / "environment.json").read_text()).keys()
    )


def test_a_killed_run_goes_on_with_its_own_start(go: Callable[..., Path], files: Path) -> None:
    """It dies in its second rollout, so that it goes on from the end of the first."""
    whole = go("whole", **every(files))
    with pytest.raises(UserError, match="it is dead"):
        go("killed", dies=6, **every(files))
    again = go("killed", resume=True, **every(files))
    for name in ("metrics.jsonl", "watch.json", WEIGHTS):
        assert (whole / name).read_bytes() == (again / name).read_bytes(), name


@pytest.mark.parametrize(("method", "more"), [("ppo", {}), ("online_dpo", {}), ("online_dpo", {"lora_rank": 2})])
def test_texts_are_those_of_the_start_and_of_the_saved_model(
    go: Callable[..., Path], files: Path, method: str, more: dict[str, Any]
) -> None:
    """With an adapter the start is the model without it, and the saved model has both."""
    run = go("run", method, watch=True, **more)
    found = []
    for model in (files / "model", run / "model"):
        policy = load_policy(model, "cpu")
        prompts = [row["prompt"] for row in tiny.prompt_rows(8)]
        drawn = sample(policy, tokenise.prompts(prompts, policy.tokenizer, 35), seed=0, max_new_tokens=5)
        tokens, surprise = sum(map(len, drawn.tokens)), -sum(map(sum, drawn.logprobs))
        repeated = [repetition(one) for one in Decoder.of(policy).responses(drawn.tokens)]
        found.append((tokens / 8, surprise / tokens, sum(repeated) / 8))
    (length, entropy, before), (later, less, after) = found
    last = watched(run)[8]
    assert last["length"] == pytest.approx(later / length)
    assert last["entropy"] == pytest.approx(less / entropy, rel=1e-5)
    assert last["repetition"] == pytest.approx(after - before)
    assert last.keys() == TEXTS


@pytest.mark.parametrize("lora", [None, 2])
def test_labelled_conversations_are_read_through_the_chat_template(
    go: Callable[..., Path], tmp_path: Path, lora: int | None
) -> None:
    """The template writes "the PROMPT plot a ANSWER plot"; the margin at the start is what the model itself gives the
    words of the chosen answer, with the end of its turn, less the same of the rejected one."""
    model = tiny.save_model(tmp_path / "talker", "llama", seed=1)
    talk = tiny.make_chat_tokenizer()
    talk.save_pretrained(model)
    texts = [("good film", "very fine", "bad"), ("a dull film", "not good", "great and fine"), ("film", "bad", "dull")]
    rows = [
        {"prompt": [{"role": "user", "content": prompt}]}
        | {side: [{"role": "assistant", "content": text}] for side, text in (("chosen", one), ("rejected", other))}
        for prompt, one, other in texts
    ]
    data = str(tiny.write_rows(tmp_path / "talks.jsonl", 4 * rows))
    labels = str(tiny.write_rows(tmp_path / "labels.jsonl", rows))
    run = go("run", "dpo", model=str(model), data=data, eval_data=data, lora_rank=lora, watch=True, watch_labels=labels)
    naive = load_policy(model, "cpu").model

    def likelihood(prompt: str, answer: str) -> float:
        head, tail = f"the {prompt} plot a".split(), f"{answer} plot".split()
        mask = [False] * len(head) + [True] * len(tail)
        ids = talk.convert_tokens_to_ids(head + tail)
        return sum(float(one) for one in tiny.naive_logprobs(naive, ids, mask))

    start = json.loads((run / "watch.json").read_text())["start"]
    margins = [likelihood(prompt, one) - likelihood(prompt, other) for prompt, one, other in texts]
    assert start["labelled"] == pytest.approx(margins, abs=1e-4)
    assert start["own"][:3] == pytest.approx(margins, abs=1e-4)
    assert watched(run).keys() == {2, 4, 6, 8}
    assert all(one.keys() == TEXTS | {"own_gap", "own_gap_low"} for one in watched(run).values())


def test_it_warns_once_on_the_terminal_in_the_folder_and_in_its_pages(
    go: Callable[..., Path], files: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture, tmp_path: Path
) -> None:
    """A threshold that every length is beyond; it dies after it has warned, and does not warn again."""
    monkeypatch.setattr(monitor, "SIGNALS", {"length": Signal("it is {:.2f} times as long", high=0.0)})
    with pytest.raises(UserError, match="it is dead"):
        go("run", dies=6, watch=True)
    said = re.findall("warning: step .*", capfd.readouterr().err)
    value = watched(tmp_path / "run")[2]["length"]
    sentence = f"step 2: the reward may be gamed: it is {value:.2f} times as long (it warns above 0.00)"
    assert said == [f"warning: {sentence}"]
    run = go("run", resume=True, watch=True)
    assert "may be gamed" not in capfd.readouterr().err
    kept = json.loads((run / "watch.json").read_text())
    assert kept["warnings"] == [{"step": 2, "signal": "length", "value": value, "sentence": sentence}]
    assert f"The monitor warned:\n\n- {sentence}\n" in (run / "model" / "README.md").read_text()
    page = training_page([run], tmp_path / "page.html").read_text()
    assert sentence in page
    assert "Watched: length, times the start's" in page


def test_a_run_that_warns_of_nothing_says_so(
    go: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(monitor, "SIGNALS", {"length": Signal("{}", high=9.0)})
    run = go("run", watch=True)
    assert json.loads((run / "watch.json").read_text())["warnings"] == []
    assert "warned of nothing" in (run / "model" / "README.md").read_text()
    assert "monitor" not in (go("plain") / "model" / "README.md").read_text()


def test_labels_that_are_none_are_refused_by_name(go: Callable[..., Path], tmp_path: Path) -> None:
    tiny.write_rows(tmp_path / "texts.jsonl", tiny.text_rows(3))
    (tmp_path / "empty.jsonl").write_text("")
    for name in ("texts", "empty"):
        with pytest.raises(UserError, match=f"{name}.jsonl"):
            go(name, watch=True, watch_labels=str(tmp_path / f"{name}.jsonl"))
        assert not (tmp_path / name).exists()


def test_reward_models_that_cannot_disagree_are_refused(go: Callable[..., Path], files: Path, tmp_path: Path) -> None:
    scorer = make_scorer(seed=4, double=False)
    for parameter in scorer.model.score.parameters():
        parameter.data.zero_()
    scorer.save(tmp_path / "flat")
    with pytest.raises(UserError, match=r"^watch_rewards: reward model 2 gives all completions of the start the same"):
        go("run", watch=True, watch_rewards=f"{files / 'scorer-3'},{tmp_path / 'flat'}")
    with pytest.raises(UserError, match=r"^watch_rewards: the reward models agree about every completion of the start"):
        go("twice", watch=True, watch_rewards=f"{files / 'scorer-3'},{files / 'scorer-3'}")
    with pytest.raises(UserError, match=f"^--watch-rewards {files / 'model'} is a model but not a reward model"):
        go("other", watch=True, watch_rewards=f"{files / 'scorer-3'},{files / 'model'}")


def test_a_resumed_run_has_the_same_labels_and_reward_models_and_a_start(
    go: Callable[..., Path], files: Path, tmp_path: Path
) -> None:
    labels, scorer = tmp_path / "labels.jsonl", tmp_path / "scorer"
    tiny.write_rows(labels, tiny.pair_rows(6, seed=1))
    make_scorer(seed=5, double=False).save(scorer)
    options = {"watch": True, "watch_labels": str(labels), "watch_rewards": f"{files / 'scorer-2'},{scorer}"}
    with pytest.raises(UserError, match="it is dead"):
        go("run", dies=6, **options)
    tiny.write_rows(labels, tiny.pair_rows(5, seed=2))
    with pytest.raises(UserError, match="begun with other inputs, watch_labels_sha256"):
        go("run", resume=True, **options)
    tiny.write_rows(labels, tiny.pair_rows(6, seed=1))
    make_scorer(seed=6, double=False).save(scorer)
    with pytest.raises(UserError, match=f"begun with other models, the weights of the reward model {scorer}"):
        go("run", resume=True, **options)
    make_scorer(seed=5, double=False).save(scorer)
    (tmp_path / "run" / "watch.json").unlink()
    with pytest.raises(UserError, match=r"watch.json, what was seen of the policy before its first update, cannot be"):
        go("run", resume=True, **options)
