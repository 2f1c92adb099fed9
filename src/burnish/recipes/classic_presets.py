"""Hyperparameters of the classical path on the environments that they were chosen for; see docs/classic.md."""

from typing import Any

WHOLE = {"copies": 1, "rollout": None}

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "CartPole-v1": {
        "reinforce": {**WHOLE, "gamma": 0.99, "learning_rate": 1e-3},
        "reinforce_baseline": {**WHOLE, "gamma": 0.99, "learning_rate": 1e-3},
        "actor_critic": {"copies": 8, "rollout": 5, "gamma": 0.99, "learning_rate": 1e-3},
        "trpo": {"copies": 2, "rollout": 512, "gamma": 0.99, "lambda_": 0.98, "learning_rate": 1e-3, "batch_size": 128},
        "ppo": {
            "copies": 8,
            "rollout": 32,
            "gamma": 0.98,
            "lambda_": 0.8,
            "update_epochs": 10,
            "batch_size": 256,
            "learning_rate": 1e-3,
            "value_weight": 1.0,
            "value_clip": None,
        },
    },
}
"""By environment and algorithm. Other environments have those of CartPole-v1."""
