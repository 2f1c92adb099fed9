"""CartPole with a fixed length of 200 steps, so that the end of an episode carries no information.

Importing this module registers `burnish/FixedCartPole-v1`.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

FIXED_CARTPOLE = "burnish/FixedCartPole-v1"
STEPS = 200


class FixedCartPole(gymnasium.Env):
    """CartPole whose episodes continue after the fall. A step earns 1 if it began with the pole up, else 0.

    After the fall the observation no longer changes. If the mechanics continued, a pole swinging round could come up
    again and look as if it had never fallen; this way the reward is a function of the observation that the step began
    with. As in CartPole, the step of the fall still earns 1, so that an episode's return is the length of the same
    episode of CartPole-v1, up to 200. There is no termination.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(self) -> None:
        self._poles = CartPoleEnv()
        self.observation_space, self.action_space = self._poles.observation_space, self._poles.action_space
        self._shown, self._fallen = np.zeros(4, np.float32), False

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start a new episode."""
        self._shown, _ = self._poles.reset(seed=seed, options=options)
        self._fallen = False
        return self._shown, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Push the cart; no effect after the pole has fallen or the cart has left the track."""
        if self._fallen:
            return self._shown, 0.0, False, False, {}
        self._shown, _, self._fallen, _, _ = self._poles.step(action)
        return self._shown, 1.0, False, False, {}


if FIXED_CARTPOLE not in gymnasium.registry:
    gymnasium.register(FIXED_CARTPOLE, f"{__name__}:{FixedCartPole.__name__}", max_episode_steps=STEPS)
