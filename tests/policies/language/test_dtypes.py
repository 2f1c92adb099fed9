"""In which dtype a model is written, and what it then is for transformers and for Burnish."""

import json
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from safetensors.torch import load_file, save_file
from tiny_scorers import make_scorer
from transformers import AutoModelForCausalLM

from burnish.functional.rounding import round_stochastically
from burnish.policies.language.adapters import Lora
from burnish.policies.language.dtypes import dtype_of_files, dtype_to_save, written_in
from burnish.policies.language.loading import Loading, load_config
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.scorer import load_scorer

HALF = torch.bfloat16


@pytest.fixture
def half(tmp_path: Path) -> Path:
    """A folder of bfloat16 weights, with an embedding that is tied to the head."""
    tiny.make_model("qwen").to(HALF).save_pretrained(tmp_path / "half")
    tiny.make_tokenizer().save_pretrained(tmp_path / "half")
    return tmp_path / "half"


def tensors(folder: Path, name: str = "model") -> dict[str, torch.Tensor]:
    return load_file(folder / f"{name}.safetensors")


def dtypes(folder: Path, name: str = "model") -> set[torch.dtype]:
    return {tensor.dtype for tensor in tensors(folder, name).values()}


def moved(model: Any, by: float = 1e-4) -> Any:
    """A model whose weights have moved by less than half a step of bfloat16's grid, for most of them."""
    with torch.no_grad():
        for parameter in model.parameters().values():
            parameter += by
    return model


def test_a_model_is_as_large_as_it_was(half: Path, tmp_path: Path) -> None:
    policy = moved(load_policy(half))
    before = {name: p.clone() for name, p in policy.parameters().items()}
    policy.save(tmp_path / "saved")
    assert (tmp_path / "saved/model.safetensors").stat().st_size == (half / "model.safetensors").stat().st_size
    assert tensors(tmp_path / "saved").keys() == tensors(half).keys()
    assert dtypes(tmp_path / "saved") == {HALF}
    assert json.loads((tmp_path / "saved/config.json").read_text())["dtype"] == "bfloat16"
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "saved", dtype="auto").dtype == HALF
    for name, parameter in policy.parameters().items():  # in memory nothing has changed
        assert torch.equal(parameter, before[name])
    assert policy.model.dtype == torch.float32
    assert policy.model.get_output_embeddings().weight is policy.model.get_input_embeddings().weight


def test_weights_that_did_not_move_are_the_same_bytes(half: Path, tmp_path: Path) -> None:
    load_policy(half).save(tmp_path / "saved")
    for name, tensor in tensors(half).items():
        assert torch.equal(tensor, tensors(tmp_path / "saved")[name])


def test_updates_below_the_grid_are_kept_in_sum(half: Path, tmp_path: Path) -> None:
    """Each weight goes to one of its two neighbours; all together are moved as they were trained, to a tenth."""
    moved(load_policy(half)).save(tmp_path / "saved")
    was, now = tensors(half), tensors(tmp_path / "saved")
    changes = torch.cat([(now[name].float() - was[name].float()).flatten() for name in was])
    steps = torch.cat([2.0**-7 * was[name].float().abs().flatten() for name in was])
    assert ((changes >= 0) & (changes <= steps.clamp(min=2e-4))).all()
    assert (changes == 0).float().mean() > 0.2
    assert changes.mean().item() == pytest.approx(1e-4, rel=0.1)


@pytest.mark.parametrize(
    ("memory", "asked", "files", "expected"),
    [
        ("float32", "auto", "bfloat16", "bfloat16"),
        ("float32", "auto", "float16", "float16"),
        ("float32", "auto", "float32", "float32"),
        ("float32", "auto", None, "float32"),
        ("bfloat16", "auto", "float32", "bfloat16"),  # the other bits are not there
        ("bfloat16", "auto", "float16", "bfloat16"),
        ("float32", "float32", "bfloat16", "float32"),
        ("bfloat16", "float32", "bfloat16", "float32"),
        ("float32", "float16", "bfloat16", "float16"),
    ],
)
def test_which_dtype(memory: str, asked: Any, files: str | None, expected: str) -> None:
    model = tiny.make_model().to(getattr(torch, memory))
    assert dtype_to_save(model, asked, files and getattr(torch, files)) == getattr(torch, expected)


