"""A sampler behind a server: `burnish serve` or vLLM, in this machine or another.

After every update it is given the policy's weights, and nothing that it answers is taken on trust: what its reply says
of itself is compared with what it was given, its completions with what was asked for, and its log-probabilities with
the policy's own (`handshake`).
"""

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.policies.interface import Sampled, SamplerError, SamplingKnobs, Spent, Wanted
from burnish.policies.language.connection import Connection, Handed
from burnish.policies.language.handed import weights_of
from burnish.policies.language.handshake import bound_for, difference, probe, shaken
from burnish.policies.language.policy import LanguagePolicy
from burnish.policies.language.reference import hash_tensors
from burnish.policies.language.sampler import check_knobs, limits_of
from burnish.policies.language.vllm import recognised
from burnish.run.background import Background
from burnish.run.world import ALONE, World

Rows = list[tuple[list[int], list[float]]]
"""Ids and log-probabilities of completions."""


class ServedSampler:
    """The sampler at `url`, for a policy.

    `folder`, `timeout`, `tries` and `pause`: see `Connection`. `bound` is the largest difference of a log-probability;
    None: by the dtypes, see `bound_for`. With `scoring` every completion is scored by the policy as soon as it is
    there, unless top-k or top-p shaped it; else that is left to `compare`. Raises UserError where there is no such
    server, or it has another tokenizer.
    """

    exact = False

    def __init__(
        self,
        policy: LanguagePolicy,
        url: str,
        folder: Path | None = None,
        *,
        timeout: float = 600.0,
        tries: int = 3,
        pause: float = 1.0,
        bound: float | None = None,
        world: World = ALONE,
        scoring: bool = False,
    ) -> None:
        self.policy, self.world, self.scoring = policy, world, scoring
        self.connection = Connection(policy, url, folder, timeout, tries, pause)
        self.server = self.connection.server = world.from_main(self.greeted)
        self.proved = "weights_sha256" in self.server
        self.bound = bound_for(self.server, policy) if bound is None else bound
        self.handed = Handed("", -1, dict)
        self.background = Background("sampler")

    def greeted(self) -> dict[str, Any]:
        """What the server says of itself, in its own dialect, which is spoken from now on."""
        self.connection = recognised(self.connection)
        return self.connection.greeted()

    @property
    def version(self) -> int:
        """That of the weights which were loaded last."""
        return self.handed.version

    def load(self, weights: Mapping[str, Tensor], version: int) -> None:
        """Hand over the policy's weights as they are now, and compare a few tokens that are sampled with them.

        `weights` are the trained ones, which are in the policy already; its others are handed over with them. Raises
        SamplerError where the server does not load them, or samples with others.
        """
        self.prove()
        self.given(version)
        prompts, streams, knobs = probe(self.policy, version)
        self.score(prompts, self.drawn(prompts, streams, knobs), knobs, "a probe")

    def given(self, version: int) -> None:
        """Hand over the policy's weights as they are now."""
        tensors = self.sent()
        self.handed = Handed(hash_tensors(tensors), version, self.sent)  # no copy is kept: they are gathered again
        self.world.from_main(lambda: self.connection.hand_over(Handed(self.handed.sha256, version, lambda: tensors)))

    def prove(self) -> None:
        """Find out once whether a server loads what it is given, where its replies do not say which weights it has.

        It is handed very different weights, so that the first updates, which move a log-probability by less than
        rounding does, need not tell. Raises SamplerError where it does not sample with them.
        """
        if self.proved:
            return
        prompts, streams, knobs = probe(self.policy, 0)
        with shaken(self.policy):
            self.given(0)
            found = self.drawn(prompts, streams, knobs)
            self.score(prompts, found, knobs, "a trial with other weights")
        self.policy.dropout(False)
        if self.within(difference(self.policy, prompts, found, knobs.temperature, self.world)):
            raise SamplerError(
                f"a bound of {self.bound:g} does not tell whether the sampler at {self.connection.shown} loads the "
                "weights that it is given: set a smaller sampler_bound"
            )
        self.proved = True

    def sent(self) -> dict[str, Tensor]:
        """The policy's weights in the server's dtypes."""
        kinds: dict[str, str] = self.server.get("other_dtypes") or {}
        others = {name: getattr(torch, kind) for name, kind in kinds.items()}
        return weights_of(self.policy, getattr(torch, self.server["dtype"]), others)

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """One completion per prompt, as the policy's own sampler draws them from these random streams."""
        found = self.drawn(prompts, streams, knobs)
        if self.scoring and knobs.top_k is None and knobs.top_p is None:
            self.score(prompts, found, knobs, f"{len(prompts)} completions")
        return found

    def score(self, prompts: Sequence[Sequence[int]], found: Sampled, knobs: SamplingKnobs, where: str) -> None:
        """Raise SamplerError where completions are not the policy's."""
        self.policy.dropout(False)
        apart = difference(self.policy, prompts, found, knobs.temperature, self.world)
        self.refuse(apart, f"{apart.numel():,} tokens of {where}", found.version)

    def drawn(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        """`sample`, without scoring."""
        wanted = Wanted(prompts, streams, knobs)
        limits = self.limits(wanted)
        found = self.world.from_main(lambda: self.connection.asked(self.handed, wanted, limits))
        return self.sampled(found, self.version)

    def limits(self, wanted: Wanted) -> list[int]:
        """The largest length of each completion. Raises UserError for what cannot be asked for."""
        knobs = wanted.knobs
        check_knobs(knobs.max_new_tokens, knobs.temperature, knobs.top_k, knobs.top_p)
        return limits_of(self.policy, wanted.prompts, knobs.max_new_tokens)

    def sampled(self, found: Rows, version: int) -> Sampled:
        tokens, logprobs = [ids for ids, _ in found], [values for _, values in found]
        return Sampled(tokens, logprobs, [self.policy.ends.ended(ids) for ids in tokens], version)

    def packed(self, version: int) -> Handed:
        """The policy's weights as they are now, to `start` with."""
        self.prove()
        tensors = self.sent() if self.world.is_main else {}
        return Handed(hash_tensors(tensors) if tensors else "", version, lambda: tensors)

    def start(self, handed: Handed, wanted: Wanted) -> Callable[[Spent], Sampled]:
        """Begin to draw with these weights in another thread; what is returned waits for the completions, and scores
        them with the policy's weights as they are then. It adds the seconds of drawing, and of waiting for that, to
        what it is given.

        What is started is done in its order, so that each has its own weights. Nothing else may be asked before all of
        it is there, see `settle`.
        """
        limits = self.limits(wanted)
        future: Future[tuple[Rows, float]] | None = None
        if self.world.is_main:

            def draw() -> tuple[Rows, float]:
                began = time.perf_counter()
                self.connection.hand_over(handed)
                return self.connection.asked(handed, wanted, limits), time.perf_counter() - began

            future = self.background.call(draw)

        def finish(spent: Spent) -> Sampled:
            began = time.perf_counter()
            rows, seconds = self.world.from_main(lambda: ([], 0.0) if future is None else future.result())
            spent["waiting"] += time.perf_counter() - began
            spent["sampling"] += seconds
            found = self.sampled(rows, handed.version)
            self.score(wanted.prompts, found, wanted.knobs, f"{len(wanted.prompts)} completions")
            return found

        return finish

    def settle(self) -> None:
        """Wait until all that was started is there, or has failed."""
        self.background.settle()

    def close(self) -> None:
        """Leave out what was started and has not begun."""
        self.background.close()

    def compare(self, logprobs: Tensor, sampler_logprobs: Tensor, mask: Tensor) -> None:
        """Raise SamplerError where the sampler's log-probabilities are not the policy's."""
        apart = (logprobs.double() - sampler_logprobs.double())[mask].abs()
        self.refuse(apart, f"{apart.numel():,} tokens of a rollout", self.version)

    def refuse(self, apart: Tensor, where: str, version: int) -> None:
        """Raise SamplerError for differences of log-probabilities above the bound, or a tenth of it on average."""
        if self.within(apart):
            return
        most, mean = apart.max().item(), apart.mean().item()
        raise SamplerError(
            f"the sampler at {self.connection.shown} says that it has the weights of version {version}, but its "
            f"log-probabilities are not theirs: those of {where} differ by up to {most:.3g} and by {mean:.3g} on "
            f"average, where {self.bound:g} and {self.bound / 10:g} are allowed; start the server again"
        )

    def within(self, apart: Tensor) -> bool:
        """Whether differences of log-probabilities are at most the bound, and a tenth of it on average."""
        most, mean = (apart.max().item(), apart.mean().item()) if apart.numel() else (0.0, 0.0)
        return most <= self.bound and mean <= self.bound / 10  # False where one is NaN
