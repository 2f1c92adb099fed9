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
TABLE = {
    "learning_rate": 0.5,
    "visit_decay": 0.5,
    "exploration_fraction": 0.5,
    "exploration_final_eps": 0.05,
}
ADAM = {"adam_eps": 1e-8}  # torch's, which Stable-Baselines3 takes for both
DQN = {
    **ADAM,
    "learning_rate": 1e-4,
    "batch_size": 32,
    "train_freq": 4,
    "max_grad_norm": 10.0,
}
SAC = {**ADAM, "learning_rate": 3e-4, "batch_size": 256, "max_grad_norm": 0.0}
OFF_POLICY: dict[str, dict[str, Any]] = {"q_learning": TABLE, "dqn": DQN, "sac": SAC}
CARTPOLE_DQN = {
    **DQN,
    "learning_rate": 2.3e-3,
    "batch_size": 64,
    "buffer_size": 100_000,
    "learning_starts": 1000,
    "train_freq": 256,
    "gradient_steps": 128,
    "target_update_interval": 128,
    "exploration_fraction": 0.16,
    "exploration_final_eps": 0.04,
}  # RL-Zoo's, whose target network is copied after every 256 steps

PRESETS: dict[str, dict[str, dict[str, Any]]] = {
    "CartPole-v1": {
        "reinforce": {**WHOLE, "learning_rate": 3e-3},
        "reinforce_baseline": {**WHOLE, "learning_rate": 1e-2},
        "actor_critic": {"copies": 2, "rollout": 32, "learning_rate": 5e-3, "schedule": "linear"},
        "trpo": TRPO,
        "ppo": PPO,
        **OFF_POLICY,
        "dqn": CARTPOLE_DQN,
    },
    "Acrobot-v1": {
        "reinforce": {**WHOLE, **SCALED, "learning_rate": 3e-3},
        "reinforce_baseline": {**WHOLE, **SCALED, "learning_rate": 3e-3},
        "actor_critic": {**SCALED, "copies": 8, "rollout": 8, "learning_rate": 3e-3, "schedule": "linear"},
        "trpo": {**TRPO, **SCALED},
        "ppo": {**PPO, **SCALED},
        **OFF_POLICY,
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
        **OFF_POLICY,
        "sac": {**SAC, "learning_rate": 1e-3},  # RL-Zoo's
    },
}
"""By environment and algorithm. Other environments use those of CartPole-v1."""
