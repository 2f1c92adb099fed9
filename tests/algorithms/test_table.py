"""What every method of the table owes the step, the command line and the reader."""

import dataclasses
from pathlib import Path
from typing import Any, get_args

import pytest
import tiny
import torch
from phases import ready, sampled
from tiny_scorers import make_scorer

import burnish
from burnish.algorithms.interface import Algorithm, name_of
from burnish.algorithms.table import CONTROL, LANGUAGE, classes, load, summary_of
from burnish.algorithms.terms import Term
from burnish.batches import Feedback, GroupEpisodes, PreparedPreferences
from burnish.config.build import experience_of
from burnish.functional import aggregate
from burnish.policies.control.network import Head
from burnish.policies.interface import Models
from burnish.policies.language.reference import cached_reference

EVERY = list(dict.fromkeys([*LANGUAGE, *CONTROL]))
LEARNED = {"Completions": "episodes", "Pairs": "pairs", "Bests": "demonstrations"}
LEARNED["TaughtCompletions"] = "episodes"
LEARNED |= dict.fromkeys(("GroupCompletions", "LooseCompletions"), "groups")
"""What a method that samples learns from, by its experience."""


def batch_of(algorithm: type[Algorithm]) -> Any:
    experience = experience_of(algorithm)
    kind = algorithm.data if experience is None else LEARNED[experience.__name__]
    pairs = tiny.preferences(tiny.random_pairs(6, seed=2))
    if kind == "feedback":
        return Feedback(pairs.tokens, pairs.mask, pairs.lengths, pairs.rows, torch.arange(6) % 3 > 0)
    if kind == "pairs":
        return PreparedPreferences(pairs, torch.zeros(pairs.mask.shape))
    if kind == "preferences":
        return pairs
    texts = tiny.demonstrations(tiny.random_rows(6, seed=2))
    if kind == "demonstrations":
        return texts
    numbers = torch.randn(2, *texts.mask.shape, generator=torch.Generator().manual_seed(2)).double()
    rewards, discounts = numbers[0], texts.mask.double()
    if kind == "groups":
        return GroupEpisodes(
            tokens=texts.tokens,
            mask=texts.mask,
            lengths=texts.lengths,
            rows=texts.rows,
            sampler_logprobs=numbers[1],
            old_logprobs=numbers[1],
            ref_logprobs=numbers[0],
            rewards=rewards,
            discounts=discounts,
            limit=torch.tensor(12),
            peers=numbers[0, :2, :3].repeat_interleave(3, 0),
            place=torch.arange(3).repeat(2),
            peers_kl=numbers[1, :2, :3].repeat_interleave(3, 0),
        )
    return sampled(texts.tokens, texts.mask, texts.lengths, texts.rows, numbers[1], rewards, discounts)


def models_of(algorithm: type[Algorithm], batch: Any, cache: Path) -> Models:
    if "scorer" in algorithm.roles:
        return Models(scorer=make_scorer("gpt2"))
    models = Models(policy=tiny.make_policy("gpt2"))
    if "teacher" in algorithm.roles:
        models = models.having(teacher=tiny.make_policy("gpt2", seed=1))
    if "critic" in algorithm.roles:
        models = models.having(critic=make_scorer("gpt2"))
    if "reference" in algorithm.roles:
        models = models.having(reference=cached_reference(models.policy, lambda: [batch], "data", cache))
    return models


@pytest.mark.parametrize("name", LANGUAGE)
def test_each_terms_mask_counts_what_the_step_divides_by(name: str, tmp_path: Path) -> None:
    """Aggregating with the term's own counts or with the batch's gives the same: so parts add up to the whole."""
    cls = load(name)
    algorithm, batch = cls(), batch_of(cls)
    models = models_of(cls, batch, tmp_path)
    prepared = ready(algorithm, models, batch)
    counts = prepared.counts()
    loss = algorithm.loss(models, prepared)
    assert loss.terms
    for term in loss.terms.values():
        assert torch.isfinite(term.losses[term.mask]).all()
        count = counts[term.total or term.over]
        own = aggregate(term.losses, term.mask, over=term.over)
        assert own.item() == pytest.approx(aggregate(term.losses, term.mask, term.over, count).item())
        real = term.mask.sum() if term.over != "sequence" else term.mask.any(-1).sum()
        assert real == count > 0
    for values in loss.metrics.values():
        numbers = values
        if isinstance(values, Term):
            assert values.mask.sum() == counts[values.total or values.over]
            numbers = values.losses
        assert numbers.shape in ((len(batch),), batch.mask.shape)
        assert not numbers.requires_grad


