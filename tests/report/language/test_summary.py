import copy
import json

import pytest

from burnish.report.language import summary as module
from burnish.run import UserError

from ..conftest import make_summary


def test_the_example_is_valid(summary):
    newer = {"prefixes": None, "reward_accuracy": None, "climb": None, "warnings": None}
    signs = dict.fromkeys(["distinct_2_nearby", "repetition", "same", "entropy"])
    models = [model | signs | {"kl_is_bound": None, "proxy": None} for model in summary["models"]]
    assert module.complete(summary) == summary | {"baseline": "SFT", "models": models} | newer
    assert module.complete(json.loads(json.dumps(summary))) == module.complete(summary)


def test_optional_parts_may_be_absent():
    found = module.complete({"title": "t", "models": [{"name": "a", "gold": {"mean": 1, "low": 0, "high": 2}}]})
    assert (found["runs"], found["samples"], found["models"][0]["kl"]) == (1, None, None)


@pytest.mark.parametrize(
    ("path", "value", "sentence"),
    [
        (("title",), "", "no `title`"),
        (("models",), [], "no `models`"),
        (("models", 1, "gold"), None, "Model 2 .* no `gold`"),
        (("models", 2, "kl"), {"mean": 1}, "`kl` of model `DPO` .* not an interval"),
        (("models", 2, "gold_vs_sft"), 0.4, "`gold_vs_sft` of model `DPO` .* not an interval"),
        (("models", 0, "gold"), {"mean": float("nan"), "low": 0, "high": 1}, "`gold` of model `base`"),
        (("models", 0, "name"), "SFT", "share a name"),
        (("ceiling",), {"mean": 1, "low": 1}, "`ceiling` .* not an interval"),
        (("reward_accuracy",), 0.7, "`reward_accuracy` .* not an interval"),
        (("models", 2, "proxy"), 0.4, "`proxy` of model `DPO` .* not an interval"),
        (("climb",), [{"proxy": None}], "Record 1 of `climb` .* no `step`"),
        (("climb",), [{"step": 0}, {"step": 2, "gold": 1.0}], "`gold` of record 2 of `climb` .* not an interval"),
    ],
)
def test_what_is_wrong_is_named(path, value, sentence):
    found = copy.deepcopy(make_summary())
    place = found
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(UserError, match=sentence):
        module.complete(found)


def test_training_records_inlined_or_from_a_file(tmp_path, summary):
    (tmp_path / "dpo").mkdir()
    (tmp_path / "dpo" / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n{"step": 2')
    summary["training"] = {"sft": [{"step": 1, "loss": 4.0}], "dpo": "dpo/metrics.jsonl", "other": []}
    assert module.training_records(summary, tmp_path) == {
        "SFT": [{"step": 1, "loss": 4.0}],
        "DPO": [{"step": 1, "loss": 0.5}],
        "other": [],
    }
    summary["training"] = {"sft": "nowhere/metrics.jsonl"}
    with pytest.raises(UserError, match="nowhere"):
        module.training_records(summary, tmp_path)
