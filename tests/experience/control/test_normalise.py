from typing import Any

import numpy as np

from burnish.experience.control.normalise import ObservationNormaliser, RewardNormaliser


def test_observations_by_everything_each_run_has_seen() -> None:
    """numpy's own mean and variance of the list of all that was real; what was not is NaN."""
    rng = np.random.default_rng(0)
    normalise, seen = ObservationNormaliser(3, 2), [[], [], []]
    for step in range(12):
        observations = rng.normal([5.0, -100.0], [2.0, 0.01], size=(3, 4, 2))
        real = rng.random((3, 4)) < 0.5
        real[1] &= step < 4  # Waits from then on.
        observations[~real] = np.nan
        normalise.update(observations, real)
        for r in range(3):
            seen[r].extend(observations[r][real[r]])
        shown = rng.normal([5.0, -100.0], [2.0, 0.01], size=(3, 4, 2))
        for r in range(3):
            if seen[r]:
                mean, variance = np.mean(seen[r], axis=0), np.var(seen[r], axis=0)
                expected = np.clip((shown[r] - mean) / np.sqrt(variance + 1e-8), -10, 10)
                np.testing.assert_allclose(normalise(shown)[r], expected, rtol=1e-6)


def test_before_anything_was_seen_observations_are_only_clipped() -> None:
    normalise = ObservationNormaliser(1, 2, clip=2.0)
    normalise.update(np.full((1, 3, 2), np.nan), np.zeros((1, 3), bool))
    np.testing.assert_allclose(normalise(np.array([[[0.5, -7.0]]])), [[[0.5, -2.0]]], rtol=1e-6)


def test_by_hand() -> None:
    """1 and 3 have mean 2 and variance 1, so that 4 is 2 above; with a 5 mean 3 and variance 8/3: 4 is √(3/8)."""
    normalise = ObservationNormaliser(1, 1)
    normalise.update(np.array([[[1.0], [3.0]]]), np.array([[True, True]]))
    np.testing.assert_allclose(normalise(np.array([[[4.0]]])), [[[2.0]]], rtol=1e-6)
    normalise.update(np.array([[[5.0], [9.0]]]), np.array([[True, False]]))
    np.testing.assert_allclose(normalise(np.array([[[4.0]]])), [[[np.sqrt(3 / 8)]]], rtol=1e-6)
    np.testing.assert_allclose(normalise(np.array([[[4e9], [-4e9]]])), [[[10.0], [-10.0]]])


def test_a_large_offset_costs_no_precision() -> None:
    """The variance of 10⁸ ± 1 is 1; a mean of squares would be off by whole numbers."""
    normalise = ObservationNormaliser(1, 1)
    for _ in range(1000):
        normalise.update(np.array([[[1e8 - 1], [1e8 + 1]]]), np.ones((1, 2), bool))
    np.testing.assert_allclose(normalise(np.array([[[1e8 + 2]]])), [[[2.0]]], rtol=1e-5)


def test_observations_keep_their_dtype_and_any_dimensions_between() -> None:
    normalise = ObservationNormaliser(2, 3)
    normalise.update(np.arange(12, dtype=np.float32).reshape(2, 2, 3), np.ones((2, 2), bool))
    shown = np.linspace(-2, 20, 60, dtype=np.float32).reshape(2, 2, 5, 3)
    wide = normalise(shown)
    assert wide.dtype == np.float32
    for t in range(5):
        np.testing.assert_array_equal(wide[:, :, t], normalise(shown[:, :, t]))
    assert normalise(shown.astype(np.float64)).dtype == np.float64


def rewards_by_hand(story: list[tuple[Any, Any, Any]], gamma: float) -> list[list[float]]:
    """One run: the rewards over the spread of every discounted return so far, with lists and loops."""
    running, returns, told = [0.0] * len(story[0][0]), [], []
    for rewards, ended, real in story:
        for e, reward in enumerate(rewards):
            if real[e]:
                running[e] = gamma * running[e] + reward
                returns.append(running[e])
                running[e] = 0.0 if ended[e] else running[e]
        spread = np.sqrt(np.var(returns) + 1e-8) if returns else 1.0
        told.append([max(-10.0, min(10.0, r / spread)) if real[e] else 0.0 for e, r in enumerate(rewards)])
    return told


def test_rewards_by_the_spread_of_the_discounted_return() -> None:
    rng, gamma = np.random.default_rng(3), 0.9
    normalise = RewardNormaliser(3, 4, gamma)
    stories: list[list[Any]] = [[], [], []]
    for step in range(40):
        rewards, ended, real = rng.normal(1, 3, (3, 4)), rng.random((3, 4)) < 0.2, rng.random((3, 4)) < 0.8
        real[1] &= step % 5 == 0
        rewards[~real] = np.nan
        scaled = normalise(rewards, ended, real)
        for r in range(3):
            stories[r].append((rewards[r], ended[r], real[r]))
            np.testing.assert_allclose(scaled[r], rewards_by_hand(stories[r], gamma)[-1], rtol=1e-6)


def test_the_clip_of_rewards() -> None:
    """A first return has no spread: whatever it is, it comes out at the clip."""
    normalise = RewardNormaliser(1, 1, 0.9, clip=3.0)
    assert normalise(np.array([[0.5]]), np.zeros((1, 1), bool), np.ones((1, 1), bool)).tolist() == [[3.0]]


def test_who_is_kept_goes_on_with_its_own() -> None:
    rng = np.random.default_rng(5)
    observe, reward = ObservationNormaliser(3, 2), RewardNormaliser(3, 2, 0.9)
    alone, alone_reward = ObservationNormaliser(1, 2), RewardNormaliser(1, 2, 0.9)
    none, every = np.zeros((3, 2), bool), np.ones((3, 2), bool)
    for step in range(4):
        observations, rewards = rng.normal(size=(3, 2, 2)), rng.normal(size=(3, 2))
        observe.update(observations, every & np.array([[step < 2], [True], [True]]))
        reward(rewards, none, every)
        alone.update(observations[2:], every[2:])
        alone_reward(rewards[2:], none[2:], every[2:])
    observe.keep([2, 0])
    reward.keep([2, 0])
    observations, rewards = rng.normal(size=(2, 2, 2)), rng.normal(size=(2, 2))
    observe.update(observations, every[:2])
    alone.update(observations[:1], every[:1])
    np.testing.assert_allclose(observe(observations)[0], alone(observations[:1])[0])
    theirs = alone_reward(rewards[:1], none[:1], every[:1])
    np.testing.assert_allclose(reward(rewards, none[:2], every[:2])[0], theirs[0])
