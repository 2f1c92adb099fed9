"""The models of a run: named parts with roles, trained or not, there or missing; and who keeps which protocol."""

import copy
from contextlib import AbstractContextManager, nullcontext

import pytest
import tiny
from loop_pieces import Foreign
from tiny_scorers import make_scorer

from burnish.policies.interface import (
    ROLES,
    Critic,
    Distribution,
    Models,
    Part,
    Policy,
    Sampled,
    Sampler,
    Scorer,
)
from burnish.policies.language.sampler import PolicySampler


def test_a_part_is_an_attribute_and_its_role_is_its_name() -> None:
    policy, critic = object(), object()
    models = Models(policy=policy, critic=critic)
    assert models.policy is policy
    assert models.critic is critic
    assert [(name, part.role) for name, part in models.parts.items()] == [("policy", "policy"), ("critic", "critic")]
    assert "critic" in models
    assert "reference" not in models
    assert "parts" not in models


def test_two_parts_may_have_one_role() -> None:
    one, other = object(), object()
    models = Models(critic_1=Part("critic", one), critic_2=Part("critic", other))
    assert (models.critic_1, models.critic_2) == (one, other)
    assert models.trained() == {"critic_1": one, "critic_2": other}
    assert "critic" not in models
    with pytest.raises(LookupError, match="have no critic: their parts are critic_1, critic_2"):
        _ = models.critic


def test_the_optimizer_updates_what_has_a_trained_role() -> None:
    """A policy, critics and a reward model learn; what they are compared with or imitate does not."""
    assert list(Models(**{role: role for role in ROLES}).trained()) == ["policy", "critic", "scorer", "temperature"]
    copied = Models(policy="p", slow=Part("target", "t"))
    assert copied.trained() == {"policy": "p"}
    assert copied.slow == "t"


class Parts:
    """A model whose weights are divided, or not."""

    def __init__(self, divided: bool) -> None:
        self.divided = divided

    def gathered(self) -> AbstractContextManager[None]:
        return nullcontext()


def test_processes_compute_together_where_a_model_that_is_not_trained_is_divided() -> None:
    whole, parts = Parts(False), Parts(True)
    assert Models(policy=whole, teacher=parts).together
    assert not Models(policy=parts, teacher=whole).together
    assert not Models(policy=parts, reference="a table").together


def test_a_part_without_a_role_is_refused() -> None:
    with pytest.raises(ValueError, match=r"the part judge has no role: give Part\(role, model\) with one of policy, "):
        Models(policy=1, judge=2)
    with pytest.raises(ValueError, match="the part judge has no role"):
        Models(judge=Part("judge", 2))
    with pytest.raises(ValueError, match="the part judge has no role"):
        Models(policy=1).having(judge=2)


def test_a_missing_part_is_named_with_those_that_there_are() -> None:
    """Not an AttributeError, which `hasattr` and `getattr` with a default would hide."""
    with pytest.raises(LookupError, match="these models have no reference: their parts are policy, critic"):
        _ = Models(policy=1, critic=2).reference
    with pytest.raises(LookupError, match="these models have no policy: their parts are none"):
        _ = Models().policy
    with pytest.raises(LookupError):
        hasattr(Models(policy=1), "critic")


def test_having_adds_and_replaces_and_leaves_the_models_as_they_were() -> None:
    models = Models(policy="p", second=Part("critic", "c"))
    more = models.having(policy="q", reference="r")
    assert (more.policy, more.second, more.reference) == ("q", "c", "r")
    assert more.trained() == {"policy": "q", "second": "c"}
    assert models.policy == "p"
    assert "reference" not in models


def test_the_main_model_is_the_policy_or_else_the_reward_model() -> None:
    assert Models(scorer="s", policy="p").main == "p"
    assert Models(scorer="s").main == "s"
    with pytest.raises(LookupError, match="have no scorer"):
        _ = Models(critic="c").main


def test_models_can_be_copied() -> None:
    models = Models(policy=[1])
    shallow, deep = copy.copy(models), copy.deepcopy(models)
    assert shallow.policy is models.policy
    assert deep.policy == [1]
    assert deep.policy is not models.policy


# Protocols ---------------------------------------------------------------------------------------------------------


def test_policies_and_scorers_are_what_algorithms_ask_for() -> None:
    policy, scorer = tiny.make_policy(), make_scorer()
    assert isinstance(policy, Policy)
    assert isinstance(scorer, Scorer)
    assert isinstance(scorer, Critic)
    assert not isinstance(scorer, Distribution)
    assert not isinstance(policy, Scorer)


def test_a_sampler_of_ones_own_is_a_sampler() -> None:
    policy = tiny.make_policy()
    assert isinstance(PolicySampler(policy), Sampler)
    assert isinstance(Foreign(policy), Sampler)
    assert not isinstance(policy, Sampler)


def test_what_was_sampled_has_version_0_unless_the_sampler_says_so() -> None:
    assert Sampled([[1]], [[-0.5]], [True]).version == 0
