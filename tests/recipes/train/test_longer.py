"""A finished run that is made longer ends as one that was that long from the beginning, byte by byte."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from caches import cache_with_archive
from safetensors.torch import load_file

from burnish.algorithms.table import load
from burnish.config import Settings, build
from burnish.policies.language.policy import load_policy
from burnish.recipes.train.longer import rates
from burnish.recipes.train.run import run_training
from burnish.run import UserError, read_jsonl, read_mapping
from burnish.run.checksums import SUMS

DATA = {"demonstrations": "texts", "prompts": "prompts"}


@pytest.fixture
def go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Runs on 12 rows in batches of 4, so that three updates are an epoch; of PPO four a rollout."""
    monkeypatch.setenv("BURNISH_CACHE", cache_with_archive(tmp_path / "cache"))
    tiny.save_model(tmp_path / "model", "llama", seed=1)
    for name, rows in (("texts", tiny.text_rows), ("pairs", tiny.pair_rows), ("prompts", tiny.prompt_rows)):
        made: Any = rows(12)
        tiny.write_rows(tmp_path / f"{name}.jsonl", made)

    def run(method: str, out: str, **options: Any) -> Path:
        data = str(tmp_path / f"{DATA.get(load(method).data, 'pairs')}.jsonl")
        own = {"model": str(tmp_path / "model"), "data": data, "out": str(tmp_path / out), "batch_size": 4}
        if "from_" in options:
            del own["model"]
        own |= {"threads": 1, "max_length": 40, "quiet": True, "schedule": "constant", "learning_rate": 0.01}
        if load(method).experience:
            own |= {"reward": "lexicon", "rollout": 8, "max_new_tokens": 4, "update_epochs": 2}
        return run_training(*build(load(method), own | options))

    return run


def assert_same(one: Path, other: Path) -> None:
    """All but times, what each was called, and earlier checkpoints."""
    files = [{p.relative_to(run) for p in run.rglob("*") if p.is_file()} for run in (one, other)]
    kept = [{p for p in found if p.parts[0] not in ("checkpoints", "timings.jsonl")} for found in files]
    assert kept[0] == kept[1]
    last = max((one / "checkpoints").glob("step-*")).relative_to(one)
    for path in sorted(kept[0] - {Path("config.yaml")} | {last / "tensors.safetensors"}):
        assert (one / path).read_bytes() == (other / path).read_bytes(), path
    configs = [read_mapping(run / "config.yaml") | {"out": ""} for run in (one, other)]
    assert configs[0] == configs[1]


@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_a_longer_run_is_the_run_of_that_length(method: str, go: Callable[..., Path], tmp_path: Path) -> None:
    """The evaluation at the end of the shorter run is none of the longer one's."""
    held = {"eval_data": str(tmp_path / f"{DATA.get(load(method).data, 'pairs')}.jsonl"), "eval_every": 3}
    whole = go(method, "whole", steps=8, **held)
    run = go(method, "run", steps=4, **held)
    assert "eval_loss" in read_jsonl(run / "metrics.jsonl")[-1]
    times = (run / "timings.jsonl").read_text()
    assert go(method, "run", steps=8, resume=True, **held) == run
    assert_same(whole, run)
    assert (run / "timings.jsonl").read_text().startswith(times)  # its four steps were not made again
    before = (run / "timings.jsonl").read_text()
    go(method, "run", steps=8, resume=True, **held)
    assert (run / "timings.jsonl").read_text() == before


@pytest.mark.parametrize("every", [None, 3])
def test_rows_over_several_steps_are_those_of_the_longer_run(
    every: int | None, go: Callable[..., Path], tmp_path: Path
) -> None:
    """The shorter run ends with a row that the longer one does not have, in the middle of what a row is a mean over."""
    held = {"eval_data": str(tmp_path / "texts.jsonl"), "eval_every": every} if every else {}
    whole = go("sft", "whole", steps=8, log_every=2, **held)
    longer = go("sft", "longer", steps=5, log_every=2, **held)
    assert read_jsonl(longer / "metrics.jsonl")[-1]["step"] == 5
    go("sft", "longer", steps=8, log_every=2, resume=True, **held)
    assert [row["step"] for row in read_jsonl(longer / "metrics.jsonl")] == ([2, 3, 4, 6, 8] if every else [2, 4, 6, 8])
    assert_same(longer, whole)


