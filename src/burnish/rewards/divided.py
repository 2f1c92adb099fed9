"""Rewards in several processes: reward models score a share of the completions in each, all others in the main one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, cast

from burnish.rewards.completed import BadRewardError, Completed, Reward, checked_scores
from burnish.rewards.ensemble import Ensemble
from burnish.rewards.model import ModelReward
from burnish.rewards.weighted import Weighted
from burnish.run import UserError
from burnish.run.user_code import described
from burnish.run.world import World


def divided(reward: Reward, world: World) -> Reward:
    """The reward as the processes of the `world` compute it together: all get the same scores, or the same error.

    What is not a model may count its calls or write a file, so it is called once, with all completions.
    """
    if world.size == 1:
        return reward
    if isinstance(reward, Ensemble | Weighted):
        return replace(reward, members=tuple(divided(member, world) for member in reward.members))
    return OfEach(reward, world) if isinstance(reward, ModelReward) else OfMain(reward, world)


@dataclass(frozen=True)
class OfMain:
    """A reward that the main process calls; the others get its scores."""

    reward: Reward
    world: World

    @property
    def name(self) -> str:
        return self.reward.name

    def __call__(self, completed: Completed) -> Sequence[float]:
        return self.world.from_main(lambda: checked_scores(self.reward, completed))


@dataclass(frozen=True)
class OfEach:
    """A reward model that scores in each process its share of the completions."""

    reward: ModelReward
    world: World

    @property
    def name(self) -> str:
        return self.reward.name

    def __call__(self, completed: Completed) -> Sequence[float]:
        scorer, found = self.reward.scorer, cast(Any, [])
        if scorer.divided:
            self.reward.check(completed)  # one that fails alone would leave the others waiting
        own = completed.select(range(len(completed))[self.world.bounds(len(completed))])
        try:
            if len(own):
                found = self.reward(own)
            elif scorer.divided and len(completed):
                self.reward(completed.select([0]))  # which does not count
        except UserError as error:  # told to all, so that none waits for scores
            found = error
        except Exception as error:
            found = BadRewardError(f"the reward model {self.name} failed ({described(error)})", own.rows)
        parts = self.world.gather(found)
        for part in parts:
            if isinstance(part, UserError):
                raise part
        return list(chain.from_iterable(parts))
