"""The step: parts of a batch add up to the batch, and what is not finite is named before anything moves."""

import dataclasses
import math
from collections.abc import Iterable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from tiny_scorers import make_scorer
from torch.utils._python_dispatch import TorchDispatchMode

from burnish.algorithms.apo_down import APODown
from burnish.algorithms.apo_zero import APOZero
from burnish.algorithms.cpo import CPO
from burnish.algorithms.dpo import DPO
from burnish.algorithms.exo import EXO
from burnish.algorithms.hinge import Hinge
from burnish.algorithms.interface import Algorithm
from burnish.algorithms.ipo import IPO
from burnish.algorithms.kto import KTO
from burnish.algorithms.nca import NCA
from burnish.algorithms.orpo import ORPO
from burnish.algorithms.ppo import PPO
from burnish.algorithms.reward_model import RewardModel
from burnish.algorithms.robust_dpo import RobustDPO
from burnish.algorithms.sft import SFT
from burnish.algorithms.simpo import SimPO
from burnish.algorithms.sppo import SPPO
from burnish.algorithms.table import LANGUAGE, load
from burnish.algorithms.terms import Loss, Term
from burnish.batches import Demonstrations, Episodes, Feedback, Preferences
from burnish.policies.interface import Models
from burnish.policies.language.adapters import Lora
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.reference import StartingAdapter
from burnish.run.world import World
from burnish.training.step import (
    NonFiniteLossError,
    added,
    cuts,
    evaluate,
    faulty,
    gradient,
    metric_shares,
    microbatches,
    objective,
    prepared,
    rounds,
    tokens_of,
)

ALGORITHMS = [
    SFT(),
    SFT(over="sequence"),
    DPO(beta=0.5, label_smoothing=0.1),
    DPO(beta=0.5, length_normalised=True, margin_weight=0.5),
    DPO(beta=0.5, divergence="js", nll_weight=0.2),
    RobustDPO(beta=0.5, label_smoothing=0.1),
    Hinge(nll_weight=0.3),
    IPO(tau=0.3),
    IPO(tau=0.3, log_ratios="mean"),
    ORPO(odds_weight=0.5),
    SimPO(),
    CPO(nll_weight=0.7),
    APOZero(beta=0.5),
    APODown(beta=0.5),
    EXO(beta=0.5),
    NCA(beta=0.5),
    SPPO(beta=0.5),
    KTO(beta=0.5, desirable_weight=1.5),
    RewardModel(centre_coefficient=0.1),
    RewardModel(margin_weight=0.5),
    PPO(entropy_weight=0.1),
    PPO(over="sequence", value_clip=None, standardise_advantages=False),
]


def named(algorithm: Any) -> str:
    return repr(algorithm).split("(")[0] + str(getattr(algorithm, "over", ""))


def test_every_method_of_the_table_is_here() -> None:
    known = {type(algorithm) for algorithm in ALGORITHMS}
    assert known >= {cls for cls in map(load, LANGUAGE) if not cls.experience}


class Reference:
    """A reference that knows each row's numbers by the row's name, whatever the padding."""

    def logprobs(self, batch: Any) -> torch.Tensor:
        values = torch.zeros(batch.mask.shape, dtype=torch.float64)
        for i, row in enumerate(batch.rows.tolist()):
            values[i] = -1.0 - 0.1 * row
        return values.where(batch.mask, 0.0)


def batch_for(algorithm: Any, extra: int = 0, filler: int = 0) -> Any:
    if isinstance(algorithm, SFT):
        return tiny.demonstrations(tiny.random_rows(7, seed=9), filler, extra)
    if isinstance(algorithm, PPO):
        return episodes(tiny.demonstrations(tiny.random_completions(7, seed=9), filler, extra), filler)
    if isinstance(algorithm, RewardModel) and algorithm.centre_coefficient:
        return rankings(tiny.preferences(tiny.random_pairs(7, seed=9, group=4), filler, extra))
    pairs = tiny.preferences(tiny.random_pairs(7, seed=9), filler, extra)
    if isinstance(algorithm, KTO):
        return Feedback(pairs.tokens, pairs.mask, pairs.lengths, pairs.rows, torch.arange(7) % 3 > 0)
    margins, confidences = torch.arange(7.0).double() / 4, 1 - torch.arange(7.0).double() / 20
    return dataclasses.replace(pairs, margins=margins, confidences=confidences if algorithm.soft_labels else None)


