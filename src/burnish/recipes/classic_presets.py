"""Hyperparameters of the classical path on the environments that they were chosen for; docs/classic.md says how."""

from typing import Any

WHOLE = {"copies": 1, "rollout": None, "schedule": "linear"}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "CartPole-v1": {
        "reinforce": {**WHOLE, "learning_rate": 3e-3},
        "reinforce_baseline": {**WHOLE, "learning_rate": 1e-2},
        "actor_critic": {"copies": 4, "rollout": 8, "learning_rate": 3e-3, "schedule": "linear"},
        "trpo": {
            "copies": 2,
            "rollout": 256,
            "max_kl": 0.02,
            "learning_rate": 3e-3,
            "batch_size": 128,
        },
        "ppo": {
            "copies": 8,
            "rollout": 32,
            "update_epochs": 10,
            "stop_kl": 0.03,
            "value_weight": 1.0,
            "value_clip": None,
            "learning_rate": 3e-3,
            "schedule": "linear",
            "batch_size": 64,
        },
    },
}
"""By environment and algorithm. Other environments have those of CartPole-v1."""
