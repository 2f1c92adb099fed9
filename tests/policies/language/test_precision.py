"""Tests of `burnish.policies.language.precision`: what counts as native, and how far bfloat16 is from float32."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import Tensor

import burnish
from burnish.policies.interface import Models
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.precision import computes_bfloat16, cost_of_emulation, cpu_features, resolved
from burnish.policies.language.scorer import load_scorer
from burnish.training.step import gradient, prepared


def found(*names: str) -> Callable[[], frozenset[str]]:
    return lambda: frozenset(names)


NATIVE = found("avx512_bf16", "onednn")


@pytest.mark.parametrize("instructions", [["avx512_bf16"], ["amx"], ["avx512_bf16", "amx"]])
def test_a_cpu_with_instructions_that_onednn_uses_is_native(instructions: list[str]) -> None:
    assert computes_bfloat16("cpu", found(*instructions, "onednn"))
    assert not computes_bfloat16("cpu", found(*instructions))


def test_what_onednn_emulates_is_not_native() -> None:
    """oneDNN says yes of any CPU with AVX-512."""
    assert not computes_bfloat16("cpu", found("onednn"))
    assert not computes_bfloat16("cpu", found())


def test_other_devices_are_not_native() -> None:
    assert not computes_bfloat16("meta", NATIVE)


def test_auto_is_bfloat16_only_where_it_is_native() -> None:
    assert resolved("auto", "cpu", NATIVE) == "bfloat16"
    assert resolved("auto", "cpu", found("onednn")) == "float32"
    for asked in ("float32", "bfloat16"):
        assert {resolved(asked, "cpu", features) for features in (NATIVE, found())} == {asked}


def test_only_an_explicit_bfloat16_that_is_emulated_has_a_cost() -> None:
    said = cost_of_emulation("bfloat16", "cpu", found("onednn"))
    assert said is not None
    assert "measured at more than 15 times a float32 step" in said
    assert "\n" not in said
    assert cost_of_emulation("bfloat16", "cpu", NATIVE) is None
    assert cost_of_emulation("auto", "cpu", found()) is None
    assert cost_of_emulation("float32", "cpu", found()) is None
    assert cost_of_emulation("bfloat16", "meta", found()) is None


def test_the_features_are_those_of_the_cpu() -> None:
    """Linux lists the same instructions in /proc/cpuinfo."""
    listed = Path("/proc/cpuinfo")
    if not listed.exists() or "flags" not in listed.read_text():
        pytest.skip("no list of instructions")
    flags = set(listed.read_text().split("flags", 1)[1].split("\n")[0].split())
    named = {"avx512_bf16": "avx512_bf16", "amx": "amx_tile"}
    assert cpu_features() - {"onednn"} == {name for name, flag in named.items() if flag in flags}


@pytest.mark.parametrize("loads", [load_policy, load_scorer])
def test_a_model_is_loaded_with_the_precision_of_its_device(loads: Any, tmp_path: Path) -> None:
    tiny.save_model(tmp_path, "llama")
    assert loads(tmp_path, precision="auto").precision == resolved("auto", "cpu")
    assert loads(tmp_path).precision == "float32"


class Table:
    """A reference that has these log-probabilities."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def logprobs(self, batch: Any) -> Tensor:
        return self.values


@pytest.mark.parametrize("family", ["gpt2", "llama"])
@pytest.mark.parametrize("algorithm", [burnish.SFT(), burnish.DPO(beta=0.1)])
def test_bfloat16_is_within_its_stated_bound_of_float32(algorithm: Any, family: str) -> None:
    """The bounds of docs/loading.md: 0.1 nats for a token, 0.5 % for the loss, 3 % for the gradient's distance."""
    model = tiny.make_model(family, initializer_range=0.1)
    pairs = algorithm.data == burnish.DPO.data
    batch: Any = tiny.preferences(tiny.random_pairs(8)) if pairs else tiny.demonstrations(tiny.random_rows(16))
    exact = LanguagePolicy(model, tiny.make_tokenizer())
    with torch.no_grad():
        reference = Table(exact.logprobs(batch) - 0.5 * batch.mask.float())
    results = []
    for policy in (exact, LanguagePolicy(copy.deepcopy(model), tiny.make_tokenizer(), "bfloat16")):
        models = Models(policy=policy, reference=reference)
        loss = gradient(algorithm, models, prepared(algorithm, models, [batch], {})[0])["loss"]
        slopes = torch.cat([p.grad.flatten() for p in policy.parameters().values()])
        results.append((policy.logprobs(batch).detach(), loss, slopes))
    (logprobs, loss, slopes), (near, near_loss, near_slopes) = results
    assert 0 < (logprobs - near).abs().max() < 0.1
    assert near_loss == pytest.approx(loss, rel=0.005)
    assert (slopes - near_slopes).norm() < 0.03 * slopes.norm()
