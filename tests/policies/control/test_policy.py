"""Stacked networks against one `torch.nn.Sequential` a run with the same weights."""

import math
from copy import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Independent, Normal

from burnish.batches import Transitions
from burnish.policies.control.policy import ControlCritic, ControlPolicy
from burnish.policies.interface import Critic, ExactPolicy
from burnish.run import UserError

RUNS, ROWS, STEPS, INPUTS, ACTIONS = 3, 2, 5, 4, 3
SEEDS = (7, 8, 2**40)
HIDDEN = (6, 5)
JUNK = (math.nan, math.inf, -math.inf, 1e30)


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def close(actual: Tensor, expected: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance)


def make_policy(seeds: tuple[int, ...] = SEEDS, continuous: bool = False, **options) -> ControlPolicy:
    options = {"hidden": HIDDEN, "dtype": torch.float64} | options
    return stirred(ControlPolicy(INPUTS, ACTIONS, seeds, continuous=continuous, **options), seeds)


def make_critic(seeds: tuple[int, ...] = SEEDS, **options) -> ControlCritic:
    options = {"hidden": HIDDEN, "dtype": torch.float64} | options
    return stirred(ControlCritic(INPUTS, seeds, **options), seeds)


def stirred(model, seeds: tuple[int, ...]):
    """Each run's weights moved from where they begin, biases and deviations off 0, by its own seed."""
    with torch.no_grad():
        for row, seed in zip(model.theta, seeds, strict=True):
            row += 0.3 * numbers(row.numel(), seed=seed).to(row.dtype)
    return model


def make_batch(
    lengths: tuple[int, ...] = (5, 3, 4, 5, 1, 2), continuous: bool = False, loose: bool = False
) -> Transitions:
    long = torch.tensor(lengths).view(RUNS, ROWS)
    mask = torch.arange(STEPS) < long[..., None]
    empty = torch.zeros(mask.shape, dtype=torch.float64)
    steps = numbers(RUNS, ROWS, STEPS, ACTIONS, seed=4)
    return Transitions(
        mask=mask,
        lengths=long,
        rows=torch.arange(ROWS),
        old_logprobs=empty,
        rewards=empty,
        discounts=empty,
        observations=numbers(RUNS, ROWS, STEPS + (not loose), INPUTS, seed=3),
        actions=steps if continuous else steps.argmax(-1),
        runs=torch.arange(RUNS),
        progress=torch.zeros(RUNS),
    )


def sequential(model: ControlPolicy | ControlCritic, run: int) -> nn.Sequential:
    """The same run's weights in torch's own layers."""
    weights = {name: part[run] for name, part in model.named().items()}
    count = sum(name.endswith("weight") for name in weights)
    layers: list[nn.Module] = []
    for i in range(count):
        weight, bias = weights[f"layers.{i}.weight"], weights[f"layers.{i}.bias"]
        layer = nn.Linear(weight.shape[1], weight.shape[0], dtype=weight.dtype)
        layer.load_state_dict({"weight": weight, "bias": bias})
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def check_gradient(model: ControlPolicy | ControlCritic, found: Tensor, run: int, network: nn.Sequential) -> None:
    """A gradient of theta, laid out by layer as the weights are, against the one that torch's own layers have."""
    laid_out = copy(model)
    laid_out.theta = nn.Parameter(found)
    expected = [p.grad for p in network.parameters()]
    named = [part[run] for name, part in laid_out.named().items() if name != "log_std"]
    for one, other in zip(named, expected, strict=True):
        assert other is not None
        close(one, other)


def scales(x: Tensor) -> Tensor:
    """Fixed numbers of both signs, so that a gradient sees each place differently."""
    return torch.sin(torch.arange(1.0, x.numel() + 1, dtype=torch.float64)).view(x.shape).to(x.dtype)


def gradient(model: ControlPolicy | ControlCritic, *outputs: Tensor) -> Tensor:
    total = torch.stack([(scales(x) * x).sum() for x in outputs]).sum()
    return torch.autograd.grad(total, model.theta, retain_graph=True)[0]


def runs_of(batch: Transitions, index: list[int]) -> Transitions:
    names = ("mask", "lengths", "old_logprobs", "rewards", "discounts", "observations", "actions", "runs", "progress")
    return replace(batch, **{name: getattr(batch, name)[index] for name in names})