def test_what_is_asked_for_is_rounded_to_the_nearest(tmp_path: Path) -> None:
    policy = load_policy(tiny.save_model(tmp_path / "m", "llama"))
    policy.save(tmp_path / "saved", "bfloat16")
    for name, tensor in tensors(tmp_path / "saved").items():
        assert torch.equal(tensor, tensors(tmp_path / "m")[name].to(HALF))
    policy.save(tmp_path / "same")
    assert dtypes(tmp_path / "same") == {torch.float32}


def test_a_reward_model_scores_the_same_where_it_is_loaded(tmp_path: Path) -> None:
    """What is read in float32 and in bfloat16 are the same weights, the head among them."""
    make_scorer("llama", double=False).save(tmp_path / "wide")
    scorer = load_scorer(tmp_path / "wide")
    scorer.centre(0.25)
    scorer.save(tmp_path / "half", "bfloat16")
    assert dtypes(tmp_path / "half") == {HALF}
    one, other = (load_scorer(tmp_path / "half", loading=Loading(dtype=dtype)) for dtype in ("float32", "auto"))
    assert one.files == other.files == HALF
    assert one.offset == other.offset == 0.25
    for name, parameter in one.parameters().items():
        assert torch.equal(parameter, other.parameters()[name].float())
    batch = tiny.demonstrations(tiny.random_rows(4))
    torch.testing.assert_close(one.scores(batch), scorer.scores(batch), rtol=0.05, atol=0.05)


@pytest.mark.parametrize(("asked", "expected"), [("auto", torch.float32), ("bfloat16", HALF)])
def test_an_adapter_is_float32_unless_asked(asked: Any, expected: torch.dtype, half: Path, tmp_path: Path) -> None:
    policy = load_policy(half, lora=Lora(2))
    policy.save(tmp_path / "saved", asked)
    assert dtypes(tmp_path / "saved", "adapter_model") == {expected}
    again = load_policy(tmp_path / "saved", lora=Lora(2))
    assert {p.dtype for p in again.parameters().values()} == {torch.float32}
    assert {p.dtype for p in policy.parameters().values()} == {torch.float32}
    load_policy(tmp_path / "saved").save(tmp_path / "merged")
    assert dtypes(tmp_path / "merged") == {torch.float32}  # W + (α/r)·B A does not lie on the grid of W


def test_a_folder_that_does_not_say_its_dtype_is_looked_into(half: Path) -> None:
    config = json.loads((half / "config.json").read_text())
    del config["dtype"]
    (half / "config.json").write_text(json.dumps(config))
    assert dtype_of_files(str(half), load_config(str(half), Loading())) == HALF
    save_file({"n": torch.ones(2, dtype=torch.int64)}, half / "model.safetensors")
    assert dtype_of_files(str(half), load_config(str(half), Loading())) is None


def test_what_a_family_keeps_in_float32_stays_so() -> None:
    model = tiny.make_model("llama")
    model._keep_in_fp32_modules_strict = {"input_layernorm"}
    parameters = dict(model.named_parameters())
    with written_in(model, parameters, HALF, None):
        kept = {name for name, p in model.named_parameters() if p.dtype == torch.float32}
    assert kept == {f"model.layers.{i}.input_layernorm.weight" for i in (0, 1)}
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_an_error_while_writing_leaves_the_model_as_it_was() -> None:
    policy = LanguagePolicy(tiny.make_model(), tiny.make_tokenizer())

    def fail() -> None:
        with written_in(policy.model, policy.parameters(), HALF, HALF):
            assert policy.model.dtype == HALF
            raise OSError("full")

    with pytest.raises(OSError, match="full"):
        fail()
    assert policy.model.dtype == torch.float32


def test_the_random_numbers_are_of_the_weights_name(half: Path, tmp_path: Path) -> None:
    policy = moved(load_policy(half))
    policy.save(tmp_path / "saved")
    for name, parameter in policy.parameters().items():
        assert torch.equal(tensors(tmp_path / "saved")[name], round_stochastically(parameter.detach(), HALF, name))
