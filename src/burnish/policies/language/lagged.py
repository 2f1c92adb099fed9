"""Sampling behind learning: a turn's completions are drawn with the weights that the policy had some turns before.

Turn t is sampled with the weights that the policy had at the start of turn max(0, t − lag). Which those are is a
function of t alone, and the weights that are still needed are in the checkpoints: a run that was killed goes on to the
same bits. A sampler elsewhere draws the next turns meanwhile, as far as it is known what they ask for.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from burnish.policies.interface import Sampled, Sampler, SamplingKnobs, Spent, Wanted
from burnish.policies.language.policy import LanguagePolicy

SPENT = ("packing", "sampling", "waiting")
"""What a turn spends time on beside learning: copying weights, drawing completions, waiting for these."""


class PastWeights:
    """Copies of the policy's trained weights at the start of its latest turns, on the CPU: this turn's and those of
    `lag` turns before it."""

    def __init__(self, policy: LanguagePolicy, lag: int) -> None:
        self.policy, self.lag, self.turn = policy, lag, 0
        self.copies: dict[int, dict[str, Tensor]] = {}

    def begin(self, turn: int) -> None:
        """Keep the weights as they are now for this turn, and no more those that it does not need."""
        own = {name: kept(p, p) for name, p in self.policy.parameters().items()}
        self.turn, self.copies = turn, self._needed(turn) | {turn: own}

    def source(self, turn: int) -> int:
        """The turn whose weights sample this one."""
        return max(0, turn - self.lag)

    @contextmanager
    def at(self, turn: int) -> Iterator[None]:
        """Inside, the policy has the weights of the start of that turn; afterwards the very bits that it had."""
        own = {name: (p, p.data) for name, p in self.policy.parameters().items()}
        for name, (p, data) in own.items():
            p.data = self.copies[turn][name].to(data.device)
        try:
            yield
        finally:
            for p, data in own.values():
                p.data = data

    def _needed(self, turn: int) -> dict[int, dict[str, Tensor]]:
        """The copies that this turn and those behind it need, besides its own."""
        return {before: copy for before, copy in self.copies.items() if self.source(turn) <= before < turn}

    def tensors(self, turn: int) -> dict[str, Tensor]:
        """What a checkpoint holds from which this turn is the next, by turn and name: `12/model.norm.weight`."""
        copies = self._needed(turn)
        return {f"{before}/{name}": copy for before, one in copies.items() for name, copy in one.items()}

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the copies back from what a checkpoint holds."""
        self.copies, own = {}, self.policy.parameters()
        for path, tensor in tensors.items():
            turn, _, name = path.partition("/")
            self.copies.setdefault(int(turn), {})[name] = kept(tensor, own[name])


def kept(tensor: Tensor, parameter: Tensor) -> Tensor:
    """A copy on the CPU, in memory as the parameter is: another order of its numbers may round otherwise."""
    return torch.empty_like(parameter.detach(), device="cpu").copy_(tensor.detach())


@runtime_checkable
class AheadSampler(Sampler, Protocol):
    """A sampler that draws while the policy learns, see `ServedSampler`."""

    def packed(self, version: int) -> Any: ...
    def start(self, handed: Any, wanted: Wanted) -> Callable[[Spent], Sampled]: ...
    def settle(self) -> None: ...
    def close(self) -> None: ...


class LaggedSampler:
    """A sampler for the policy of some turns ago, by another one for the policy as it is.

    Its log-probabilities are never those of the present policy, which has to compute them itself. One elsewhere must
    score its completions by itself: here that is done with the weights that sampled.
    """

    exact = False

    def __init__(self, sampler: Sampler, past: PastWeights) -> None:
        self.sampler, self.past = sampler, past
        self.ahead = sampler if isinstance(sampler, AheadSampler) else None
        self.started: dict[int, tuple[Wanted, Callable[[Spent], Sampled]]] = {}
        self.loaded: int | None = None
        self.spent: Spent = dict.fromkeys(SPENT, 0.0)

    @property
    def version(self) -> int:
        """The turn whose weights sample now."""
        return self.past.source(self.past.turn)

    def begin(self, turn: int, last: int, wanted: Callable[[int], Wanted | None]) -> None:
        """Begin a turn with the policy's weights as they are now, and have what can work ahead draw the next ones.

        `wanted` gives what a turn asks for first, None where that is not known yet; there are turns up to `last`.
        `spent` has from now on the seconds of this turn; its sampling may have been in earlier ones.
        """
        began = time.perf_counter()
        self._begin(turn, last, wanted)
        self.spent = dict.fromkeys(SPENT, 0.0) | {"packing": time.perf_counter() - began}

    def _begin(self, turn: int, last: int, wanted: Callable[[int], Wanted | None]) -> None:
        self.past.begin(turn)
        self.started = {number: one for number, one in self.started.items() if number >= turn}
        if self.ahead is None:
            return
        handed: dict[int, Any] = {}
        for number in range(turn, min(turn + self.past.lag, last) + 1):
            if number in self.started or (asked := wanted(number)) is None:
                continue
            source = self.past.source(number)
            if source not in handed:
                with self.past.at(source):
                    handed[source] = self.ahead.packed(source)
            self.started[number] = (asked, self.ahead.start(handed[source], asked))
            self.loaded = None

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """One completion per prompt: those that were drawn ahead, if these are the ones, or else now."""
        wanted, turn = Wanted(prompts, streams, knobs), self.past.turn
        asked, finish = self.started.pop(turn, (None, None))
        with self.past.at(self.version):
            if finish is not None and asked == wanted:
                return finish(self.spent)
            began = time.perf_counter()
            self.settle()
            if self.loaded != self.version:
                self.sampler.load(self.past.policy.parameters(), self.version)
                self.loaded = self.version
            found = self.sampler.sample(prompts, streams, knobs)
            seconds = time.perf_counter() - began
            for name in ("sampling", "waiting"):  # the turn waits for what is drawn now
                self.spent[name] += seconds
            return found

    def load(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Sample the next completions with the policy as it is, through the sampler that this one uses: for an
        evaluation."""
        self.settle()
        self.loaded = None
        self.sampler.load(weights, version)

    def settle(self) -> None:
        """Wait for what is drawn ahead."""
        if self.ahead is not None:
            self.ahead.settle()

    def close(self) -> None:
        """Draw no further."""
        if self.ahead is not None:
            self.ahead.close()