@pytest.mark.parametrize("continuous", [False, True])
def test_a_policy_is_a_sequential_network_a_run(continuous: bool) -> None:
    policy, batch = make_policy(continuous=continuous), make_batch(continuous=continuous)
    assert isinstance(policy, ExactPolicy)
    logprobs, entropy = policy.logprobs_and_entropy(batch)
    found = gradient(policy, logprobs, entropy)
    assert torch.equal(policy.logprobs(batch), logprobs)
    for run in range(RUNS):
        network, mask = sequential(policy, run), batch.mask[run]
        out = network(batch.observations[run, :, :STEPS])
        log_std = policy.named()["log_std"][run].requires_grad_() if continuous else torch.zeros(0)
        theirs = Independent(Normal(out, log_std.exp()), 1) if continuous else Categorical(logits=out)
        expected = theirs.log_prob(batch.actions[run]) * mask, theirs.entropy() * mask
        close(logprobs[run], expected[0])
        close(entropy[run], expected[1])
        sum((scales(x)[run] * e).sum() for x, e in zip((logprobs, entropy), expected, strict=True)).backward()
        check_gradient(policy, found, run, network)
        if continuous:
            close(found[run, -ACTIONS:], log_std.grad)


def test_a_critic_is_a_sequential_network_a_run() -> None:
    critic, batch = make_critic(), make_batch((5, 5, 5, 5, 5, 5))
    assert isinstance(critic, Critic)
    values = critic.values(batch)
    assert values.shape == (RUNS, ROWS, STEPS + 1)
    found = gradient(critic, values)
    for run in range(RUNS):
        network = sequential(critic, run)
        expected = network(batch.observations[run])[..., 0]
        close(values[run], expected)
        (scales(values)[run] * expected).sum().backward()
        check_gradient(critic, found, run, network)


def test_a_short_row_has_the_value_of_its_final_state_and_none_behind_it() -> None:
    critic, batch = make_critic(), make_batch((5, 3, 4, 5, 1, 0))
    values = critic.values(batch)
    for run in range(RUNS):
        for row, length in enumerate(batch.lengths[run].tolist()):
            reached = length + 1 if length else 0
            expected = sequential(critic, run)(batch.observations[run, row])[:, 0].detach()
            close(values[run, row, :reached].detach(), expected[:reached])
            assert (values[run, row, reached:] == 0).all()


def test_loose_steps_have_values_and_0_behind_them() -> None:
    critic, batch = make_critic(), make_batch(loose=True)
    whole = replace(batch, observations=nn.functional.pad(batch.observations, (0, 0, 0, 1), value=2.0))
    values = critic.values(batch)
    assert values.shape == (RUNS, ROWS, STEPS + 1)
    assert (values[..., -1] == 0).all()
    assert (values[..., :-1][~batch.mask] == 0).all()
    close(values[..., :-1][batch.mask], critic.values(whole)[..., :-1][batch.mask])
    policy = make_policy()
    assert torch.equal(policy.logprobs(batch), policy.logprobs(whole))


def test_the_distribution_is_that_of_the_logprobs() -> None:
    for continuous in (False, True):
        policy, batch = make_policy(continuous=continuous), make_batch(continuous=continuous)
        distribution = policy.distribution(batch)
        logprobs, entropy = policy.logprobs_and_entropy(batch)
        assert torch.equal(distribution.logprobs(batch.actions)[batch.mask], logprobs[batch.mask])
        assert torch.equal(distribution.entropy()[batch.mask], entropy[batch.mask])
        other = make_policy((1, 2, 3), continuous).distribution(batch)
        assert (distribution.kl(other) > 0).all()
        assert distribution.kl(other).shape == batch.mask.shape
        assert (distribution.kl(distribution.detach()) == 0).all()


@pytest.mark.parametrize("continuous", [False, True])
def test_a_gradient_can_be_differentiated(continuous: bool) -> None:
    """Products of the Hessian with a vector, of what has its gradient by hand, by finite differences of gradients."""
    policy, critic, batch = make_policy(continuous=continuous), make_critic(), make_batch(continuous=continuous)
    loss_of_values = lambda: critic.values(batch).pow(2)  # noqa: E731
    for model, loss in ((policy, lambda: torch.stack(policy.logprobs_and_entropy(batch))), (critic, loss_of_values)):
        vector, start = numbers(*model.theta.shape, seed=6), model.theta.detach().clone()

        def slope(at: Tensor, model=model, loss=loss, **options: bool) -> Tensor:
            model.theta.data = at
            value = loss()
            return torch.autograd.grad((value * scales(value)).sum(), model.theta, **options)[0]

        (product,) = torch.autograd.grad((slope(start, create_graph=True) * vector).sum(), model.theta)
        step = 1e-6
        close(product, (slope(start + step * vector) - slope(start - step * vector)) / (2 * step), 1e-6)


