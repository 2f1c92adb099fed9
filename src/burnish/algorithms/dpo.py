"""Direct preference optimisation."""

from dataclasses import dataclass, field, replace

from torch import Tensor

from burnish.algorithms.terms import Loss, Term
from burnish.batches import Preferences
from burnish.functional import dpo, implicit_reward, masked_sum
from burnish.policies.interface import Models


@dataclass(frozen=True)
class DPO:
    """The reward model's own Bradley–Terry loss, on the rewards that the policy implies.

    L(θ) = −E log σ(β·(Δ_chosen − Δ_rejected)),  Δ = log π_θ(y|x) − log π_ref(y|x), summed over the response.

    Rafailov et al. (2023), "Direct Preference Optimization: Your Language Model is Secretly a Reward Model", eq. 7.
    With `label_smoothing` ε the labels are taken to be flipped with probability ε (conservative DPO, Mitchell 2023).
    """

    beta: float = field(default=0.1, metadata={"help": "strength of the pull to the reference; its KL temperature"})
    label_smoothing: float = field(default=0.0, metadata={"help": "probability that a label is flipped (cDPO)"})

    def __post_init__(self) -> None:
        if not self.beta > 0:
            raise ValueError(f"beta must be above 0, not {self.beta}: it is the temperature of the implied reward")
        if not 0 <= self.label_smoothing < 0.5:
            raise ValueError(
                f"label_smoothing must lie in [0, 0.5), not {self.label_smoothing}: at ½ labels say nothing"
            )

    def prepare(self, models: Models, batch: Preferences) -> Preferences:
        assert models.reference is not None
        return replace(batch, ref_logprobs=models.reference.logprobs(batch))

    def loss(self, models: Models, batch: Preferences) -> Loss:
        assert batch.ref_logprobs is not None
        logps = masked_sum(models.policy.logprobs(batch), batch.mask, dim=-1)
        ref_logps = masked_sum(batch.ref_logprobs, batch.mask, dim=-1)
        chosen, rejected = (logps - ref_logps).unbind(-1)
        losses = dpo(chosen, rejected, self.beta, self.label_smoothing)
        both_answered = batch.mask.any(-1).all(-1)
        return Loss({"dpo": Term(losses, both_answered, "row")}, self.metrics(logps.detach(), ref_logps))

    def metrics(self, logps: Tensor, ref_logps: Tensor) -> dict[str, Tensor]:
        """TRL's names. A tie of the implicit rewards counts as half right."""
        rewards = implicit_reward(logps, ref_logps, self.beta)
        margins = rewards[:, 0] - rewards[:, 1]
        return {
            "rewards/chosen": rewards[:, 0],
            "rewards/rejected": rewards[:, 1],
            "rewards/accuracies": (margins > 0).float() + (margins == 0).float() / 2,
            "rewards/margins": margins,
            "logps/chosen": logps[:, 0],
            "logps/rejected": logps[:, 1],
        }
