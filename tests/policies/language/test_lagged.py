"""Which weights sample which turn, and what is drawn ahead."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
import tiny
import torch

from burnish.policies.interface import Sampled, Sampler, SamplingKnobs, Spent, Wanted
from burnish.policies.language.lagged import AheadSampler, LaggedSampler, PastWeights, kept
from burnish.policies.language.policy import LanguagePolicy

KNOBS = SamplingKnobs(3, 4)


def wanted(turn: int) -> Wanted:
    return Wanted([[0, 5]], [turn], KNOBS)


def number_of(policy: LanguagePolicy) -> float:
    """What all its weights are, see `learn`."""
    (found,) = {value for p in policy.parameters().values() for value in p.unique().tolist()}
    return found


@torch.no_grad()
def learn(policy: LanguagePolicy, turn: float) -> None:
    """The policy as it is at the start of a turn: every weight is the turn's number."""
    for p in policy.parameters().values():
        p.fill_(turn)


class Noting:
    """A sampler in this process: its one log-probability is what the policy's weights are."""

    exact = True

    def __init__(self, policy: LanguagePolicy) -> None:
        self.policy, self.loads = policy, list[tuple[float, int]]()

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        return Sampled([[4]], [[number_of(self.policy)]], [False], self.loads[-1][1])

    def load(self, weights: Mapping[str, torch.Tensor], version: int) -> None:
        self.loads.append((number_of(self.policy), version))


class Elsewhere(Noting):
    """A sampler that draws ahead: its token is the random stream, and its log-probabilities are the weights that it
    was given, and those of the policy where it is waited for."""

    def __init__(self, policy: LanguagePolicy) -> None:
        super().__init__(policy)
        self.events: list[Any] = []

    def packed(self, version: int) -> Any:
        return number_of(self.policy), version

    def start(self, handed: Any, asked: Wanted) -> Callable[[Spent], Sampled]:
        weights, version = handed
        (stream,) = asked.streams
        self.events.append((stream, weights, version))

        def finish(spent: Spent) -> Sampled:
            spent["sampling"] += 10 * stream
            return Sampled([[stream]], [[weights, number_of(self.policy)]], [False], version)

        return finish

    def settle(self) -> None:
        self.events.append("settle")

    def close(self) -> None:
        self.events.append("close")


def test_a_turn_is_sampled_with_the_weights_of_two_turns_before() -> None:
    policy = tiny.make_policy("gpt2", double=False)
    past = PastWeights(policy, 2)
    for turn, source in enumerate([0, 0, 0, 1, 2, 3]):
        learn(policy, turn)
        past.begin(turn)
        learn(policy, turn + 0.5)  # in the middle of its updates
        before = {name: (p.data_ptr(), p.clone()) for name, p in policy.parameters().items()}
        assert past.source(turn) == source
        for earlier in range(source, turn + 1):
            with past.at(earlier):
                assert number_of(policy) == earlier
        assert sorted(past.copies) == list(range(source, turn + 1))
        for name, p in policy.parameters().items():
            assert p.data_ptr() == before[name][0]
            assert torch.equal(p, before[name][1])


def test_the_weights_come_back_where_sampling_fails() -> None:
    policy = tiny.make_policy("gpt2", double=False)
    past = PastWeights(policy, 1)
    past.begin(0)
    learn(policy, 7)
    with pytest.raises(ZeroDivisionError), past.at(0):
        raise ZeroDivisionError
    assert number_of(policy) == 7


def test_a_checkpoint_has_what_the_next_turns_need() -> None:
    """Between the turns 3 and 4: turn 4 needs the weights of turn 2, and turn 5 those of turn 3."""
    policy = tiny.make_policy("gpt2", double=False)
    past, again = PastWeights(policy, 2), PastWeights(policy, 2)
    for turn in range(4):
        learn(policy, turn)
        past.begin(turn)
    saved = past.tensors(4)
    assert {int(name.split("/")[0]) for name in saved} == {2, 3}
    assert len(saved) == 2 * len(policy.parameters())
    again.restore(saved)
    learn(policy, 4)
    again.begin(4)
    for turn in (2, 3, 4):
        with again.at(turn):
            assert number_of(policy) == turn
    assert {int(name.split("/")[0]) for name in again.tensors(4)} == {2, 3}  # as where turn 4 fails