@pytest.mark.parametrize("continuous", [False, True])
def test_the_gradient_by_hand_is_the_distributions(continuous: bool) -> None:
    policy, batch = make_policy(continuous=continuous), make_batch(continuous=continuous)
    one, other = policy.distribution(batch), policy.logprobs_and_entropy(batch)
    values = torch.where(batch.mask, one.logprobs(batch.actions), 0.0), torch.where(batch.mask, one.entropy(), 0.0)
    close(gradient(policy, *values), gradient(policy, *other))


def by_autograd(policy: ControlPolicy, batch: Transitions, v: Tensor) -> Tensor:
    """F v as the derivative of (∇KL)ᵀv, each run's KL the mean over its real steps."""
    old, mask = policy.distribution(batch).detach(), batch.mask
    kl = torch.where(mask, old.kl(policy.distribution(batch)), 0.0).sum((1, 2)) / mask.sum((1, 2)).clamp(min=1)
    (slope,) = torch.autograd.grad(kl.sum(), policy.theta, create_graph=True)
    return torch.autograd.grad((slope * v).sum(), policy.theta)[0]


@pytest.mark.parametrize("hidden", [(), HIDDEN])
@pytest.mark.parametrize("loose", [False, True])
@pytest.mark.parametrize("continuous", [False, True])
def test_fisher_products_are_second_derivatives_of_kl(continuous: bool, loose: bool, hidden: tuple[int, ...]) -> None:
    """Of three runs of 8, 7 and no steps, junk where there is none; and at theta as it was, once theta has moved."""
    policy = make_policy(continuous=continuous, hidden=hidden)
    batch = make_batch((5, 3, 3, 4, 0, 0), continuous, loose)
    unseen = ~nn.functional.pad(batch.mask, (0, 0 if loose else 1))[..., None]
    strange = replace(batch, observations=batch.observations.masked_fill(unseen, math.nan))
    product, vectors = policy.fisher_product(strange), numbers(2, *policy.theta.shape, seed=6)
    expected = [by_autograd(policy, batch, v) for v in vectors]
    for _ in range(2):
        for v, image in zip(vectors, expected, strict=True):
            found = product(v)
            close(found, image)
            assert not found.requires_grad
            assert (found[2] == 0).all()
            assert ((v * found).sum(1) >= 0).all()
        close((vectors[1] * expected[0]).sum(1), (vectors[0] * product(vectors[1])).sum(1))
        with torch.no_grad():
            policy.theta += 1.0


@pytest.mark.parametrize("continuous", [False, True])
def test_a_fisher_matrix_is_symmetric_and_curved_upwards(continuous: bool) -> None:
    """The whole matrix, by products with every unit vector."""
    policy = make_policy(continuous=continuous, hidden=(3,))
    product, size = policy.fisher_product(make_batch(continuous=continuous)), policy.theta.shape[1]
    units = torch.eye(size, dtype=torch.float64)
    columns = torch.stack([product(unit.expand(RUNS, -1)) for unit in units], -1)
    close(columns, columns.mT)
    lowest, *_, highest = torch.linalg.eigvalsh(columns).T
    assert (lowest > -1e-12).all()
    assert (highest > 0.1).all()


@pytest.mark.parametrize("continuous", [False, True])
@pytest.mark.parametrize("junk", JUNK)
def test_what_lies_at_masked_places_never_matters(junk: float, continuous: bool) -> None:
    """Neither to a value nor to a gradient, of observations and of actions; a discrete action of junk is −1 or 99."""
    batch = make_batch(continuous=continuous)
    unseen, unreached = ~batch.mask, ~nn.functional.pad(batch.mask, (1, 0), value=True)
    strange_action = junk if continuous else (99 if junk > 0 else -1)
    hidden = unseen[..., None] if continuous else unseen
    observations = batch.observations.masked_fill(unreached[..., None], junk)
    strange = replace(batch, observations=observations, actions=batch.actions.masked_fill(hidden, strange_action))
    policy, critic = make_policy(continuous=continuous), make_critic()
    for one, other in zip(policy.logprobs_and_entropy(batch), policy.logprobs_and_entropy(strange), strict=True):
        assert torch.equal(one, other)
        assert (other[unseen] == 0).all()
        assert torch.equal(gradient(policy, one), gradient(policy, other))
    values, others = critic.values(batch), critic.values(strange)
    assert torch.equal(values, others)
    assert torch.equal(gradient(critic, values), gradient(critic, others))
    final = batch.observations.masked_fill(~nn.functional.pad(batch.mask, (0, 1))[..., None], junk)
    assert torch.equal(policy.logprobs(batch), policy.logprobs(replace(batch, observations=final)))


