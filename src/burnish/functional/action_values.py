"""Targets and losses of action values Q(s, a), for learning from steps that any policy made.

As in `burnish.functional.returns`, `discounts` is γ, and 0 on the step that terminated. An episode that was truncated
keeps γ and bootstraps from the value of the state that it reached, because what is beyond a time limit is still worth
something.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from burnish.functional.precision import AnyScalar, widen
from burnish.functional.returns import discounted_returns


def td_target(
    rewards: Float[Tensor, "*#shape"], discounts: Float[Tensor, "*#shape"], values: Float[Tensor, "*#shape"]
) -> Float[Tensor, "..."]:
    """What the value of a step should be, by its reward and the value of the state that it reached.

    y = r + γ V(s′),  and y = r where the step terminated

    Shapes: any, elementwise. `discounts` is γ, and 0 where the step terminated, whose V(s′) is not read; a step that
    truncated its episode has γ. With V(s′) = maxₐ Q(s′, a) this is the target of Q-learning.
    Source: Sutton & Barto 2018, eqs. 6.2 and 6.8.
    """
    rewards, discounts, values = widen(rewards), widen(discounts), widen(values)
    return rewards + discounts * torch.where(discounts != 0, values, 0.0)


def n_step_target(
    rewards: Float[Tensor, "*lead b n"],
    discounts: Float[Tensor, "*lead b n"],
    mask: Bool[Tensor, "*lead b n"],
    values: Float[Tensor, "*lead b"],
) -> Float[Tensor, "*lead b"]:
    """`td_target` over up to n steps of one episode: n rewards, then the value of the state reached.

    y = r_0 + γ r_1 + … + γ^{m−1} r_{m−1} + γ^m V(s_m),  m ≤ n the steps of the row, the last term 0 if it terminated

    Shapes: rewards, discounts, mask [..., B, n], the real steps first; values [..., B], V of the state after the row's
    last step, not read where it terminated → [..., B], 0 for a row without a step. With n = 1 it is `td_target`.
    Source: Sutton & Barto 2018, eq. 7.1; for replayed steps Hessel et al. (2018), "Rainbow", section "Multi-step
    learning". The actions after the first are those of an older policy, which no term corrects.
    """
    return discounted_returns(rewards, discounts, mask, values)[..., 0]


def double_q(
    target_values: Float[Tensor, "*shape actions"], values: Float[Tensor, "*shape actions"]
) -> Float[Tensor, "*shape"]:
    """The value of a state where one network chooses the action and the other one says its worth.

    V(s) = Q_target(s, argmaxₐ Q(s, a)),  in place of maxₐ Q_target(s, a)

    The maximum of noisy values is too large on average, and the noise of two networks is not the same. The first of
    equal values is chosen. Shapes: [..., A] each → [...].
    Source: van Hasselt et al. 2016, "Deep Reinforcement Learning with Double Q-learning", eq. 4 and section "Double
    DQN".
    """
    return widen(target_values).gather(-1, values.argmax(-1, keepdim=True)).squeeze(-1)


def soft_value(
    values: Float[Tensor, "*#shape"], logprobs: Float[Tensor, "*#shape"], temperature: AnyScalar
) -> Float[Tensor, "..."]:
    """The value of a state with the entropy of the policy as a part of the return, by one action that it drew.

    V(s) = Q(s, a) − α log π(a|s),  a ~ π(·|s)

    Shapes: any, elementwise; the temperature α is a number, or broadcasts. Its mean over actions is
    E[Q(s, a)] + α H(π(·|s)). With two critics, Q is the smaller of theirs.
    Source: Haarnoja et al. 2018, "Soft Actor-Critic Algorithms and Applications", eq. 3.
    """
    return widen(values) - temperature * widen(logprobs)


def huber_loss(values: Float[Tensor, "*#shape"], targets: Float[Tensor, "*#shape"]) -> Float[Tensor, "*shape"]:
    """Half the squared error up to an error of 1, and linear from there on: its gradient is the error clipped to ±1.

    ½ e² if |e| ≤ 1,  |e| − ½ otherwise,  e = Q − y

    Shapes: any, elementwise, not reduced.
    Source: Mnih et al. 2015, "Human-level control through deep reinforcement learning", methods: "clip the error term".
    """
    return smooth_l1_loss(widen(values), widen(targets), reduction="none")
