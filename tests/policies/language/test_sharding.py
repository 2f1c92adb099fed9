"""Weights that processes divide among themselves: what the whole model computes, and nobody waits for another."""

import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
import torch
import transformers
from tiny_scorers import make_scorer
from torch import Tensor

from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.sft import SFT
from burnish.policies.interface import Models
from burnish.policies.language import policy as policies
from burnish.policies.language import reader
from burnish.policies.language.frozen import keep_narrow
from burnish.policies.language.loading import PLAIN
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.recompute import recompute_layers
from burnish.policies.language.sampler import sample
from burnish.policies.language.sharding import check_blocks
from burnish.run import UserError
from burnish.run.shards import gathered
from burnish.run.world import ALONE, World, joined
from burnish.training.step import NonFiniteLossError, gradient

LONG, SHORT = [tiny.random_rows(40, seed)[-20:] for seed in (3, 4)]
ROWS = [row for row in LONG if len(row[0]) > 9][:3] + [row for row in SHORT if len(row[0]) < 4][:3]
"""The first of two processes gets the long rows, and reads more often than the second, at 16 tokens at once."""
EXACT, CASTS = ("gpt2", "neox", "opt"), ("llama", "qwen")
"""Families that compute in float64, and some whose norms compute in float32 whatever they are given."""


@contextmanager
def small_passes() -> Any:
    """Several passes of the body for a few rows, and several chunks of logits, of which all but one are recomputed."""
    kept = reader.TOKENS_AT_ONCE["cpu"], policies.LOGITS_AT_ONCE
    reader.TOKENS_AT_ONCE["cpu"], policies.LOGITS_AT_ONCE = 16, 2 * tiny.VOCABULARY
    try:
        yield
    finally:
        reader.TOKENS_AT_ONCE["cpu"], policies.LOGITS_AT_ONCE = kept


def learned(
    model: Any, world: World, pieces: int = 1, before: Any = None, rows: Any = ROWS, offload: bool = False
) -> dict[str, Any]:
    """Metrics and whole gradients of one update by a model whose weights are divided, where there are processes."""
    if world.size > 1:
        model.divide(world, offload)
    if before is not None:
        before(model)
    batch: Any = tiny.demonstrations(rows)
    models, algorithm = Models(policy=model), SFT()
    if not isinstance(model, LanguagePolicy):
        models, algorithm = Models(scorer=model), RewardModel()  # type: ignore[assignment]
        batch = tiny.preferences([[one, two] for one, two in zip(rows, reversed(rows), strict=True)])
    found: dict[str, Any] = {"metrics": gradient(algorithm, models, batch, pieces, world)}
    for name, parameter in model.parameters().items():
        found[name] = None if parameter.grad is None else gathered(parameter.grad)
    return found


def different_reads(world: World) -> Callable[[Any], None]:
    """Samples and reads without a gradient, of which each process makes another number."""

    @torch.no_grad()
    def reads(model: LanguagePolicy) -> None:
        with model.gathered(), model.gathered():
            sample(model, [[0, 5]] * (world.rank + 1), seed=world.rank, max_new_tokens=3 + 2 * world.rank)
            if world.is_main:
                model.logprobs(tiny.demonstrations(ROWS[:2]))

    return reads


def narrow() -> LanguagePolicy:
    """A policy in float32 of which the matrices of one layer are frozen, and kept in bfloat16."""
    policy = tiny.make_policy(double=False)
    for parameter in policy.model.transformer.h[0].parameters():
        parameter.data = parameter.data.bfloat16().float()
        parameter.requires_grad_(False)
    policy.files = torch.bfloat16
    keep_narrow(policy)
    assert policy.model.transformer.h[0].attn.c_attn.weight.dtype == torch.bfloat16
    return policy


def everything() -> dict[str, Any]:
    """What is compared, in one of several processes or alone."""
    world, found = joined(), {}
    with small_passes():
        for family in (*EXACT, *CASTS):
            found[family] = learned(tiny.make_policy(family), world)
        found["scorer"] = learned(make_scorer(), world)
        found["pieces"] = learned(tiny.make_policy(), world, pieces=5, rows=ROWS[:5])
        found["one row"] = learned(tiny.make_policy(), world, rows=ROWS[:1])
        found["after different reads"] = learned(tiny.make_policy(), world, before=different_reads(world))
        found["offloaded"] = learned(tiny.make_policy(), world, 5, different_reads(world), offload=True)
        computed_again = tiny.make_policy()
        recompute_layers(computed_again.model)
        found["computed again"] = learned(computed_again, world)
        found["narrow"] = learned(narrow(), world)
        half = tiny.make_policy(double=False)
        half.precision = "bfloat16"
        found["bfloat16"] = learned(half, world)
        found["master"] = {str(parameter.dtype) for parameter in half.parameters().values()}
        found["padded"] = learned(padded(), world)
        broken = tiny.make_policy()
        with torch.no_grad():
            broken.model.transformer.wpe.weight[len(ROWS[0][0]) - 2] = float("nan")
        try:
            found["broken"] = learned(broken, world, rows=ROWS[::-1])["metrics"]
        except NonFiniteLossError as error:
            found["broken"] = error.rows
    if world.size > 1:
        divided = tiny.make_policy()
        divided.divide(world)
        found["held"] = sum(one.to_local().numel() for one in divided.parameters().values())  # type: ignore[attr-defined]
    return found