@pytest.mark.parametrize("continuous", [False, True])
def test_a_run_of_a_group_is_the_run_alone(continuous: bool) -> None:
    policy, critic, batch = make_policy(continuous=continuous), make_critic(), make_batch(continuous=continuous)
    logprobs, entropy = policy.logprobs_and_entropy(batch)
    slopes, values = gradient(policy, logprobs, entropy), critic.values(batch)
    value_slopes = gradient(critic, values)
    for i in range(RUNS):
        one, lone, part = make_policy(SEEDS[i : i + 1], continuous), make_critic(SEEDS[i : i + 1]), runs_of(batch, [i])
        assert torch.equal(one.theta[0], policy.theta[i])
        assert torch.equal(lone.theta[0], critic.theta[i])
        both = one.logprobs_and_entropy(part)
        for whole, single in zip((logprobs, entropy), both, strict=True):
            close(single[0], whole[i])
        sum((scales(x)[i] * y[0]).sum() for x, y in zip((logprobs, entropy), both, strict=True)).backward()
        close(one.theta.grad[0], slopes[i])
        alone = lone.values(part)
        close(alone[0], values[i])
        (scales(values)[i] * alone[0]).sum().backward()
        close(lone.theta.grad[0], value_slopes[i])


def test_a_run_that_leaves_changes_nothing_for_the_others() -> None:
    for model, ask in ((make_policy(), "logprobs"), (make_critic(), "values")):
        batch, before = make_batch(), model.theta
        whole = getattr(model, ask)(batch)
        model.keep(torch.tensor([2, 0]))
        assert model.parameters() == {"theta": model.theta}
        assert model.theta.is_leaf
        assert model.theta.requires_grad
        assert model.runs == 2
        close(getattr(model, ask)(runs_of(batch, [2, 0])), whole[[2, 0]])
        with torch.no_grad():
            model.theta.zero_()
        assert (before != 0).any()


def test_runs_begin_orthogonal_with_the_gains_of_their_layers() -> None:
    """W Wᵀ or Wᵀ W, whichever is smaller, is gain² · 1: √2 in hidden layers, 0.01 in a policy's last and 1 in a
    critic's; biases and log σ are 0."""
    policy = ControlPolicy(INPUTS, ACTIONS, SEEDS, continuous=True, hidden=HIDDEN, dtype=torch.float64)
    critic = ControlCritic(INPUTS, SEEDS, hidden=HIDDEN, dtype=torch.float64)
    for model, last in ((policy, 1e-4), (critic, 1.0)):
        named = model.named()
        for i, power in enumerate((2.0, 2.0, last)):
            assert (named[f"layers.{i}.bias"] == 0).all()
            for weight in named[f"layers.{i}.weight"]:
                small = weight @ weight.T if weight.shape[0] <= weight.shape[1] else weight.T @ weight
                close(small, power * torch.eye(len(small), dtype=torch.float64))
    assert policy.named()["log_std"].eq(0).all()
    assert policy.named()["layers.1.weight"].shape == (RUNS, 5, 6)
    discrete = ControlPolicy(INPUTS, ACTIONS, SEEDS, hidden=HIDDEN)
    assert list(discrete.named()) == list(critic.named())
    assert discrete.theta.shape == (RUNS, 4 * 6 + 6 + 6 * 5 + 5 + 5 * 3 + 3)
    assert list(critic.named()) == [f"layers.{i}.{kind}" for i in range(3) for kind in ("weight", "bias")]


