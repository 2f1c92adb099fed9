"""The benchmark of control: that both sides are given the same, and that steps are counted alike."""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from burnish.algorithms.table import CONTROL
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.recipes.control.group import RunGroup, run_group
from burnish.run import RunFolder, UserError

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import control
import control_options
from control_options import HIDDEN, OPTIONS, PEERS, Plan, Share, arguments, ours, peer_class, planned, theirs

NAMES = list(PEERS)

# Of https://github.com/DLR-RM/rl-baselines3-zoo, hyperparams/{ppo,a2c,trpo}.yml, CartPole-v1, with the peers' defaults.
WRITTEN = {
    "ppo": {
        "n_steps": 32,
        "batch_size": 256,
        "n_epochs": 20,
        "gamma": 0.98,
        "gae_lambda": 0.8,
        "learning_rate": 0.001,
        "clip_range": 0.2,
        "clip_range_vf": None,
        "normalize_advantage": True,
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
    },
    "actor_critic": {
        "n_steps": 5,
        "gamma": 0.99,
        "gae_lambda": 1.0,
        "learning_rate": 0.0007,
        "normalize_advantage": False,
        "ent_coef": 0.0,
        "vf_coef": 0.5,
        "max_grad_norm": 0.5,
        "use_rms_prop": False,
    },
    "trpo": {
        "n_steps": 512,
        "batch_size": 512,
        "gamma": 0.99,
        "gae_lambda": 0.98,
        "learning_rate": 0.001,
        "n_critic_updates": 20,
        "target_kl": 0.01,
        "cg_max_steps": 15,
        "cg_damping": 0.001,
        "line_search_shrinking_factor": 0.8,
        "line_search_max_iter": 10,
        "normalize_advantage": True,
    },
}


# The hyperparameters -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_peer_is_given_what_is_written_down_for_it(name: str) -> None:
    given = theirs(name)
    network = given.pop("policy_kwargs")
    assert given == WRITTEN[name]
    assert network["net_arch"] == {"pi": [64, 64], "vf": [64, 64]}
    assert network["activation_fn"].__name__ == "Tanh"
    assert network["optimizer_class"].__name__ == "Adam"
    assert network["optimizer_kwargs"] == {"eps": 1e-5}


@pytest.mark.parametrize("name", NAMES)
def test_ours_is_given_what_is_written_down_for_the_peer(name: str) -> None:
    """Read off the objects that learn, by the words of DESIGN.md, and not by the translation."""
    method, peer = ours(name), WRITTEN[name]
    assert method.control.rollout == peer["n_steps"]
    assert method.control.copies == {"ppo": 8, "actor_critic": 8, "trpo": 2}[name]
    assert method.control.gamma == peer["gamma"]
    assert not method.control.normalise_observations
    assert not method.control.normalise_rewards
    assert method.algorithm.lambda_ == peer["gae_lambda"]
    assert method.algorithm.standardise_advantages is peer["normalize_advantage"]
    assert (method.steps.learning_rate, method.steps.schedule) == (peer["learning_rate"], "constant")
    assert method.steps.adam_eps == 1e-5
    assert method.steps.max_grad_norm == peer.get("max_grad_norm", 0.0)
    assert method.steps.batch_size == peer.get("batch_size")
    if name != "trpo":
        assert 0.5 * method.algorithm.value_weight == peer["vf_coef"]  # half a squared error, against a whole one
        assert method.algorithm.entropy_weight == peer["ent_coef"]


def test_ppo_and_trpo_search_alike() -> None:
    ppo, trpo = ours("ppo").algorithm, ours("trpo").algorithm
    assert (ppo.clip, ppo.value_clip, ppo.update_epochs) == (0.2, None, 20)
    assert (ppo.stop_kl, ppo.kl_penalty, ppo.over) == (None, None, "token")
    assert (trpo.max_kl, trpo.cg_iterations, trpo.damping) == (0.01, 15, 0.001)
    assert (trpo.shrink, trpo.search_steps, trpo.update_epochs) == (0.8, 10, 20)


