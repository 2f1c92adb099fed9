"""Short runs that must improve, and that must not notice a kill: pairs, the best of several, and groups."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from transformers import AutoModelForCausalLM

import burnish
from burnish.run import UserError, read_jsonl
from burnish.training import checkpoint

OPTIONS: dict[str, Any] = {"batch_size": 8, "threads": 1, "quiet": True, "max_length": 24, "device": "cpu"}
METHODS: dict[str, tuple[Any, dict[str, Any]]] = {
    "online_dpo": (burnish.OnlineDPO(beta=0.1), {"rollout": 16}),
    "iterative": (
        burnish.OnlineDPO(beta=0.1, update_epochs=2),
        {"rollout": 32, "refresh_reference": True, "completions_per_prompt": 3},
    ),
    "rejection": (burnish.Rejection(update_epochs=2), {"rollout": 16, "completions_per_prompt": 4}),
    "grpo": (burnish.GRPO(beta=0.0, update_epochs=2), {"rollout": 4, "completions_per_prompt": 4, "redraws": 2}),
}
"""Those that a kill interrupts; the others of groups only learn."""
GROUPS: dict[str, tuple[Any, dict[str, Any]]] = {
    "rloo": (burnish.RLOO(beta=0.0), {"completions_per_prompt": 4}),
    "gspo": (burnish.GSPO(), {"completions_per_prompt": 4}),
    "cispo": (burnish.CISPO(), {"completions_per_prompt": 4}),
    "reinforce_plus_plus": (burnish.ReinforcePlusPlus(beta=0.0), {}),
}


def film(prompts: list[str], responses: list[str], **columns: Any) -> list[float]:
    """The share of a response's words that are `film`."""
    return [text.split().count("film") / max(1, len(text.split())) for text in responses]


def film_or_plot(prompts: list[str], responses: list[str]) -> list[float]:
    """1 for `film`, −1 for `plot`; all else is one thing."""
    return [{"film": 1.0, "plot": -1.0}.get(text, 0.0) for text in responses]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save_model(tmp_path_factory.mktemp("model"), "gpt2", seed=1, resid_pdrop=0.1)


def trained(method: str, model: Path, out: Path, **more: Any) -> Path:
    algorithm, knobs = (METHODS | GROUPS)[method]
    options = OPTIONS | knobs | {"max_new_tokens": 4, "reward": film, "learning_rate": 0.01, "save_every": 1} | more
    rows = tiny.prompt_rows(32)
    return burnish.train(algorithm, model=model, data=rows, eval_data=rows, out=out, **options)


@pytest.mark.parametrize("method", METHODS | GROUPS)
def test_the_score_rises(method: str, model: Path, tmp_path: Path) -> None:
    """On the training prompts, single completions; the start is what the first rollout scores on average."""
    metrics = read_jsonl(
        trained(method, model, tmp_path / "run", steps={"grpo": 20}.get(method, 12 if method in GROUPS else 40))
        / "metrics.jsonl"
    )
    before, after = metrics[0]["objective/scores"], metrics[-1]["eval_objective/scores"]
    assert before < 0.2
    assert after > (0.3 if method in GROUPS else 0.4)
    assert metrics[-1]["eval_loss"] == -after
    if method == "online_dpo":
        assert metrics[-1]["eval_objective/kl"] > 0.5
    else:  # whose loss has no part for the model that training began with: it is not loaded, and nothing says its KL
        assert not [name for line in metrics for name in line if name.endswith("objective/kl")]
    if method in ("online_dpo", "iterative"):
        assert metrics[0]["loss"] == pytest.approx(0.6931472, abs=1e-5)
    if method == "iterative":  # each rollout begins at its own reference; where all in a batch are ties, there is 0
        first = [line for line in metrics if "rollout" in line]
        assert first[1]["loss"] == pytest.approx(0.6931472, abs=1e-5)
        assert all(min(abs(line["loss"] - 0.6931472), abs(line["loss"])) < 1e-5 for line in first)