def test_no_two_networks_begin_alike_and_precision_changes_nothing() -> None:
    policy, critic = (kind(INPUTS, *rest, SEEDS) for kind, rest in ((ControlPolicy, (1,)), (ControlCritic, ())))
    rows = torch.cat([policy.named()["layers.0.weight"], critic.named()["layers.0.weight"]])
    assert len({tuple(row.flatten().tolist()) for row in rows}) == 2 * RUNS
    wide = ControlPolicy(INPUTS, 1, SEEDS, dtype=torch.float64)
    assert policy.theta.dtype == torch.float32
    assert torch.equal(wide.theta.float(), policy.theta)
    state = torch.random.get_rng_state()
    ControlCritic(INPUTS, SEEDS)
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("continuous", [False, True])
def test_what_acts_is_what_is_trained(continuous: bool, dtype: torch.dtype) -> None:
    """Actions from the noise by the batch's own distribution, and the log-probabilities that `logprobs` gives them."""
    policy, batch = make_policy(continuous=continuous, dtype=dtype), make_batch((5,) * 6, continuous, loose=True)
    noise = torch.rand(batch.actions.shape, generator=torch.Generator().manual_seed(1), dtype=dtype)
    observations = batch.observations.to(dtype)
    for t in range(STEPS):
        actions, logprobs = policy.act(observations[:, :, t], noise[:, :, t])
        assert not logprobs.requires_grad
        assert logprobs.dtype == dtype
        expected = policy.distribution(replace(batch, observations=observations)).sample(noise)[:, :, t]
        close(actions, expected.detach(), 1e-5)
        taken = torch.zeros_like(noise, dtype=actions.dtype)
        taken[:, :, t] = actions
        found = policy.logprobs(replace(batch, observations=observations, actions=taken))
        close(logprobs, found[:, :, t].detach(), 1e-5)


def test_observations_may_be_more_exact_than_the_networks() -> None:
    """Environments give float64 as they please; a network of float32 sees them rounded."""
    policy, critic, batch = make_policy(dtype=torch.float32), make_critic(dtype=torch.float32), make_batch()
    rounded = replace(batch, observations=batch.observations.float())
    for ask in (policy.logprobs, critic.values, lambda b: policy.distribution(b).entropy()):
        assert ask(batch).dtype == torch.float32
        assert torch.equal(ask(batch), ask(rounded))
    noise = torch.full((RUNS, ROWS), 0.5)
    for one, other in zip(*(policy.act(b.observations[:, :, 0], noise) for b in (batch, rounded)), strict=True):
        assert torch.equal(one, other)


def test_acting_follows_the_weights_wherever_they_go() -> None:
    """Moved in place, narrowed, loaded: an action is always one of the policy as it is."""
    policy, observations, noise = make_policy(), numbers(RUNS, ROWS, INPUTS), numbers(RUNS, ROWS).sigmoid()

    def check(runs: list[int]) -> None:
        _, logprobs = policy.act(observations[runs], noise[runs])
        actions, _ = policy.act(observations[runs], noise[runs])
        for i in range(len(runs)):
            out = sequential(policy, i)(observations[runs[i]])
            close(logprobs[i], Categorical(logits=out).log_prob(actions[i]).detach())

    check([0, 1, 2])
    with torch.no_grad():
        policy.theta.add_(0.1)
    check([0, 1, 2])
    policy.theta.data = policy.theta.data - 0.2
    check([0, 1, 2])
    policy.load_named(make_policy((4, 5, 6)).named())
    check([0, 1, 2])
    policy.keep(torch.tensor([1]))
    check([1])


@pytest.mark.parametrize("hidden", [(), (3,), (4, 4, 4)])
def test_any_number_of_hidden_layers(hidden: tuple[int, ...]) -> None:
    policy, critic, batch = make_policy(hidden=hidden), make_critic(hidden=hidden), make_batch((5,) * 6)
    for run in range(RUNS):
        out = sequential(policy, run)(batch.observations[run, :, :STEPS])
        close(policy.logprobs(batch)[run], Categorical(logits=out).log_prob(batch.actions[run]))
        close(critic.values(batch)[run], sequential(critic, run)(batch.observations[run])[..., 0])


def test_saved_weights_come_back() -> None:
    for make in (lambda s: make_policy(s, True), make_critic):
        one, other = make(SEEDS), make((1, 2, 3))
        saved, leaf = one.named(), other.theta
        assert all(part.is_contiguous() for part in saved.values())
        other.load_named(saved)
        assert torch.equal(other.theta, one.theta)
        assert other.theta is leaf
        with torch.no_grad():
            one.theta.zero_()
        assert torch.equal(other.named()["layers.0.weight"], saved["layers.0.weight"])
        assert (saved["layers.0.weight"] != 0).all()


def test_weights_of_other_networks_are_refused() -> None:
    policy = make_policy()
    weights = policy.named()
    for wrong in (make_policy((1, 2)).named(), make_policy(hidden=(6,)).named(), make_critic().named(), {}):
        with pytest.raises(UserError, match="do not match networks of shapes"):
            policy.load_named(wrong)
    assert torch.equal(policy.named()["layers.2.bias"], weights["layers.2.bias"])


def test_dropout_is_nothing() -> None:
    policy, batch = make_policy(), make_batch()
    before = policy.logprobs(batch)
    policy.dropout(True)
    assert torch.equal(policy.logprobs(batch), before)