def rankings(batch: Preferences) -> Preferences:
    """Of the rows' four responses two, three, four, two … are left, best first."""
    there = torch.arange(4) < 2 + torch.arange(7)[:, None] % 3
    lengths = torch.where(there, batch.lengths, 0)
    return dataclasses.replace(batch, mask=batch.mask & there[..., None], lengths=lengths)


def episodes(batch: Demonstrations, filler: float) -> Episodes:
    """Completions that were sampled by some other policy and ended; what lies behind the mask is `filler`."""
    rows, columns = torch.meshgrid(*(torch.arange(n, dtype=torch.float64) for n in batch.mask.shape), indexing="ij")
    last = columns == batch.lengths[:, None] - 1
    numbers = {
        "old_logprobs": -2 - 0.1 * rows - 0.03 * columns,
        "rewards": (rows - 3) * last - 0.1 * columns,
        "discounts": 0.9 * ~last,
    }
    numbers["sampler_logprobs"] = numbers["old_logprobs"]
    given = {name: values.where(batch.mask, float(filler)) for name, values in numbers.items()}
    return Episodes(batch.tokens, batch.mask, batch.lengths, batch.rows, limit=torch.tensor(12), **given)


def models_for() -> Models:
    return Models(
        policy=tiny.make_policy("gpt2"),
        reference=Reference(),
        critic=make_scorer("gpt2", seed=1),
        scorer=make_scorer("gpt2", seed=2),
    )


def run(algorithm: Any, batch: Any, pieces: int = 1) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    models = models_for()
    (ready,) = prepared(algorithm, models, [batch], {})
    metrics = gradient(algorithm, models, ready, pieces)
    return metrics, {
        f"{part}/{name}": p.grad for part, model in models.trained().items() for name, p in model.parameters().items()
    }


def assert_same(one: tuple, other: tuple) -> None:
    assert one[0] == pytest.approx(other[0], abs=1e-10)
    assert one[1].keys() == other[1].keys()
    assert any(grad is not None and grad.abs().max() > 1e-3 for grad in one[1].values())
    for name in one[1]:
        if one[1][name] is None or other[1][name] is None:  # a model that the method does not train
            assert one[1][name] is other[1][name] is None
            continue
        torch.testing.assert_close(one[1][name], other[1][name], rtol=0, atol=1e-10)


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
@pytest.mark.parametrize("pieces", [2, 3, 4, 8])
def test_micro_batches_leave_loss_metrics_and_gradient_as_they_are(algorithm: Any, pieces: int) -> None:
    batch = batch_for(algorithm)
    assert_same(run(algorithm, batch, pieces), run(algorithm, batch))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_padding_leaves_loss_metrics_and_gradient_as_they_are(algorithm: Any) -> None:
    assert_same(run(algorithm, batch_for(algorithm, extra=8, filler=7), 3), run(algorithm, batch_for(algorithm)))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_the_order_of_rows_leaves_loss_metrics_and_gradient_as_they_are(algorithm: Any) -> None:
    batch = batch_for(algorithm)
    shuffled = batch.select(torch.tensor([5, 0, 6, 2, 4, 1, 3]))
    for pieces in (1, 3):
        assert_same(run(algorithm, shuffled, pieces), run(algorithm, batch))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
def test_rows_that_teach_nothing_leave_everything_as_it_is(algorithm: Any) -> None:
    batch = batch_for(algorithm)
    mask = batch.mask.clone()
    mask[2] = False
    silent = dataclasses.replace(batch, mask=mask)
    without = batch.select(torch.tensor([0, 1, 3, 4, 5, 6]))
    assert_same(run(algorithm, silent), run(algorithm, without))


@pytest.mark.parametrize("algorithm", ALGORITHMS, ids=named)
@pytest.mark.parametrize("cuts", [[3], [1, 2, 6]])
def test_evaluation_over_several_batches_is_that_over_one(algorithm: Any, cuts: list[int]) -> None:
    """Advantages standardised over all of them, and one KL of KTO's mismatched responses, among the rest."""
    models, batch = models_for(), batch_for(algorithm)
    whole = evaluate(algorithm, models, [batch])
    assert whole == pytest.approx(run(algorithm, batch)[0], abs=1e-12)
    edges = [0, *cuts, 7]
    parts = [batch.select(slice(a, b)) for a, b in pairwise(edges)]
    assert evaluate(algorithm, models, parts) == pytest.approx(whole, abs=1e-12)
    assert all(p.grad is None for model in models.trained().values() for p in model.parameters().values())