@pytest.mark.parametrize(
    ("name", "key", "value"),
    [
        ("ppo", "stop_kl", 0.02),
        ("ppo", "schedule", "linear"),
        ("ppo", "kl_penalty", 0.1),
        ("actor_critic", "normalise_rewards", True),
        ("trpo", "max_grad_norm", 0.5),
    ],
)
def test_what_a_peer_has_no_word_for_is_refused(
    name: str, key: str, value: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(OPTIONS, name, OPTIONS[name] | {key: value})
    with pytest.raises(UserError, match=f"nothing like {key}"):
        theirs(name)


@pytest.mark.parametrize("name", NAMES)
def test_no_field_of_a_method_is_left_to_a_default(name: str) -> None:
    """A default that changes would else change what is measured; the exceptions are at rest on both sides."""
    method = ours(name)
    fields = {f.name for part in (method.algorithm, method.control, method.steps) for f in dataclasses.fields(part)}
    assert fields - set(OPTIONS[name]) <= set(control_options.WITHOUT_PEER)


SHAPES = {
    "layers.0.weight": (64, 4),
    "layers.0.bias": (64,),
    "layers.1.weight": (64, 64),
    "layers.1.bias": (64,),
    "layers.2.weight": (2, 64),
    "layers.2.bias": (2,),
}


def test_our_networks_have_the_shapes_that_are_written_down() -> None:
    policy, critic = ControlPolicy(4, 2, [0], hidden=HIDDEN), ControlCritic(4, [0], hidden=HIDDEN)
    assert {name: tuple(x.shape[1:]) for name, x in policy.named().items()} == SHAPES
    values = SHAPES | {"layers.2.weight": (1, 64), "layers.2.bias": (1,)}
    assert {name: tuple(x.shape[1:]) for name, x in critic.named().items()} == values


@pytest.mark.parametrize("name", NAMES)
def test_the_peer_itself_has_those_hyperparameters_and_shapes(name: str) -> None:
    pytest.importorskip(PEERS[name][0])
    from stable_baselines3.common.env_util import make_vec_env

    model = peer_class(name)("MlpPolicy", make_vec_env("CartPole-v1", n_envs=1), device="cpu", **theirs(name))
    for key, value in WRITTEN[name].items():
        if key in ("clip_range", "clip_range_vf"):
            assert (value if value is None else getattr(model, key)(1.0)) == value
        elif key != "use_rms_prop":
            assert getattr(model, key) == value
    shapes = sorted(tuple(x.shape) for x in model.policy.parameters())
    assert shapes == sorted([*SHAPES.values(), *list(SHAPES.values())[:4], (1, 64), (1,)])
    (group,) = model.policy.optimizer.param_groups
    assert (type(model.policy.optimizer).__name__, group["eps"]) == ("Adam", 1e-5)


# How much of it ------------------------------------------------------------------------------------------------------


def test_the_plan_without_arguments() -> None:
    plan = planned(arguments([]))
    assert plan == Plan(("ppo", "actor_critic", "trpo"), runs=20, processes=2, rounds=3, steps=10240)


def test_the_full_plan_is_bounded_by_episodes_alone() -> None:
    plan = planned(arguments(["--full", "--algorithms", "trpo, ppo"]))
    assert plan == Plan(("trpo", "ppo"), runs=20, processes=2, rounds=1, steps=None)
    assert planned(arguments(["--full", "--rounds", "2"])).rounds == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--algorithms", "reinforce"], "no peer has 'reinforce'"),
        (["--rounds", "0"], "--rounds must be at least 1, not 0"),
        (["--steps", "-5"], "--steps must be at least 1, not -5"),
        (["--processes", "0"], "--processes must be at least 1"),
        (["--runs", "1"], "--runs must be at least the 2 processes, not 1"),
    ],
)
def test_a_plan_amiss_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        planned(arguments(words))


def test_peers_that_are_absent_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(PEERS, "ppo", ("no_such_peer", "PPO"))
    with pytest.raises(UserError, match=r"no_such_peer.* not installed: use make bench-control"):
        control.main(["--out", str(tmp_path / "control.json")])
    assert not list(tmp_path.iterdir())