def test_a_rollout_that_was_cut_is_begun_again(go: Callable[..., Path]) -> None:
    """Rollouts of 4, 2 and 4 updates: a run of eight steps ends in the middle of the third."""
    options = {"save_every": 2, "keep_checkpoints": 2}
    whole, run = go("ppo", "whole", steps=10, **options), go("ppo", "run", steps=8, **options)
    times = read_jsonl(run / "timings.jsonl")
    go("ppo", "run", steps=10, resume=True, **options)
    assert_same(whole, run)
    again = read_jsonl(run / "timings.jsonl")
    assert again[:6] == times[:6]
    assert again[6:8] != times[6:8]


def test_a_reference_of_more_rows_is_computed_from_the_beginning(
    go: Callable[..., Path], capsys: pytest.CaptureFixture
) -> None:
    """Two steps visit 8 of 12 rows, whose log-probabilities may round in another way beside the other four."""
    whole, run = go("dpo", "whole", steps=4), go("dpo", "run", steps=2)
    go("dpo", "run", steps=4, resume=True, quiet=False)
    assert "the reference's log-probabilities of more rows round in another way: training starts again" in (
        capsys.readouterr().err
    )
    assert_same(whole, run)


def test_patience_knows_no_evaluation_of_a_shorter_run(go: Callable[..., Path], tmp_path: Path) -> None:
    """At this rate the loss goes up and down, and the best weights of the end are not the best of the longer run."""
    options = {"eval_data": str(tmp_path / "texts.jsonl"), "eval_every": 3, "patience": 9, "learning_rate": 0.05}
    whole = go("sft", "whole", steps=11, **options)
    for steps in (4, 5, 8, 11):
        run = go("sft", "run", steps=steps, resume=steps > 4, **options)
    assert_same(whole, run)


def test_a_run_is_finished_again_only_when_it_is_longer(go: Callable[..., Path], monkeypatch: Any) -> None:
    """Killed on the way: its model is the old one until then, and --resume goes on with the longer run."""
    whole, run = go("sft", "whole", steps=4), go("sft", "run", steps=2)
    model = (run / "model" / "model.safetensors").read_bytes()

    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("burnish.recipes.train.run.write_card", kill)
        with pytest.raises(KeyboardInterrupt):
            go("sft", "run", steps=4, resume=True)
    assert (run / "model" / "model.safetensors").read_bytes() == model
    assert (run / SUMS).read_text() == ""
    go("sft", "run", steps=4, resume=True)
    assert_same(whole, run)
    metrics = (run / "metrics.jsonl").read_text().splitlines(keepends=True)
    (run / "metrics.jsonl").write_text("".join(metrics[:2]))
    with pytest.raises(UserError, match=r"metrics\.jsonl is damaged"):
        go("sft", "run", steps=4, resume=True)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (
            {"schedule": "linear"},
            r"its schedule \(linear\) depends on the number of steps, and the learning rate of st",
        ),
        (
            {"warmup": 0.5},
            r"the learning rate of step 1 would be 0.00333333 in place of 0.005; give another --out, wit",
        ),
    ],
)
def test_a_schedule_that_depends_on_the_length_is_refused(
    options: dict[str, Any], said: str, go: Callable[..., Path]
) -> None:
    """Half of 4 steps are 2, of 6 steps 3. The run stays as it was."""
    run = go("sft", "run", steps=4, **options)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=rf"run cannot go on to 6 steps: .*{said}"):
        go("sft", "run", steps=6, resume=True, **options)
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_shorter_run_and_another_config_are_refused(go: Callable[..., Path]) -> None:
    go("sft", "run", steps=4)
    with pytest.raises(UserError, match="is a run of 4 steps, which cannot become one of 3: give another --out"):
        go("sft", "run", steps=3, resume=True)
    with pytest.raises(UserError, match="begun with another config, learning_rate"):
        go("sft", "run", steps=8, resume=True, learning_rate=0.1)


def test_epochs_make_a_run_longer_too(go: Callable[..., Path]) -> None:
    whole = go("sft", "whole", epochs=2.0)
    go("sft", "run", epochs=1.0)
    assert_same(whole, go("sft", "run", epochs=2.0, resume=True))


def test_rates_are_those_of_the_schedule() -> None:
    assert rates(Settings(learning_rate=0.5, schedule="linear"), 4) == [0.5, 0.375, 0.25, 0.125]
    assert rates(Settings(learning_rate=0.5, schedule="constant", warmup=2.0), 3) == [0.25, 0.5, 0.5]


# A new run from another's state -------------------------------------------------------------------------------------


def tensors(run: Path, name: str = "model") -> dict[str, Any]:
    return load_file(run / name / "model.safetensors")