def test_counts_of_parts_add_up_by_hand() -> None:
    """Rows with 2, 0 and 1 real tokens; of pairs, one of which has a response without any."""
    rows = tiny.demonstrations([([0, 4, 5], [False, True, True]), ([0, 4], [False] * 2), ([0, 4], [False, True])])
    assert summed(rows) == {"token": 3, "sequence": 2, "row": 2}
    a, b = ([0, 4, 5], [False, True, True]), ([0, 4], [False, False])
    pairs = tiny.preferences([[a, a], [a, b], [b, b]])
    assert summed(pairs) == {"token": 6, "sequence": 3, "row": 1, "chosen": 2}


def summed(batch: Any) -> dict[str, int]:
    """The counts of the batch's first row and of the rest, added."""
    return {
        name: int(n)
        for name, n in added([batch.select(slice(0, 1)).counts(), batch.select(slice(1, 9)).counts()]).items()
    }


@dataclasses.dataclass(frozen=True)
class Told(Algorithm):
    """Counts its parts' rows, and keeps what `prepare` is told."""

    def statistics(self, models: Models, part: Any) -> dict[str, Any]:
        assert not torch.is_grad_enabled()
        return {"rows": len(part), "mean": part.rows.sum()}

    def prepare(self, models: Models, part: Any, statistics: dict[str, Any]) -> Any:
        assert not torch.is_grad_enabled()
        return part, statistics


def test_every_part_is_prepared_with_what_all_of_them_say() -> None:
    """Rows 0 … 6 in parts of 2, 4 and 1: 7 rows, numbers that add up to 21, and what was carried from before."""
    batch = batch_for(SFT())
    parts = [batch.select(slice(a, b)) for a, b in pairwise([0, 2, 6, 7])]
    found = prepared(Told(), Models(), parts, {"price": 0.5})
    assert [one for one, _ in found] == parts
    assert all(told == {"rows": 7, "mean": torch.tensor(21), "price": 0.5} for _, told in found)


