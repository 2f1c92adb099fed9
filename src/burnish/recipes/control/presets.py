"""Hyperparameters of the classical path per environment; docs/classic.md says how they were chosen."""

from typing import Any

WHOLE = {"copies": 1, "rollout": None, "schedule": "linear"}
SCALED = {"normalise_rewards": True}  # returns are hundreds below 0, too far for a critic to reach in time
NEAR = {**SCALED, "gamma": 0.9}  # the effect of an action shows within ten or twenty steps
TRPO = {"copies": 2, "rollout": 256, "max_kl": 0.02, "learning_rate": 3e-3, "batch_size": 128}
PPO = {
    "copies": 8,
    "rollout": 32,
    "update_epochs": 10,
    "stop_kl": 0.03,
    "value_weight": 1.0,
    "value_clip": None,
    "learning_rate": 3e-3,
    "schedule": "linear",
    "batch_size": 64,
}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "CartPole-v1": {
        "reinforce": {**WHOLE, "learning_rate": 3e-3},
        "reinforce_baseline": {**WHOLE, "learning_rate": 1e-2},
        "actor_critic": {"copies": 2, "rollout": 32, "learning_rate": 5e-3, "schedule": "linear"},
        "trpo": TRPO,
        "ppo": PPO,
    },
    "Acrobot-v1": {
        "reinforce": {**WHOLE, **SCALED, "learning_rate": 3e-3},
        "reinforce_baseline": {**WHOLE, **SCALED, "learning_rate": 3e-3},
        "actor_critic": {**SCALED, "copies": 8, "rollout": 8, "learning_rate": 3e-3, "schedule": "linear"},
        "trpo": {**TRPO, **SCALED},
        "ppo": {**PPO, **SCALED},
    },
    "Pendulum-v1": {
        "reinforce": {**WHOLE, **NEAR, "learning_rate": 1e-3},
        "reinforce_baseline": {**WHOLE, **NEAR, "learning_rate": 1e-3},
        "actor_critic": {
            **NEAR,
            "copies": 8,
            "rollout": 8,
            "lambda_": 0.9,
            "learning_rate": 1e-3,
            "schedule": "linear",
        },
        "trpo": {**TRPO, **NEAR, "rollout": 512, "learning_rate": 1e-2},
        "ppo": {**PPO, **NEAR, "copies": 4, "rollout": 256, "learning_rate": 1e-3},
    },
}
"""By environment and algorithm. Other environments use those of CartPole-v1."""