def far(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max((one[name] - other[name]).abs().max().item() for name in one)


def test_a_run_begins_with_the_weights_and_the_optimizer_of_another(go: Callable[..., Path], tmp_path: Path) -> None:
    """In one batch of all rows, so that three steps and three more are six but for rounding; with a new optimizer they
    are others, because AdamW's first steps have the size of the learning rate."""
    whole, first = go("sft", "whole", steps=6, batch_size=12), go("sft", "first", steps=3, batch_size=12)
    second = go("sft", "second", steps=3, batch_size=12, from_=str(first))
    fresh = go("sft", "fresh", steps=3, batch_size=12, model=str(first))
    assert far(tensors(whole), tensors(second)) < 1e-4
    assert far(tensors(whole), tensors(fresh)) > 2e-3
    saved = read_mapping(second / "config.yaml")
    assert (saved["from_"], saved["model"]) == (str(first), str(first))
    shutil.rmtree(second / "model")
    shutil.rmtree(second / "checkpoints")
    before = (fresh / "metrics.jsonl").read_text(), (second / "metrics.jsonl").read_text()
    go("sft", "second", steps=3, batch_size=12, from_=str(first), resume=True)
    assert before == ((fresh / "metrics.jsonl").read_text(), (second / "metrics.jsonl").read_text())


def test_a_critic_and_adapters_go_on_too(go: Callable[..., Path], tmp_path: Path) -> None:
    """At a rate of next to nothing the new run's critic is the old one's, which PPO's own beginning is not."""
    first = go("ppo", "first", steps=2)
    second = go("ppo", "second", steps=1, from_=str(first), learning_rate=1e-12)
    assert far(tensors(first, "critic"), tensors(second, "critic")) < 1e-6
    assert far(tensors(first), tensors(second)) < 1e-6
    lora = go("sft", "lora", steps=2, lora_rank=2)
    again = go("dpo", "again", steps=1, lora_rank=2, from_=str(lora), learning_rate=1e-12)
    saved = [load_file(run / "model" / "adapter_model.safetensors") for run in (lora, again)]
    assert far(*saved) < 1e-6


@pytest.mark.parametrize("save_dtype", ["auto", "float16"])
def test_a_run_begins_with_another_whose_model_is_saved_in_16_bits(
    save_dtype: str, go: Callable[..., Path], tmp_path: Path
) -> None:
    """It begins with the weights as they are saved, and the state of its optimizer belongs to them."""
    load_policy(tmp_path / "model").save(tmp_path / "half", "bfloat16")
    first = go("sft", "first", steps=3, model=str(tmp_path / "half"), save_dtype=save_dtype)
    begun = go("sft", "begun", steps=1, from_=str(first), learning_rate=1e-12)
    saved = [load_file(run / "model" / "model.safetensors") for run in (first, begun)]
    assert all(torch.equal(saved[0][name], tensor) for name, tensor in saved[1].items())
    master = load_file(begun / "checkpoints/step-000001/tensors.safetensors")
    assert master["optimizer/0/step"] == 4
    assert all(torch.equal(master[f"policy/{name}"], t.float()) for name, t in saved[0].items() if "norm" in name)


def test_what_a_run_cannot_begin_from_is_refused(go: Callable[..., Path], tmp_path: Path) -> None:
    first, bare = go("sft", "first", steps=2), go("sft", "bare", steps=1, save_every=0)
    advice = r"give --model \S+ in place of --from to start from its weights alone"
    refused: list[tuple[str, dict[str, Any], str]] = [
        ("sft", {"from_": str(bare)}, f"bare has no checkpoint with its optimizer's state: {advice}"),
        (
            "ppo",
            {"from_": str(first)},
            rf"first trained other parameters \(critic/\S+ is in one of the two\): {advice}",
        ),
        (
            "sft",
            {"from_": str(first), "dtype": "bfloat16"},
            rf"first ended with other weights than this run .*{advice}",
        ),
        ("sft", {"from_": str(tmp_path / "model")}, "--from .*model is not a run folder: give the --out of a finished"),
        (
            "sft",
            {"from_": str(first), "model": "gpt2"},
            "from_ and model both name what to start from: leave out model",
        ),
    ]
    for number, (method, options, said) in enumerate(refused):
        options = {"model": "builtin"} | options
        with pytest.raises(UserError, match=said):
            go(method, f"new-{number}", steps=1, **options)
    shutil.rmtree(first / "model")
    with pytest.raises(UserError, match=r"--from .*first is an unfinished run: finish it with --resume first"):
        go("sft", "new", steps=1, model="builtin", from_=str(first))
