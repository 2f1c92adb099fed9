"""The demo with real data and the embedded model, as short as it can be: every part runs, and nothing is made up."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from datasets import Dataset

from burnish.config import Settings
from burnish.data import builtin
from burnish.recipes.demo.demo import STAGES, Plan, demo, notes, take, trained
from burnish.recipes.train.rows import BUILTIN
from burnish.run import UserError

TINY = Plan(
    prefixes=4,
    sft={"steps": 2, "batch_size": 4, "learning_rate": 1e-4},
    dpo={"steps": 2, "batch_size": 4, "learning_rate": 1e-4},
    reward={"steps": 2, "batch_size": 4, "learning_rate": 1e-4},
    ppo={"steps": 2, "batch_size": 4, "rollout": 4, "update_epochs": 1, "learning_rate": 1e-4, "beta": 0.05},
    pairs=8,
    best_of=(2, 3),
)
MODELS = ["base", "SFT", "DPO", "PPO", "DPO on samples", "best of 2", "best of 3"]


ROWS = {"train": 40, "held_out": 60, "validation": 20}


def part_of(read: Callable[[str], Dataset]) -> Callable[[str], Dataset]:
    """The first rows of a part: to read all of them takes longer than the rest of the demo."""
    return lambda name: read(name).select(range(ROWS[name])) if name in ROWS else read(name)


@pytest.fixture(scope="module", autouse=True)
def less_data() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name, kinds in (("demonstrations", ["demonstrations"]), ("comparisons", ["preferences", "feedback"])):
            part = part_of(getattr(builtin, name))
            patch.setattr(builtin, name, part)
            for kind in kinds:
                patch.setitem(BUILTIN, kind, part)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("demo") / "demo"
    demo(out, Settings(quiet=True, threads=1), plan=TINY)
    return out


def test_the_summary_holds_what_was_measured(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert [model["name"] for model in summary["models"]] == MODELS
    assert summary["runs"] == 1
    for model in summary["models"]:
        assert len(model["gold_values"]) == TINY.prefixes
        assert model["gold"]["low"] <= model["gold"]["mean"] <= model["gold"]["high"]
    sft = summary["models"][1]
    assert sft["kl"] == pytest.approx({"mean": 0.0, "low": 0.0, "high": 0.0}, abs=1e-4)
    assert summary["models"][0]["kl"]["mean"] != 0
    assert 0.8 < summary["ceiling"]["mean"] < 1
    assert summary["accuracy"]["n"] == summary["reward_accuracy"]["n"] == ROWS["held_out"]
    assert [stage["name"] for stage in summary["stages"]][:3] == ["data and judge", "SFT", "DPO"]


def test_every_training_stage_is_told(finished: Path) -> None:
    summary = json.loads((finished / "summary.json").read_text())
    assert list(summary["training"]) == ["SFT", "DPO", "reward model", "PPO", "DPO on samples"]
    for records in summary["training"].values():
        assert [(line["run"], line["step"]) for line in records] == [("seed-0", 1), ("seed-0", 2)]


def test_the_reward_model_scores_every_model(finished: Path) -> None:
    """The bounds are log 2 − 1/2 and log 3 − 2/3; the best of more samples has no lower score."""
    models = {model["name"]: model for model in json.loads((finished / "summary.json").read_text())["models"]}
    assert [name for name, model in models.items() if model["kl_is_bound"]] == MODELS[-2:]
    assert models["best of 2"]["kl"]["mean"] == pytest.approx(0.193147, abs=1e-6)
    assert models["best of 3"]["kl"]["mean"] == pytest.approx(0.431946, abs=1e-6)
    assert models["best of 3"]["proxy"]["mean"] >= models["best of 2"]["proxy"]["mean"]
    assert all(model["proxy"]["low"] <= model["proxy"]["mean"] <= model["proxy"]["high"] for model in models.values())


def test_ppo_climbs_from_the_sft_model(finished: Path) -> None:
    """Two updates, one a rollout: before the first the policy is the SFT model itself."""
    climb = json.loads((finished / "summary.json").read_text())["climb"]
    assert [(turn["run"], turn["step"]) for turn in climb] == [("seed-0", 0), ("seed-0", 1)]
    assert climb[0]["kl"]["mean"] == pytest.approx(0.0, abs=1e-4)


def test_samples_are_continuations_of_their_prefixes(finished: Path) -> None:
    samples = json.loads((finished / "summary.json").read_text())["samples"]
    assert len(samples) == TINY.prefixes
    for sample in samples:
        for name in MODELS:
            assert sample[name].startswith(sample["prefix"])


def test_page_and_figure_are_written(finished: Path) -> None:
    page = (finished / "report.html").read_text()
    assert "film" in page
    assert (finished / "figure.png").stat().st_size > 5_000
    assert (finished / "figure.svg").read_text().lstrip().startswith("<svg")


def test_models_load_in_plain_transformers(finished: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(finished / "seed-0" / "dpo" / "model")
    model = AutoModelForCausalLM.from_pretrained(finished / "seed-0" / "dpo" / "model")
    assert model.get_input_embeddings().weight.shape[0] == len(tokenizer)


def test_a_demo_goes_on_where_it_was(finished: Path) -> None:
    """Trained stages are kept as they are; only measuring comes again, and gives the same numbers."""
    made = [finished / "seed-0" / stage / "model" / "model.safetensors" for stage in STAGES.values() if stage]
    made += [finished / "seed-0" / "reward" / "model" / "model.safetensors", finished / "seed-0" / "pairs.jsonl"]
    before, written = json.loads((finished / "summary.json").read_text()), [path.stat().st_mtime_ns for path in made]
    demo(finished, Settings(quiet=True, threads=1, resume=True), plan=TINY)
    after = json.loads((finished / "summary.json").read_text())
    assert [path.stat().st_mtime_ns for path in made] == written
    assert after["models"] == before["models"]
    assert after["climb"] == before["climb"]


JOB = {"plan": 1, "seeds": [0]}


def test_an_unfinished_demo_is_resumed_and_never_overwritten_by_accident(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    take(out, JOB, overwrite=False, resume=False)
    (out / "seed-0").mkdir()
    with pytest.raises(UserError, match="use --resume to continue it"):
        take(out, JOB, overwrite=False, resume=False)
    take(out, JOB, overwrite=True, resume=True)
    assert (out / "seed-0").exists()


def test_a_finished_demo_is_kept_or_overwritten_as_asked(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    take(out, JOB, overwrite=False, resume=False)
    (out / "summary.json").write_text("{}")
    take(out, JOB, overwrite=False, resume=True)
    with pytest.raises(UserError, match="use --overwrite"):
        take(out, JOB, overwrite=False, resume=False)
    assert (out / "summary.json").exists()
    take(out, JOB, overwrite=True, resume=True)
    assert [path.name for path in out.iterdir()] == ["demo.json"]


def test_another_job_is_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    take(out, JOB, overwrite=False, resume=False)
    with pytest.raises(UserError, match="holds another demo"):
        take(out, JOB | {"seeds": [0, 1]}, overwrite=False, resume=True)


def test_what_is_no_demo_is_never_deleted(tmp_path: Path) -> None:
    (tmp_path / "seed-0").mkdir()
    with pytest.raises(UserError, match="does not contain a demo"):
        take(tmp_path, JOB, overwrite=True, resume=True)
    assert (tmp_path / "seed-0").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="is a file"):
        take(tmp_path / "file", JOB, overwrite=True, resume=True)


def test_every_stage_is_trained_in_the_precision_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Settings] = []
    monkeypatch.setattr("burnish.recipes.demo.demo.run_training", lambda _, settings: asked.append(settings))
    trained("sft", "builtin", tmp_path / "sft", {"steps": 1}, Settings(precision="bfloat16", quiet=True))
    assert [settings.precision for settings in asked] == ["bfloat16"]


def test_a_demo_in_another_precision_says_so(finished: Path) -> None:
    assert json.loads((finished / "summary.json").read_text())["notes"] == notes("float32", "cpu") == []
    assert notes("bfloat16", "cpu") == ["Trained in bfloat16; what is measured is computed in float32."]