def waits() -> float:
    """The seconds that a process waits in FSDP2's own collectives, where the first one begins late."""
    world, policy = joined(), tiny.make_policy()
    policy.divide(world)
    world.barrier()
    before = world.waited[0]
    time.sleep(0.5 * world.is_main)
    with policy.gathered():
        return world.waited[0] - before


def padded() -> LanguagePolicy:
    policy = tiny.make_policy()
    policy.padded = "is padded"
    return policy


@pytest.fixture(scope="module")
def alone() -> dict[str, Any]:
    return everything()


@pytest.fixture(scope="module", params=[2, 3])
def together(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    ended = ranks.together(request.param, tmp_path_factory.mktemp("ends"), everything)
    for one in ended:
        if isinstance(one, Exception):
            raise one
    return ended


NEAR = dict.fromkeys(CASTS, 1e-5) | {"narrow": 1e-5, "bfloat16": 2e-2}


@pytest.mark.parametrize(
    "case",
    [
        *(*EXACT, *CASTS, "scorer", "pieces", "one row", "after different reads", "computed again", "narrow"),
        *("bfloat16", "padded", "offloaded"),
    ],
)
def test_gradients_are_those_of_the_whole_model(alone: dict[str, Any], together: list[Any], case: str) -> None:
    expected, near = alone[case], NEAR.get(case, 1e-9)
    assert sum(isinstance(one, Tensor) and bool(one.abs().max() > 1e-3) for one in expected.values()) > 4
    for found in (one[case] for one in together):
        assert found["metrics"] == pytest.approx(expected["metrics"], rel=near, abs=near)
        assert found.keys() == expected.keys()
        for name in expected.keys() - {"metrics"}:
            if expected[name] is None:
                assert found[name] is None, name
            else:
                scale = float(expected[name].abs().max())
                torch.testing.assert_close(found[name], expected[name], rtol=near, atol=near * max(1, scale), msg=name)


def test_the_weights_stay_in_float32_when_passes_compute_in_bfloat16(together: list[Any]) -> None:
    assert [one["master"] for one in together] == [{"torch.float32"}] * len(together)


def test_rows_that_are_not_finite_are_named_in_every_process(alone: dict[str, Any], together: list[Any]) -> None:
    assert len(alone["broken"]) >= 1
    assert [one["broken"] for one in together] == [alone["broken"]] * len(together)


def test_each_process_holds_its_part_alone(together: list[Any]) -> None:
    every = sum(one.numel() for one in tiny.make_policy().parameters().values())
    held = [one["held"] for one in together]
    assert sum(held) == every
    assert max(held) < 1.1 * every / len(together)


def test_what_fsdp_waits_for_is_counted(tmp_path: Path) -> None:
    main, other = ranks.together(2, tmp_path, waits)
    assert other > 0.4
    assert main < other


def test_a_model_without_blocks_is_refused_by_its_configuration(tmp_path: Path) -> None:
    config = transformers.OpenAIGPTConfig(vocab_size=18, n_embd=8, n_layer=1, n_head=2, n_positions=16)
    config.save_pretrained(tmp_path / "old")  # no weights: none are read
    tiny.make_tokenizer().save_pretrained(tmp_path / "old")
    with pytest.raises(UserError, match=r"old \(openai-gpt\) has no blocks that its weights could be divided by: set"):
        check_blocks(str(tmp_path / "old"), PLAIN)
    check_blocks(str(tiny.save_model(tmp_path / "new", "llama")), PLAIN)
    check_blocks(str(tiny.save_model(tmp_path / "gpt2")), replace(PLAIN))


def test_a_model_alone_is_not_divided() -> None:
    policy = tiny.make_policy()
    assert (policy.divided, Models(policy=policy).divided) == (False, False)
    with Models(policy=policy).gathered():
        assert policy.logprobs(tiny.demonstrations(ROWS)).shape[0] == len(ROWS)
    assert ALONE.share(ROWS) is ROWS
