"""The exercises of the course: write a function's body, then check it.

    .venv/bin/python docs/course/exercises.py returns

prints whether it is right, or what is wrong. Arguments and results are plain numbers and lists; `torch` and all of
Burnish may be used.
"""

import math  # for your answers, as are torch and functional
import sys
from collections.abc import Sequence

import checks
import checks_language
import torch

from burnish import functional


def returns(rewards: Sequence[float], gamma: float) -> list[float]:
    """The return of every step of one episode, G_t = r_t + γ G_{t+1}, in a loop from the end."""
    raise NotImplementedError("your turn")


def exact_gradient(probabilities: Sequence[float], rewards: Sequence[float]) -> list[float]:
    """A game with one step: action a has probability π(a), a softmax of logits, and earns rewards[a]. Derive on paper
    the gradient of the expected reward Σ_a π(a) r(a) with respect to the logits, and return it. `policy_gradient`
    estimates it from samples."""
    raise NotImplementedError("your turn")


def gradient_variance(probabilities: Sequence[float], rewards: Sequence[float], baseline: float) -> float:
    """The same game. One sampled action gives the estimate (r(a) − b)·∇log π(a), a vector with one number per
    logit, where ∂ log π(a)/∂ logit_i is [a = i] − π(i). Sum over all actions and return the variance of the estimate,
    added up over the logits. It depends on the baseline b; the mean of the estimate does not."""
    raise NotImplementedError("your turn")


def best_baseline(probabilities: Sequence[float], rewards: Sequence[float]) -> float:
    """The baseline that minimises this variance. It is an average of the rewards, but not the expected reward: action a
    has the weight π(a)·‖∇log π(a)‖²."""
    raise NotImplementedError("your turn")


def advantages(rewards: Sequence[float], values: Sequence[float], gamma: float, lambda_: float) -> list[float]:
    """GAE of one episode that was *cut off* after its last reward: `values` has one number more than `rewards`, the
    value of the state in which it was cut. Use plain loops."""
    raise NotImplementedError("your turn")


def weights(steps: int, lambda_: float) -> list[float]:
    """GAE of an episode's first step is an average of the estimates A⁽ⁿ⁾ = r_0 + … + γⁿ⁻¹ r_{n−1} + γⁿ V_n − V_0 that
    use n = 1, 2, … `steps` rewards; the last one uses all of them. Return the weights of this average."""
    raise NotImplementedError("your turn")


def fisher_times(probabilities: Sequence[float], vector: Sequence[float]) -> list[float]:
    """The Fisher matrix of a softmax with respect to its logits is F = diag(π) − π πᵀ. Return F v *without building a
    matrix*: TRPO cannot build it either, because its matrix has as many rows as the policy has weights."""
    raise NotImplementedError("your turn")


def natural_step(gradient: Sequence[float], fisher: Sequence[float], max_kl: float) -> list[float]:
    """The step Δ with the largest gain gᵀΔ subject to ½ ΔᵀFΔ ≤ max_kl. To keep it simple, F is a diagonal matrix here,
    given as a list."""
    raise NotImplementedError("your turn")


def still_pulls(ratio: float, advantage: float, clip: float) -> bool:
    """Whether PPO's clipped surrogate has a gradient at this ratio, away from the ends of the range."""
    raise NotImplementedError("your turn")


def most_to_gain(advantages: Sequence[float], clip: float) -> float:
    """The sampled actions have these advantages. All ratios are 1 at first, so that the mean of ρ A is the mean
    advantage. By how much can the mean of PPO's clipped objective rise at most, over all possible ratios?"""
    raise NotImplementedError("your turn")


def probability_of_label(first: Sequence[float], second: Sequence[float], error: float) -> float:
    """Two segments, each a list of predicted rewards. A segment's worth is the sum of its rewards. The judge prefers
    the first with Bradley and Terry's probability, but answers at random with probability `error`. Return the
    probability of the answer “the first”."""
    raise NotImplementedError("your turn")


def pull(difference: float, error: float) -> float:
    """The first segment, whose predicted worth is greater by `difference`, was preferred. The loss is −log p, where p
    is this label's probability by the judge of the exercise above. Return the derivative of −log p with respect to the
    difference. See what is left of it, with and without errors, where the difference is far below 0."""
    raise NotImplementedError("your turn")


def imitation_loss(logprobs: Sequence[Sequence[float]], is_response: Sequence[Sequence[bool]]) -> float:
    """Several texts of different lengths, each a prompt and a response: the log-probability of every token, and whether
    it is one of the response. Return the loss of supervised fine-tuning, where every token of a response counts the
    same, however long its text is."""
    raise NotImplementedError("your turn")