@pytest.mark.parametrize("at_once", [1, 2])
def test_the_critic_reads_a_rollout_once_before_its_updates(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both phases of the preparation use its values, which are not kept in what is prepared."""
    models, batch = models_for(), batch_for(PPO())
    read, values = [], models.critic.values
    monkeypatch.setattr(models.critic, "values", lambda part: read.append(len(part)) or values(part))
    parts = [batch.select(slice(at, None, at_once)) for at in range(at_once)]
    ready = prepared(PPO(), models, parts, {})
    assert read == [len(part) for part in parts]
    assert all(one.batch.values is None and one.old_values is not None for one in ready)
    read.clear()
    evaluate(PPO(), models, [batch])
    assert read == [len(batch)] * 2  # the second is the loss


def test_micro_batches_hold_every_row_once_long_ones_together() -> None:
    batch = tiny.demonstrations([([0] * n, [False] * (n - 1) + [True]) for n in (5, 2, 9, 3, 8, 2)])
    parts = list(microbatches(batch, 3))
    assert [part.lengths.tolist() for part in parts] == [[2, 2], [3, 5], [8, 9]]
    assert [part.rows.tolist() for part in parts] == [[1, 5], [3, 0], [4, 2]]
    rows = batch_for(SFT())  # 7 rows: as many pieces as were asked for, and no more than there are rows
    assert [[len(part) for part in microbatches(rows, n)] for n in (1, 3, 5, 9)] == [
        [7],
        [3, 2, 2],
        [2, 2, 1, 1, 1],
        [1] * 7,
    ]
    pairs = tiny.preferences([[([0] * n, [False] * n), ([0] * m, [False] * m)] for n, m in ((3, 9), (4, 2), (5, 5))])
    assert [part.rows.tolist() for part in microbatches(pairs, 3)] == [[1], [2], [0]]


def test_terms_are_weighted_and_reported_apart() -> None:
    """Means 2 and 4 over the whole batch of two rows, weights 1 and ½: 2 + 2 = 4. This part holds one row of it."""
    counts = {"token": torch.tensor(4), "sequence": torch.tensor(2), "row": torch.tensor(2)}
    batch = tiny.demonstrations([([0, 4], [True, True])])
    mask = batch.mask
    loss = Loss(
        {
            "one": Term(torch.tensor([[1.0, 3.0]]), mask, "token"),
            "two": Term(torch.tensor([4.0]), mask.any(-1), "row", weight=0.5),
        },
        {"number": torch.tensor([6.0])},
    )
    assert objective(loss, counts).item() == pytest.approx((1 + 3) / 4 + 0.5 * 4 / 2)
    shares = metric_shares(loss, batch, counts)
    assert {name: share.item() for name, share in shares.items()} == {"number": 3.0, "loss/one": 1.0, "loss/two": 2.0}


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_row_that_is_not_finite_is_named(pieces: int) -> None:
    """The word 17 stands in rows 1 and 4 alone, and its embedding is NaN; the data set calls them 101 and 104."""
    rows = [([0, 5, 6, 7], [False, True, True, True]) for _ in range(6)]
    for i in (1, 4):
        rows[i] = ([0, 17, 6, 7], rows[i][1])
    batch = tiny.demonstrations(rows)
    batch = dataclasses.replace(batch, rows=batch.rows + 100)
    policy = tiny.make_policy("untied_llama")
    with torch.no_grad():
        policy.model.model.embed_tokens.weight[17] = math.nan
    with pytest.raises(NonFiniteLossError) as caught:
        gradient(SFT(), Models(policy=policy), batch, pieces)
    assert caught.value.rows == [101, 104]
    assert all(parameter.grad is None for parameter in policy.parameters().values())


class Counting(TorchDispatchMode):
    """Counts how often a number is read from a tensor, and how often each of the `weights` is cast."""

    def __init__(self, weights: Iterable[torch.Tensor] = ()) -> None:
        super().__init__()
        self.read, self.casts = 0, {weight.data_ptr(): 0 for weight in weights}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.read += func is torch.ops.aten._local_scalar_dense.default
        if func is torch.ops.aten._to_copy.default and args[0].data_ptr() in self.casts:
            self.casts[args[0].data_ptr()] += 1
        return func(*args, **(kwargs or {}))


class Uniform(tiny.Table):
    """Gives every token the same log-probability, a tensor without dimensions."""

    def logprobs(self, batch: Any) -> torch.Tensor:
        return self.values.expand(batch.mask.shape)


def test_micro_batches_read_no_numbers_of_their_own() -> None:
    """The numbers of a step are read once, at its end: on a GPU each would wait for all that was computed before."""
    batch = tiny.demonstrations(tiny.random_rows(8))
    counts = []
    for pieces in (1, 4):
        with Counting() as counting:
            gradient(SFT(), Models(policy=Uniform(torch.zeros(()))), batch, pieces)
        counts.append(counting.read)
    assert counts[0] == counts[1] < 10


def half(**changes: Any) -> LanguagePolicy:
    return LanguagePolicy(tiny.make_model("untied_llama", **changes), tiny.make_tokenizer(), "bfloat16")


def test_a_step_in_bfloat16_casts_each_weight_once() -> None:
    """For all micro-batches; norms and embeddings are not cast at all."""
    policy, batch = half(), tiny.demonstrations(tiny.random_rows(8))
    with Counting(policy.parameters().values()) as counting:
        gradient(SFT(), Models(policy=policy), batch, 4)
    matrices = {p.data_ptr() for name, p in policy.parameters().items() if "proj" in name or "lm_head" in name}
    assert counting.casts == {pointer: int(pointer in matrices) for pointer in counting.casts}


def test_a_reference_in_the_loss_is_read_with_its_own_weights(tmp_path: Path) -> None:
    """A starting adapter takes the place of the trained one, of which the step keeps casts."""
    tiny.save_model(tmp_path, "llama")
    policy = load_policy(tmp_path, precision="bfloat16", lora=Lora(2))
    models, batch = Models(policy=policy, reference=StartingAdapter(policy)), tiny.demonstrations(tiny.random_rows(4))
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter += 0.5
    seen: list[torch.Tensor] = []

    class LooksBack(SFT):
        def loss(self, models: Models, batch: Any) -> Loss:
            found = super().loss(models, batch)
            seen.append(models.reference.logprobs(batch)[torch.argsort(batch.rows)])  # micro-batches are sorted
            return found

    gradient(LooksBack(), models, batch)
    expected = models.reference.logprobs(batch)
    assert torch.equal(seen[0], expected)
    assert not torch.allclose(policy.logprobs(batch), expected, atol=0.1)


def test_a_reference_that_is_not_finite_names_the_pair() -> None:
    class Broken(Reference):
        def logprobs(self, batch: Any) -> torch.Tensor:
            values = super().logprobs(batch)
            values[batch.rows == 3] = math.inf
            return values

    models = Models(policy=tiny.make_policy("gpt2"), reference=Broken())
    (ready,) = prepared(DPO(), models, [batch_for(DPO())], {})
    with pytest.raises(NonFiniteLossError, match=r"nan|inf") as caught:
        gradient(DPO(), models, ready, 2)
    assert caught.value.rows == [3]


def test_a_reward_that_is_not_finite_names_its_episode() -> None:
    """Of two terms, the policy's and the critic's, both of which it spoils."""
    batch = batch_for(PPO())
    rewards = batch.rewards.clone()
    rewards[4, batch.lengths[4] - 1] = math.inf
    models, algorithm = models_for(), PPO(standardise_advantages=False)
    (ready,) = prepared(algorithm, models, [dataclasses.replace(batch, rewards=rewards)], {})
    with pytest.raises(NonFiniteLossError, match=r"nan|inf") as caught:
        gradient(algorithm, models, ready, 3)
    assert caught.value.rows == [4]


def test_what_is_not_finite_behind_the_mask_is_nobodys_fault() -> None:
    batch = tiny.demonstrations([([0, 4, 5], [False, True, False]), ([0, 4], [False, True])])
    values = torch.tensor([[math.nan, -1.0, math.inf], [0.0, -math.inf, math.nan]])
    loss = SFT().loss(Models(policy=tiny.Table(values)), batch)
    assert faulty(loss, batch).tolist() == [False, True]


def test_processes_divide_the_tokens_of_a_batch() -> None:
    """Not its rows: the first of nine has as many tokens as all others."""
    assert cuts(torch.tensor([8, 1, 1, 1, 1, 1, 1, 1, 1]), 2) == [slice(0, 1), slice(1, 9)]
    assert cuts(torch.tensor([8, 1, 1, 1, 1, 1, 1, 1, 1]), 4) == [slice(0, 0), slice(0, 1), slice(1, 5), slice(5, 9)]
    assert cuts(torch.tensor([3, 3, 3, 3, 3]), 2) == [slice(0, 2), slice(2, 5)]
    assert cuts(torch.tensor([5]), 2) == [slice(0, 0), slice(0, 1)]


def test_a_share_has_both_answers_of_its_pairs() -> None:
    """A pair is as long as its two answers together."""
    pairs = [(([0, 4], [False, True]), ([0, 4], [False, True]))] * 4
    long = ([0] + [4] * 7, [False] + [True] * 7)
    batch = tiny.preferences([(long, long), *pairs])
    own = [next(rounds(batch, 1, World(rank, 2), together=False))[0] for rank in range(2)]
    assert [part.rows.tolist() for part in own] == [[0], [1, 2, 3, 4]]
    assert [tokens_of(batch, World(rank, 2)) for rank in range(2)] == [(32, 16), (32, 16)]


def test_the_one_row_of_a_batch_is_the_middle_processs() -> None:
    """Whose tokens are counted where they are learned from."""
    batch = tiny.demonstrations([([0, 4, 5], [False, True, True])])
    own = [list(rounds(batch, 1, World(rank, 3), together=False)) for rank in range(3)]
    assert [len(parts) for parts in own] == [0, 1, 0]
    assert [tokens_of(batch, World(rank, 3))[1] for rank in range(3)] == [0, 3, 0]
    assert tokens_of(batch, World()) == (3, 3)


@pytest.mark.parametrize("rows", range(1, 8))
@pytest.mark.parametrize("pieces", [1, 2, 5])
def test_processes_that_compute_together_make_equally_many_rounds(rows: int, pieces: int) -> None:
    """Each row counts once; what one process lacks is the batch's first row, which does not count."""
    batch = tiny.demonstrations(tiny.random_rows(rows))
    parts = [list(rounds(batch, pieces, World(rank, 3), together=True)) for rank in range(3)]
    assert len({len(own) for own in parts}) == 1
    assert len(parts[0]) <= pieces
    counted = [row for own in parts for part, counts in own if counts for row in part.rows.tolist()]
    assert sorted(counted) == list(range(rows))
    assert all(part.rows.tolist() == [0] for own in parts for part, counts in own if not counts)
    apart = [list(rounds(batch, pieces, World(rank, 3), together=False)) for rank in range(3)]
    assert all(counts for own in apart for _, counts in own)