def test_runs_are_spread_evenly_and_steps_made_up_to_whole_rollouts() -> None:
    """8 · 32 = 256, 8 · 5 = 40 and 2 · 512 = 1,024 steps a rollout."""
    plan = Plan(("ppo",), runs=5, processes=2, rounds=1, steps=1000)
    assert plan.shares("ppo") == [Share("ppo", 0, 1, 1024), Share("ppo", 2, 4, 1024)]
    assert [plan.shares(name)[0].steps for name in ("actor_critic", "trpo")] == [1000, 1024]
    assert [Share(name, 0, 0, None).rollout for name in NAMES] == [256, 40, 1024]
    assert dataclasses.replace(plan, steps=None).shares("ppo")[1] == Share("ppo", 2, 4, None)


# What is counted -----------------------------------------------------------------------------------------------------


def test_the_rollout_of_the_last_episode_is_not_learned_from() -> None:
    """Of 600 steps in rollouts of 256, two rollouts; of 512, the second is the one that the run ends in."""
    assert [control.learned(made, 256) for made in (1, 256, 257, 512, 513, 600)] == [0, 0, 256, 256, 512, 512]


def test_a_bounded_share_learns_from_just_so_many_rollouts(tmp_path: Path) -> None:
    """20 rollouts of 8 · 5 steps. Metrics come with the first and every 20th update: that of update 20 is the last."""
    group = RunGroup(ours("actor_critic"), "CartPole-v1", {}, HIDDEN, control.NEVER, 0, 0, 1)
    with RunFolder.open(tmp_path / "run") as run:
        assert control.bounded(group, run, 20) == 2 * 800
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [(line["step"], line["env_steps"], line["runs"]) for line in lines] == [(1, 40.0, 2.0), (20, 800.0, 2.0)]


def test_the_steps_of_a_bounded_share_are_those_of_all_its_runs() -> None:
    found = control.learn_ours(Share("actor_critic", 3, 5, 80))
    assert found.steps == 3 * 80
    assert found.cpu > 0
    assert found.began < found.ended


def test_a_full_share_counts_what_its_runs_learned_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three episodes a run; by brute force, whole rollouts of 40 for as long as one more does not reach the end."""
    monkeypatch.setattr(control, "EPISODES", 3)
    found = control.learn_ours(Share("actor_critic", 0, 1, None, seed=4))
    run_group(
        RunGroup(ours("actor_critic"), "CartPole-v1", {}, HIDDEN, 3, 4, 0, 1), tmp_path / "run", lambda ended: None
    )
    episodes, expected = pd.read_parquet(tmp_path / "run" / "returns.parquet"), 0
    for _, own in episodes.groupby("run"):
        learned = 0
        while learned + 40 < own.steps.max():
            learned += 40
        expected += learned
    assert found.steps == expected > 0


def test_a_peer_makes_as_many_steps() -> None:
    pytest.importorskip("stable_baselines3")
    assert control.learn_theirs(Share("actor_critic", 0, 1, 80)).steps == 160


# What is written down ------------------------------------------------------------------------------------------------


def test_a_row_by_hand() -> None:
    """Medians 30 of (10, 30, 50) and 6 of (6, 5, 9): a ratio of 5, though the median of the rounds' ratios is 50/9."""
    rates = {"burnish": [(10.0, 8.0), (30.0, 20.0), (50.0, 40.0)], "peer": [(6.0, 2.0), (5.0, 2.0), (9.0, 3.0)]}
    row = control.row("trpo", rates)
    assert (row["burnish_steps_per_second"], row["peer_steps_per_second"], row["ratio"]) == (30.0, 6.0, 5.0)
    assert (row["ratio_of_core_seconds"], row["reach"], row["peer"]) == (10.0, 8.0, "sb3_contrib.TRPO")
    assert row["rounds"][2] == {
        "burnish_steps_per_second": 50.0,
        "burnish_steps_per_core_second": 40.0,
        "peer_steps_per_second": 9.0,
        "peer_steps_per_core_second": 3.0,
    }
    assert row["peer_options"]["policy_kwargs"]["activation_fn"] == "Tanh"
    assert json.loads(json.dumps(row)) == row
    assert set(row["burnish_options"]) >= {"cg_iterations", "damping", "copies", "learning_rate"}


def test_every_peer_has_a_ratio_to_reach() -> None:
    assert set(control.FAST) == set(PEERS) == set(OPTIONS)
    assert set(PEERS) < set(CONTROL)