def test_a_copy_lies_in_memory_as_its_parameter_does() -> None:
    parameter = torch.randn(3, 5).t()
    assert kept(parameter.contiguous(), parameter).stride() == parameter.stride() == (1, 5)
    copy = kept(parameter, parameter)
    assert torch.equal(copy, parameter)
    assert copy.data_ptr() != parameter.data_ptr()


def test_the_sampler_of_this_process_draws_when_it_is_asked() -> None:
    policy = tiny.make_policy("gpt2", double=False)
    own = Noting(policy)
    sampler = LaggedSampler(own, PastWeights(policy, 1))
    assert isinstance(sampler, Sampler)
    assert not sampler.exact
    for turn, source in enumerate([0, 0, 1, 2]):
        learn(policy, turn)
        sampler.begin(turn, 99, wanted)
        for _ in range(2):  # as in a dialogue
            found = sampler.sample([[0, 5]], [turn], KNOBS)
            assert (found.logprobs, found.version, sampler.version) == ([[source]], source, source)
            assert 0 < sampler.spent["sampling"] == sampler.spent["waiting"]  # nothing is drawn ahead
        assert number_of(policy) == turn
    assert own.loads == [(0, 0), (1, 1), (2, 2)]
    sampler.load({}, 30)  # an evaluation in the middle of a turn
    sampler.sample([[0, 5]], [3], KNOBS)
    assert own.loads[3:] == [(3, 30), (2, 2)]
    sampler.close()


def test_one_elsewhere_draws_the_turns_up_to_the_lag() -> None:
    """With two turns ahead, of five in all: at first three of them, then one in each turn."""
    policy = tiny.make_policy("gpt2", double=False)
    other = Elsewhere(policy)
    assert isinstance(other, AheadSampler)
    assert not isinstance(Noting(policy), AheadSampler)
    sampler, begun = LaggedSampler(other, PastWeights(policy, 2)), []
    for turn in range(5):
        learn(policy, turn)
        sampler.begin(turn, 4, wanted)
        begun.append(other.events[:])
        other.events.clear()
        source = max(0, turn - 2)
        found = sampler.sample([[0, 5]], [turn], KNOBS)
        assert (found.tokens, found.logprobs) == ([[turn]], [[source, source]])  # compared with what sampled
        assert (sampler.spent["sampling"], sampler.spent["waiting"]) == (10 * turn, 0)
        assert sampler.spent["packing"] > 0
    assert begun == [[(0, 0, 0), (1, 0, 0), (2, 0, 0)], [(3, 1, 1)], [(4, 2, 2)], [], []]
    assert other.loads == []


def test_a_resumed_run_begins_what_was_drawn_ahead_anew() -> None:
    policy = tiny.make_policy("gpt2", double=False)
    past = PastWeights(policy, 2)
    for turn in range(4):
        learn(policy, turn)
        past.begin(turn)
    other, again = Elsewhere(policy), PastWeights(policy, 2)
    again.restore(past.tensors(4))
    learn(policy, 4)
    LaggedSampler(other, again).begin(4, 99, wanted)
    assert other.events == [(4, 2, 2), (5, 3, 3), (6, 4, 4)]


def test_what_was_not_drawn_ahead_is_drawn_when_nothing_else_is() -> None:
    """Turn 0 asks for other prompts than was known, and turn 1 was not known at all."""
    policy = tiny.make_policy("gpt2", double=False)
    other = Elsewhere(policy)
    sampler = LaggedSampler(other, PastWeights(policy, 1))
    learn(policy, 0)
    sampler.begin(0, 9, lambda turn: wanted(0) if turn == 0 else None)
    other.events.clear()
    assert sampler.sample([[0, 6]], [0], KNOBS).logprobs == [[0.0]]
    assert (other.events, other.loads) == (["settle"], [(0, 0)])
    sampler.close()
    assert other.events[-1] == "close"
