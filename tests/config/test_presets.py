"""Names for combinations of options: what they set, what comes before them, and that every one can be built."""

from pathlib import Path

import pytest
import yaml

import burnish
from burnish.algorithms.likes import LIKES
from burnish.algorithms.table import LANGUAGE, load
from burnish.config import as_dict, build, read_config
from burnish.config.presets import expanded, remark
from burnish.run import UserError
from config.built import built, refusal

PRESETS = [(method, name) for method in LANGUAGE for name in load(method).presets]


@pytest.mark.parametrize(("method", "name"), PRESETS)
def test_every_preset_is_written_out(method: str, name: str, tmp_path: Path) -> None:
    """The run's configuration has its options, and not its name, so that it means the same for ever."""
    algorithm, settings = built(method, {"preset": name})
    values = as_dict(algorithm, settings)
    assert load(method).presets[name].items() <= values.items()
    assert "preset" not in values
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(values))
    assert build(load(method), read_config(tmp_path / "c.yaml")) == (algorithm, settings)


@pytest.mark.parametrize(("library", "method"), [(name, method) for name, own in LIKES.items() for method in own])
def test_every_librarys_form_is_written_out(library: str, method: str) -> None:
    values = as_dict(*built(method, {"like": library}))
    assert LIKES[library][method].options.items() <= values.items()
    assert "like" not in values


def test_what_is_given_comes_before_a_preset_and_that_before_a_library() -> None:
    grpo = load("grpo")
    found = expanded(grpo, {"like": "trl", "preset": "dapo", "redraws": 3})
    assert found == LIKES["trl"]["grpo"].options | grpo.presets["dapo"] | {"redraws": 3}
    assert (found["clip_high"], found["std_eps"], found["redraws"]) == (0.28, 1e-4, 3)


@pytest.mark.parametrize("beside", [{"sampler": "http://127.0.0.1:8000"}, {"staleness": 2}])
@pytest.mark.parametrize("method", ["grpo", "gspo", "cispo"])
def test_a_librarys_correction_is_there_where_the_sampler_is_not_the_policy(method: str, beside: dict) -> None:
    """TRL's of vLLM: completions whose product of ratios is above 3 have weight 0, others the product."""

    def correction(options: dict) -> tuple:
        knobs = built(method, options)[1].experience
        return knobs.sampler_correction, knobs.correction_level, knobs.correction_low, knobs.correction_high

    plain = ("none", "token", 0.0, 2.0)
    assert correction({"like": "trl"}) == correction({"like": "trl", "staleness": 0}) == plain
    assert correction({"like": "trl"} | beside) == ("mask", "sequence", 0.0, 3.0)
    assert correction({"like": "trl", "correction_high": 5.0} | beside) == ("mask", "sequence", 0.0, 5.0)
    assert correction({"like": "trl", "sampler_correction": "none"} | beside) == plain
    assert correction({"like": "trl", "sampler_correction": "truncate"} | beside) == ("truncate", "token", 0.0, 2.0)


def test_trls_rloo_has_no_correction() -> None:
    assert built("rloo", {"like": "trl", "staleness": 2})[1].experience.sampler_correction == "none"


def test_names_that_are_not_known() -> None:
    assert refusal("grpo", {"preset": "dappo"}) == "preset dappo is not known for grpo: give one of dr_grpo, dapo"
    assert refusal("rloo", {"like": "nemo"}) == "like nemo is not known for rloo: give one of trl, verl"
    assert refusal("dpo", {"like": "trl"}) == "like trl is not known for dpo: it has none, leave it out"
    assert refusal("grpo", {"like": ["trl"]}).startswith("like ['trl'] is not known for grpo")


def test_what_no_option_can_do_is_said() -> None:
    assert remark(load("grpo"), {"like": "prime-rl"}).startswith("like prime-rl, but for this: it masks tokens")
    assert remark(load("grpo"), {"like": "trl"}) == remark(load("dpo"), {}) == ""


def test_an_object_has_options_and_no_preset(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="preset is for configurations"):
        burnish.train(burnish.GRPO(), preset="dapo", reward="lexicon", out=tmp_path / "run")
