"""Models that no process holds whole: read in parts and written in parts, the same bits as whole ones."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import tiny_scorers
import torch
import transformers
from safetensors.torch import load_file
from torch import Tensor

from burnish.policies.language import saving
from burnish.policies.language.adapters import Lora
from burnish.policies.language.loading import PLAIN, Loading
from burnish.policies.language.policy import load_policy
from burnish.policies.language.reference import weights_hash
from burnish.policies.language.scorer import load_scorer
from burnish.run import UserError
from burnish.run.shards import gathered, is_divided
from burnish.run.world import World, joined

ROWS = tiny.random_rows(5, seed=3)
LORA = Lora(2)


def read(kind: str, files: Path, loading: Loading) -> Any:
    """The model of a case, and a batch that it computes something of."""
    if kind.startswith("scorer"):
        lora = LORA if "adapter" in kind else None
        name = "gpt2" if "new" in kind else "classifier"  # with a new head, which is drawn
        return load_scorer(files / name, seed=3, lora=lora, loading=loading)
    name, _, more = kind.partition(", ")
    if more == "bfloat16":
        loading = replace(loading, dtype="bfloat16")
    return load_policy(files / name, lora=LORA if more == "adapter" else None, seed=3, loading=loading)


CASES = [
    *("gpt2", "untied", "llama", "half", "half, bfloat16", "gpt2, adapter"),
    *("scorer, adapter", "scorer, new"),
]


def seen(model: Any) -> dict[str, Any]:
    """What must not depend on the processes."""
    numbers = model.scores if hasattr(model, "scores") else model.logprobs
    with torch.no_grad():
        found = {"numbers": numbers(tiny.demonstrations(ROWS))}
    kept = vars(model)
    found |= {name: kept[name] for name in ("padded", "joins", "files", "uncached", "by_slot") if name in kept}
    found["buffers"] = dict(model.model.named_buffers())
    found["weights"] = {
        name: gathered(p.detach()).clone() for name, p in model.model.named_parameters(remove_duplicate=False)
    }
    found["trained"] = sorted(model.parameters())
    return found | {"hash": weights_hash(model.model), "training": model.model.training}


def moved(model: Any) -> Any:
    """The model with other weights, which do not lie on the grid of 16 bits."""
    with torch.no_grad():
        for parameter in model.model.parameters():
            parameter.mul_(1.001953125)
    return model


def work(files: str, out: str) -> dict[str, Any]:
    """What one process finds; the main one has made the folders."""
    world, found = joined(), {}
    loading = replace(PLAIN, world=world)
    for kind in CASES:
        model = read(kind, Path(files), loading)
        divided = [p for p in model.model.parameters() if is_divided(p)]
        held = sum(p.to_local().numel() for p in divided)  # type: ignore[attr-defined]
        shares = {"held": held, "of": sum(p.numel() for p in divided)}
        found[kind] = seen(model) | shares | {"whole": [n for n, p in model.parameters().items() if not is_divided(p)]}
        if world.is_main:
            Path(out, kind).mkdir(parents=True)
        world.barrier()
        moved(model).save(Path(out, kind), "bfloat16" if kind == "untied" else "auto")
    saving.LARGEST = "4KB"
    if world.is_main:
        Path(out, "pieces").mkdir()
    world.barrier()
    moved(read("gpt2", Path(files), loading)).save(Path(out, "pieces"))
    mixed = tiny.make_policy(double=False)
    mixed.model.lm_head.weight.data = mixed.model.lm_head.weight.data.bfloat16()  # type: ignore[union-attr]
    found["mixed"] = refused(lambda: mixed.divide(world))
    found["refused"] = refused(lambda: load_policy(Path(files, "wrong"), loading=loading))
    return found


def refused(function: Callable[[], Any]) -> str:
    with pytest.raises(UserError) as caught:
        function()
    return str(caught.value)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "gpt2")
    tiny.save_model(folder / "untied", tie_word_embeddings=False)
    tiny.save_model(folder / "llama", "llama")
    tiny.save_model(folder / "half", "llama", seed=1)
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "half", dtype=torch.bfloat16)
    model.save_pretrained(folder / "half")
    tiny_scorers.make_classifier("llama").save_pretrained(folder / "classifier")
    tokenizer = tiny.make_tokenizer()
    tokenizer.save_pretrained(folder / "classifier")
    tiny.save_model(folder / "wrong")
    config = transformers.AutoConfig.from_pretrained(folder / "wrong")
    config.vocab_size += 1
    config.save_pretrained(folder / "wrong")
    return folder


@pytest.fixture(scope="module")
def together(files: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[dict[str, Any]], Path]:
    folder = tmp_path_factory.mktemp("together")
    ended = ranks.together(2, folder / "ends", work, str(files), str(folder / "out"))
    for one in ended:
        if isinstance(one, Exception):
            raise one
    return ended, folder / "out"


def different(one: Any, other: Any) -> list[str]:
    """The names of what differs."""
    if not isinstance(one, dict):
        one, other = {"": one}, {"": other}
    names = [name for name in one.keys() & other.keys() if not alike(one[name], other[name])]
    return sorted(names + list(one.keys() ^ other.keys()))


def alike(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor):
        return torch.equal(one, other) and one.dtype == other.dtype
    return bool(one == other)


@pytest.mark.parametrize("kind", CASES)
def test_a_model_that_is_read_in_parts_is_the_whole_one(
    files: Path, together: tuple[list[dict[str, Any]], Path], kind: str
) -> None:
    """Weights, buffers, what the checks on loading say, and log-probabilities, to the bit, of its part in each."""
    expected = seen(read(kind, files, PLAIN))
    for found in (one[kind] for one in together[0]):
        for key, value in expected.items():
            assert different(value, found[key]) == [], key
        assert found["held"] < 0.6 * found["of"]
        assert bool(found["whole"]) == ("adapter" in kind)  # what is trained beside frozen weights
    assert sum(one[kind]["held"] for one in together[0]) == together[0][0][kind]["of"] > 500


@pytest.mark.parametrize("kind", CASES)
def test_a_model_that_is_written_in_parts_is_the_whole_one(
    files: Path, together: tuple[list[dict[str, Any]], Path], tmp_path: Path, kind: str
) -> None:
    """The same files with the same tensors, also where they are rounded at random, as to bfloat16 in "half"."""
    moved(read(kind, files, PLAIN)).save(tmp_path, "bfloat16" if kind == "untied" else "auto")
    written = together[1] / kind
    assert {path.name for path in written.iterdir()} == {path.name for path in tmp_path.iterdir()}
    (one,) = tmp_path.glob("*.safetensors")
    assert different(load_file(one), load_file(written / one.name)) == []
    for path in tmp_path.glob("*.json"):
        assert path.read_text() == (written / path.name).read_text(), path.name


def test_transformers_reads_what_was_written_in_parts(files: Path, together: tuple[list[dict[str, Any]], Path]) -> None:
    """One file, or several with an index, as where a model has more than 50 GB."""
    expected = moved(read("gpt2", files, PLAIN)).model.state_dict()
    assert len(list((together[1] / "pieces").glob("model-*.safetensors"))) > 1
    for name in ("gpt2", "pieces"):
        model = transformers.AutoModelForCausalLM.from_pretrained(together[1] / name)
        assert different(expected, model.state_dict()) == []
        assert model.lm_head.weight is model.transformer.wte.weight


def test_weights_of_another_shape_are_refused(together: tuple[list[dict[str, Any]], Path]) -> None:
    """The part of the second process would fit."""
    file, wanted = ((tiny.VOCABULARY + more, 16) for more in (0, 1))
    for found in together[0]:
        assert f"has transformer.wte.weight of shape {file}, and its config.json describes {wanted}" in found["refused"]


def test_weights_of_two_dtypes_are_refused(together: tuple[list[dict[str, Any]], Path]) -> None:
    said = " (gpt2) has weights of several dtypes, which cannot be divided: set dtype float32"
    assert [one["mixed"] for one in together[0]] == [said] * 2


def test_one_process_reads_and_writes_the_whole_model(files: Path, tmp_path: Path) -> None:
    policy = load_policy(files / "gpt2", loading=replace(PLAIN, world=World()))
    assert not policy.divided
    policy.save(tmp_path)
    written, before = (load_file(folder / "model.safetensors") for folder in (tmp_path, files / "gpt2"))
    assert different(written, before) == []