def above_the_least(shown: Sequence[float], policy: Sequence[float]) -> float:
    """People answer a prompt with answer a with probability shown[a]; the expected loss of a policy that imitates them
    is −Σ_a shown(a) log π(a). Return by how much it is above the least that any policy can have. Some answers may never
    be shown."""
    raise NotImplementedError("your turn")


def best_accuracy(certainties: Sequence[float]) -> float:
    """Of each pair of texts, the probability that a rater prefers the first. A reward model knows these numbers
    exactly, and is measured against *one* rater's labels. What is the greatest accuracy that it can expect?"""
    raise NotImplementedError("your turn")


def worth_gradient(worths: Sequence[float], labels: Sequence[tuple[int, int]]) -> list[float]:
    """Texts have worths, and each label names two of them, (chosen, rejected). Return the gradient of the sum of the
    Bradley–Terry losses with respect to the worths. Its sum is 0, whatever the labels are: what does this say of what
    comparisons can teach?"""
    raise NotImplementedError("your turn")


def shaped_returns(score: float, logprobs: Sequence[float], ref_logprobs: Sequence[float], beta: float) -> list[float]:
    """One completion with its score and its tokens' log-probabilities under the policy and under the reference. Return
    the return of every token, at γ = 1, of the rewards that RLHF gives to PPO."""
    raise NotImplementedError("your turn")


def best_policy(reference: Sequence[float], rewards: Sequence[float], beta: float) -> list[float]:
    """Several answers to one prompt, each with its probability under the reference and its reward. Return the policy
    that maximises E[r] − β·KL(π‖reference). DPO solves the same equation for the reward."""
    raise NotImplementedError("your turn")


def implied_rewards(policy: Sequence[float], reference: Sequence[float], beta: float) -> list[float]:
    """Several answers to one prompt, with their probabilities under a policy and under the reference. Return rewards
    for which this policy is the best one at this β. Only their differences are determined: let the first be 0."""
    raise NotImplementedError("your turn")


def dpo_pull(chosen: float, rejected: float, beta: float) -> float:
    """DPO's loss of one pair with log-ratios log π(y) − log π_ref(y) of the chosen and of the rejected response. Return
    its derivative with respect to the log-probability of the chosen one; that of the rejected one is the same with the
    other sign. A pair that is already ordered right by far pulls hardly at all."""
    raise NotImplementedError("your turn")


def optimum(reference: Sequence[float], rewards: Sequence[float], beta: float) -> tuple[float, float]:
    """Where the best policy of E[r] − β·KL lies in the picture of reward against KL: return its KL from the reference,
    and its expected reward. No policy with the same KL has a higher one."""
    raise NotImplementedError("your turn")


def best_of_n(reference: Sequence[float], rewards: Sequence[float], n: int) -> list[float]:
    """The probability of each answer as the best of n samples of the reference, in order of `reference`. The rewards
    all differ. Hint: the best of n is no better than an answer if all n are not."""
    raise NotImplementedError("your turn")


def gold_of_best(proxy: Sequence[float], gold: Sequence[float], n: int) -> float:
    """A pool of samples of one prompt, each with its scores by a reward model, `proxy`, and by people, `gold`. All
    proxy scores differ. Return the mean gold score of the best of n by the proxy, over all subsets of n of the pool."""
    raise NotImplementedError("your turn")


def peak(alpha: float, beta: float) -> tuple[float, float]:
    """Gao et al. describe the gold score that reinforcement learning gains at the distance d = √KL by d(α − β log d),
    with β > 0. Return the distance at which it is highest, and how high."""
    raise NotImplementedError("your turn")


def settles_at(p: float, beta: float, tau: float) -> tuple[float, float]:
    """One pair is labelled again and again, and a share p of the labels, 0 < p < 1, prefers the first response. At
    which difference of log-ratios (first less second) has DPO its least mean loss, and at which IPO? See what each
    becomes as p goes to 1."""
    raise NotImplementedError("your turn")


def kto_pull(logratio: float, desirable: bool, kl: float, beta: float) -> float:
    """KTO's loss of one response, with both weights 1. Return its derivative with respect to the log-ratio. It vanishes
    on both sides: for responses that are fine already, and for those that are hopeless."""
    raise NotImplementedError("your turn")


CHECKS = checks.CHECKS | checks_language.CHECKS


def main(arguments: Sequence[str]) -> int:
    if len(arguments) != 1 or arguments[0] not in CHECKS:
        print(f"name one exercise: {', '.join(CHECKS)}", file=sys.stderr)
        return 2
    try:
        CHECKS[arguments[0]](globals()[arguments[0]])
    except (AssertionError, NotImplementedError) as error:
        print(f"not yet: {error}", file=sys.stderr)
        return 1
    print("right")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