@pytest.mark.parametrize("name", EVERY)
def test_every_entry_is_a_frozen_dataclass_with_help_on_every_field(name: str) -> None:
    algorithm = load(name)()
    assert isinstance(algorithm, Algorithm)
    assert name_of(algorithm) == name_of(load(name)) == name
    assert type(algorithm).__doc__
    for field in dataclasses.fields(algorithm):
        assert field.metadata["help"]
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(algorithm, field.name, None)


@pytest.mark.parametrize("name", EVERY)
def test_facts_are_words_that_the_others_know(name: str) -> None:
    cls = load(name)
    assert cls.data in ("demonstrations", "preferences", "feedback", "prompts")
    assert set(cls.roles) <= {"policy", "critic", "scorer", "reference", "teacher", "target"}
    assert cls.learning_rate > 0
    assert cls.paper
    assert (cls.experience != "") == (cls.data == "prompts")
    assert cls.least_rows == (2 if name == "kto" else 1)
    assert cls.dropout == (name in ("sft", "rejection"))  # nothing of theirs is a ratio to other weights
    if "update_epochs" in {field.name for field in dataclasses.fields(cls)}:
        beside = {"ratio": "token"} if name == "rloo" else {}  # without it one pass is all
        assert cls(update_epochs=3, **beside).passes == 3
    else:
        assert cls().passes == 1


@pytest.mark.parametrize("name", EVERY)
def test_every_method_is_exported(name: str) -> None:
    """`burnish.DPO` and the like follow the table."""
    cls = load(name)
    assert getattr(burnish, cls.__name__) is cls
    assert cls.__name__ in burnish.__all__
    assert classes()[cls.__name__] == cls.__module__


def test_the_facts_that_only_some_have() -> None:
    """As the papers of the methods have them."""

    def having(fact: str) -> list[str]:
        return [name for name in EVERY if getattr(load(name), fact)]

    assert having("rankings") == ["reward"]
    assert having("whole_episodes") == ["reinforce", "reinforce_baseline"]
    assert having("soft_labels") == ["reward", "dpo", "ipo", "simpo", "cpo", "exo", "sppo"]
    assert [name for name in EVERY if load(name)().region()] == ["trpo"]
    assert [name for name in EVERY if "critic" in load(name).roles] == [
        "ppo",
        "reinforce_baseline",
        "actor_critic",
        "trpo",
        "sac",
    ]
    assert having("replays") == ["dqn", "sac"]
    heads = {name: load(name).head for name in EVERY if load(name).head != "distribution"}
    assert heads == {"q_learning": "table", "dqn": "values", "sac": "squashed"}
    assert {load(name).head for name in EVERY} <= set(get_args(Head))
    without = [n for n in LANGUAGE if load(n).data in ("preferences", "feedback") and "reference" not in load(n).roles]
    assert without == ["reward", "orpo", "simpo", "cpo"]


def test_default_learning_rates() -> None:
    """Methods that imitate take large steps; those that compare with the start of training take small ones."""
    rates = {"sft": 2e-5, "rejection": 2e-5, "reward": 1e-5, "orpo": 8e-6, "ppo": 3e-6, "distil": 1e-5}
    assert {name: load(name).learning_rate for name in LANGUAGE} == dict.fromkeys(LANGUAGE, 1e-6) | rates


def test_every_summary_is_one_line() -> None:
    for name, entry in (LANGUAGE | CONTROL).items():
        assert summary_of(name)
        assert "\n" not in entry.summary
    assert LANGUAGE["ppo"].cls == CONTROL["ppo"].cls


def test_every_public_name_is_there_and_nothing_else_is() -> None:
    for name in burnish.__all__:
        assert getattr(burnish, name) is not None
    assert sorted(dir(burnish)) == sorted(burnish.__all__)
    assert len(set(burnish.__all__)) == len(burnish.__all__)
    assert {"Algorithm", "Experience", "Loss", "Models", "Term", "fit", "option", "train"} <= set(burnish.__all__)
    with pytest.raises(AttributeError, match="module 'burnish' has no attribute 'no_such_name'"):
        _ = burnish.no_such_name


def test_a_method_elsewhere_is_found_by_its_path() -> None:
    assert load("burnish.algorithms.dpo:DPO") is load("dpo")
    with pytest.raises(KeyError):
        load("nothing")
    with pytest.raises(AttributeError):
        load("burnish.algorithms.dpo:Nothing")
    assert summary_of("dpo") == LANGUAGE["dpo"].summary
    assert summary_of("mine:Own") == "mine:Own"
