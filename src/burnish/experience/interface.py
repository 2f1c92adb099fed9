"""What an experience is: a frozen dataclass of options that draws the batches of an online method.

Write one outside Burnish by subclassing `Experience`, and pass it to `burnish.train(..., experience=Mine())`, or name
it in an algorithm's `experience` as "module:Class".
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from burnish.batches import Drawn
from burnish.options import check
from burnish.policies.interface import Divisible, Models, Wanted
from burnish.run import UserError
from burnish.run.world import ALONE, World


def silent(sentence: str) -> None:
    """Say nothing."""


@dataclass(frozen=True)
class Source:
    """What an experience draws from: the run's models, a sampler of the policy, prompts, a reward, and the seed.

    `sampler` and `reward` are None for an experience that does not ask for them. `say` shows a sentence to the
    user, the same one only once. `environment` makes what answers in dialogues, and `texts` are the demonstrations that
    the experience names; both are None where there are none. In each process of the `world` the sampler gives all
    completions, of which it draws a share.
    """

    models: Models
    prompts: Any
    sampler: Any = None
    reward: Any = None
    seed: int = 0
    say: Callable[[str], None] = silent
    environment: Any = None
    texts: Any = None
    world: World = ALONE

    def logprobs(self, model: Any, batch: Any) -> Any:
        """A model's log-probabilities of a batch, of which each process computes its share."""
        return self.world.by_rows(model.logprobs, batch, isinstance(model, Divisible) and model.divided)


class Experience:
    """The base of every experience. Only `draw` has to be written; `evaluate` where there is evaluation data.

    Subclasses are frozen dataclasses whose fields are options (`burnish.options.option`), on the command line too.
    """

    rollout: int | None = None
    """Prompts per rollout."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def needs(self) -> tuple[str, ...]:
        """What it uses beside the policy: "reference", "reward"."""
        return ()

    @property
    def rows_per_prompt(self) -> int:
        """Rows of the drawn batch per prompt."""
        return 1

    @property
    def temperature(self) -> float:
        """What the policy's logits are divided by, in sampling and in training."""
        return 1.0

    @property
    def teacher_model(self) -> str | None:
        """The model that a teacher is, where the method has one."""
        return None

    @property
    def room(self) -> int:
        """Tokens that a prompt has to leave free within `max_length`."""
        return 0

    @property
    def texts(self) -> str | None:
        """Data of demonstrations that it draws beside the prompts' completions, by the name that `--data` takes."""
        return None

    @property
    def critic_model(self) -> str | None:
        """The model that a critic starts from; None: the reward model, or else the policy."""
        return None

    @property
    def evaluates(self) -> bool:
        """Whether it has an `evaluate` of its own."""
        return type(self).evaluate is not Experience.evaluate

    @property
    def watches(self) -> bool:
        """Whether its completions of held-out prompts can be watched, see `burnish.evaluation.monitor`."""
        return False

    def problems(self, method: str, settings: Any) -> dict[str, bool]:
        """Sentences about combinations with the run's settings that make no sense, and whether they apply."""
        return {}

    def filled(self, settings: Any) -> "Experience":
        """The experience with the defaults that depend on the run's settings."""
        return self

    def ahead(self, source: Any, number: int) -> Wanted | None:
        """What rollout `number` asks the sampler for first, as a function of the number and the seed alone, so that it
        may be drawn before it is needed; None: that is not known so early."""
        return None

    def draw(self, source: Any, number: int, carried: dict[str, float]) -> Drawn | None:
        """Rollout `number` (from 0) with the policy as it is now; None when there is nothing more to draw.

        It may depend on `number`, the seed and `carried`, the `state` of the last rollout, and on nothing else that a
        resumed run would not have.
        """
        raise NotImplementedError(f"{type(self).__name__} has no draw")

    def evaluate(self, source: Any, count: int) -> dict[str, float]:
        """Metrics on the first `count` held-out prompts, with a `loss` among them (lower is better)."""
        raise NotImplementedError(f"{type(self).__name__} has no evaluate")


def draws(
    experience: Experience, source: Any, number: int = 0, carried: dict[str, float] | None = None
) -> Iterator[Drawn]:
    """Rollouts from `number` on, each drawn when asked for."""
    carried = carried or {}
    while (drawn := experience.draw(source, number, carried)) is not None:
        yield drawn
        number, carried = number + 1, drawn.state


class RolloutError(UserError):
    """A reward failed; `rollout` is what was sampled, one record per completion."""

    def __init__(self, sentence: str, rollout: list[dict[str, Any]]) -> None:
        super().__init__(sentence)
        self.rollout = rollout

    def __reduce__(self) -> Any:
        """As it is sent to another process."""
        return RolloutError, (str(self), self.rollout)
