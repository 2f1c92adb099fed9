"""What an algorithm is: a frozen dataclass of hyperparameters, with its facts beside them and a loss.

The loop, the learners, evaluation and the command line know nothing else about a method, and none of its
hyperparameters by name. Write one outside Burnish like this:

    @dataclass(frozen=True)
    class Mine(burnish.Algorithm):
        name = "mine"
        data = "demonstrations"
        weight: float = burnish.option(1.0, "weight of the loss", gt=0)

        def loss(self, models, batch):
            return Loss({"nll": Term(-models.policy.logprobs(batch), batch.mask, weight=self.weight)})
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from burnish.algorithms.terms import Loss
from burnish.options import check
from burnish.policies.interface import Models

Statistics = dict[str, Any]
"""What is known about a whole batch, by name: values that add up over its parts with `+`."""


class Algorithm:
    """The base of every method: facts as class constants, two phases of preparation, a loss, and hooks.

    Only `loss` has to be written. Subclasses are frozen dataclasses; their fields are hyperparameters, made with
    `burnish.options.option`, and a value outside its range raises ValueError when the object is made.
    """

    name: ClassVar[str] = ""
    """The name in configuration files, on the command line and in reports; default: the class's import path."""
    data: ClassVar[str] = "demonstrations"
    """The rows that it reads: "demonstrations", "preferences", "feedback" or "prompts"."""
    roles: ClassVar[tuple[str, ...]] = ("policy",)
    """The models that it uses: "policy", "critic", "scorer", "reference", "teacher", "target", "temperature"."""
    experience: ClassVar[str] = ""
    """The experience that its batches come from, as "module:Class"; empty where it learns from the rows themselves."""
    learning_rate: ClassVar[float] = 1e-6
    """The default peak learning rate."""
    dropout: ClassVar[bool] = False
    """Whether dropout may be on during updates; not where a ratio or a reference matters."""
    least_rows: ClassVar[int] = 1
    """The fewest rows of a batch from which it can estimate what it needs."""
    soft_labels: ClassVar[bool] = False
    """Whether its formula uses confidences, labels that are less than certain."""
    rankings: ClassVar[bool] = False
    """Whether it learns from rows that rank more than two responses."""
    whole_episodes: ClassVar[bool] = False
    """Whether a rollout in control consists of whole episodes rather than of a number of steps."""
    prepares_alone: ClassVar[bool] = False
    """Whether `statistics` and `prepare` call no model that is trained, so that these need not be whole for them."""
    head: ClassVar[str] = "distribution"
    """What its policy's outputs are in control, see `burnish.policies.control.network.Head`."""
    activation: ClassVar[Literal["tanh", "relu"]] = "tanh"
    """What the hidden layers of its networks in control end with, where its head is "values" or "squashed"."""
    replays: ClassVar[bool] = False
    """Whether updates in control are on steps drawn from all that the run has made, and not on the last rollout."""
    follows: ClassVar[dict[str, str]] = {}
    """Copies of trained models in control that follow them: the part of the model, by that of its copy."""
    presets: ClassVar[dict[str, dict[str, Any]]] = {}
    """Names for combinations of options, its experience's included: what `--preset NAME` stands for."""
    paper: ClassVar[str] = ""
    """Author and year of the method's paper, for the README's table."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def passes(self) -> int:
        """Passes over each drawn batch, with new minibatches in each."""
        return 1

    @property
    def needs(self) -> tuple[str, ...]:
        """The models that its hyperparameters ask for beside its roles: "reference" where a coefficient uses one."""
        return ()

    def problems(self, experience: Any) -> dict[str, bool]:
        """Sentences about combinations with its experience that make no sense, and whether they apply."""
        return {}

    def statistics(self, models: Models, part: Any) -> Statistics:
        """What the whole batch has to know about one part; the sums over all parts go to `prepare`. No gradient."""
        return {}

    def prepare(self, models: Models, part: Any, statistics: Statistics) -> Any:
        """A part of a batch with everything that updates keep fixed. No gradient.

        `statistics` are those of the whole batch, and what `conclude` returned after the last rollout.
        """
        return part

    def loss(self, models: Models, batch: Any) -> Loss:
        """The terms to minimise, before any mean: the step divides by the counts of the whole batch."""
        raise NotImplementedError(f"{type(self).__name__} has no loss")

    def stops(self, metrics: dict[str, Any]) -> bool | Tensor:
        """Whether to skip this update and the rest of the rollout, by the metrics of its minibatch; one per run."""
        return False

    @property
    def watches(self) -> tuple[str, ...] | None:
        """The metrics that `stops` reads; None: it may read any.

        Of a language model's metrics, these and the loss leave the device in every update, the others when they are
        logged.
        """
        return () if type(self).stops is Algorithm.stops else None

    def conclude(self, final_metrics: Callable[[], dict[str, Tensor]], carried: dict[str, Any]) -> dict[str, Any]:
        """Numbers to carry to the next rollout's `prepare`, such as a coefficient that adapts.

        `final_metrics()` computes the whole prepared batch's metrics after its updates; `carried` are the numbers now.
        """
        return carried

    def explores(self, progress: Any) -> Any:
        """The share of actions in control that are drawn uniformly and not by the policy, per run, after the share
        `progress` `[R]` of each run."""
        return 0.0 * progress

    def following(self, updates: Tensor) -> Tensor:
        """How far the copies in `follows` move to their models after a run's update number `updates` `[R]`: 1 makes
        them equal, 0 leaves them where they are."""
        return torch.zeros_like(updates, dtype=torch.float32)

    def refuses(self, batch: Any, responses: int) -> str | None:
        """Why it cannot learn from comparisons like `batch`, with up to `responses` per row; None where it can."""
        return None

    def leaves_unused(self, batch: Any) -> str | None:
        """What of comparisons like `batch` it would use with another option, as a sentence; None for nothing."""
        return None

    def region(self) -> "TrustRegion | None":
        """The trust region of its policy step; None for methods that follow the gradient."""
        return None


@dataclass(frozen=True)
class TrustRegion:
    """How far and how a trust-region step searches, see `burnish.training.control.trust_region`.

    A method with one has a `critic_loss(models, batch)` as well, the critic's own regression.
    """

    max_kl: float
    iterations: int
    damping: float
    shrink: float
    tries: int


def name_of(algorithm: Any) -> str:
    """The algorithm's name, or the import path of its class where it has none. Raises TypeError for anything else."""
    cls = algorithm if isinstance(algorithm, type) else type(algorithm)
    if not issubclass(cls, Algorithm):
        raise TypeError(f"{algorithm!r} is not an algorithm: give one such as burnish.DPO(), or a burnish.Algorithm")
    return cls.name or f"{cls.__module__}:{cls.__qualname__}"