def test_of_two_answers_the_better_one_gains(model: Path, tmp_path: Path) -> None:
    """Of one word, always behind the same prompt: what is gained is what the worse one and the rest lose."""
    run = burnish.train(
        burnish.OnlineDPO(),
        model=model,
        data=[{"prompt": "the"}] * 32,
        out=tmp_path / "run",
        reward=film_or_plot,
        rollout=32,
        max_new_tokens=1,
        learning_rate=0.01,
        steps=24,
        **OPTIONS,
    )
    shares = []
    for folder in (model, run / "model"):
        with torch.no_grad():
            logits = AutoModelForCausalLM.from_pretrained(folder)(torch.tensor([[tiny.BOS, 8]])).logits[0, -1]
        p = logits.softmax(-1)
        shares.append([p[3 + tiny.WORDS.index(word)].item() for word in ("film", "plot")])
    (film_before, plot_before), (film_after, plot_after) = shares
    assert film_after > 2 * film_before
    assert plot_after < 0.7 * plot_before
    ties = [line["objective/ties"] for line in read_jsonl(run / "metrics.jsonl") if "rollout" in line]
    assert all(0 < share < 1 for share in ties)


AGAIN = {"steps": 14, "save_every": 2, "seed": 5}
"""Runs that something happens to, and those beside them that nothing does."""


@pytest.fixture(scope="module")
def whole(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a method that nothing happened to."""
    return cache(lambda method: trained(method, model, tmp_path_factory.mktemp("whole") / "run", **AGAIN))


class Killed(BaseException):
    """What no code of ours catches."""


@pytest.mark.parametrize(
    ("method", "kills"), [(m, kills) for m in METHODS for kills in ((1,), (2, 1)) if m != "grpo" or kills[1:]]
)
def test_a_killed_run_resumes_to_the_same_bits(
    method: str,
    kills: tuple[int, ...],
    model: Path,
    whole: Callable[[str], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the n-th checkpoint of its turns, in the middle of their updates' aftermath."""
    out = tmp_path / "killed"
    for number in kills:
        count, save = [0], checkpoint.save

        def dies(*arguments: Any, count: list[int] = count, number: int = number, save: Any = save) -> Any:
            count[0] += 1
            if count[0] == number:
                raise Killed
            return save(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(checkpoint, "save", dies)
            with pytest.raises(Killed):
                trained(method, model, out, resume=True, **AGAIN)
    trained(method, model, out, resume=True, **AGAIN)
    for name in ("model/model.safetensors", "metrics.jsonl", "samples.jsonl"):
        assert (out / name).read_bytes() == (whole(method) / name).read_bytes(), name


@pytest.mark.parametrize("method", [method for method in METHODS if method != "grpo"])
def test_a_reward_that_fails_is_mended_and_the_run_resumes_to_the_same_bits(
    method: str, model: Path, whole: Callable[[str], Path], tmp_path: Path
) -> None:
    broken = {"is": True}

    def fragile(prompts: list[str], responses: list[str], number: list[int]) -> list[float]:
        found = film(prompts, responses)
        return [float("nan") if broken["is"] and n == 7 else score for n, score in zip(number, found, strict=True)]

    options = AGAIN | {"reward": fragile}
    out = tmp_path / "out"
    with pytest.raises(
        UserError, match=r"returned nan for row 7.*failed_rollout.jsonl, and step \d+ is saved: continue with --resume"
    ):
        trained(method, model, out, **options)
    assert any(line["row"] == 7 for line in read_jsonl(out / "failed_rollout.jsonl"))
    broken["is"] = False
    trained(method, model, out, resume=True, **options)
    for name in ("model/model.safetensors", "metrics.jsonl", "samples.jsonl"):
        assert (out / name).read_bytes() == (whole(method) / name).read_bytes(), name


def test_a_reward_that_cannot_tell_moves_nothing(model: Path, tmp_path: Path) -> None:
    """Every pair is a tie: no update has a gradient."""
    run = trained("online_dpo", model, tmp_path / "run", steps=4, reward=lambda p, r, number: [1.0] * len(r))
    metrics = read_jsonl(run / "metrics.jsonl")
    assert [line["loss"] for line in metrics] == [0.0] * 4
    assert metrics[0]["objective/ties"] == 1.0
    one, other = (AutoModelForCausalLM.from_pretrained(folder).state_dict() for folder in (model, run / "model"))
    assert all(torch.equal(one[name], other[name]) for name in one)
