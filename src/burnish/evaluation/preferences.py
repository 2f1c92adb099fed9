"""Log-probabilities and implicit rewards of a policy on preference pairs."""

from collections.abc import Iterable

import numpy as np
import torch
from jaxtyping import Float

from burnish.batches import Preferences
from burnish.functional import implicit_reward, masked_sum
from burnish.policies.interface import Divisible
from burnish.policies.language.policy import LanguagePolicy
from burnish.run.world import ALONE, World


@torch.no_grad()
def log_margins(policy: LanguagePolicy, batches: Iterable[Preferences], world: World = ALONE) -> Float[np.ndarray, "N"]:
    """log π(chosen) − log π(rejected) of every pair."""
    policy.dropout(False)
    together, margins = isinstance(policy, Divisible) and policy.divided, []
    for batch in batches:
        logprobs = world.by_rows(policy.logprobs, batch.to(policy.device), together)
        sums = masked_sum(logprobs, batch.mask.to(logprobs.device), dim=-1).double().cpu()
        margins.append(sums[:, 0] - sums[:, 1])
    return torch.cat(margins).numpy()


@torch.no_grad()
def implicit_margins(
    policy: LanguagePolicy, reference: LanguagePolicy, batches: Iterable[Preferences], beta: float
) -> Float[np.ndarray, "N"]:
    """Implicit reward margin of every pair: β·(log-ratio of chosen − log-ratio of rejected).

    Rafailov et al. (2023), section 4. Positive where the policy, relative to its reference, agrees with the label.
    """
    policy.dropout(False)
    reference.dropout(False)
    margins = []
    for batch in batches:
        sums = [masked_sum(p.logprobs(batch.to(p.device)).cpu(), batch.mask.cpu(), dim=-1) for p in (policy, reference)]
        rewards = implicit_reward(sums[0], sums[1], beta)
        margins.append((rewards[:, 0] - rewards[:, 1]).double())
    return torch.cat(margins).numpy()


def accuracy_scores(margins: Float[np.ndarray, "N"]) -> Float[np.ndarray, "N"]:
    """1 where the margin agrees with the label, 0 where not, ½ for a tie; their mean is the accuracy."""
    return (margins > 0) + (margins == 0) / 2
