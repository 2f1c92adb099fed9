"""Rewards from comparisons: only a judge of pairs of segments sees the environment's rewards.

A teacher stands between the experience and the loop: it keeps recent segments of every run, asks the judge which of two
is better, trains the run's reward predictor on the answers, and replaces the rewards by predictions. The algorithm
learns from these without any change.

Christiano et al. (2017), "Deep Reinforcement Learning from Human Preferences" (arXiv 1706.03741), section 2.2.
Differs: predictor and policy alternate, where the paper runs them in parallel; a member's bootstrap sample is drawn as
labels come in (a label enters it Poisson(1) times: Oza & Russell 2001, "Online Bagging"); the rate of labels decays
with the share of a run, where the paper counts frames; the judge answers every question.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from burnish.batches import Drawn, Transitions
from burnish.experience.control.normalise import Moments
from burnish.options import check, option
from burnish.rewards.predicted import PredictedReward, Predictor
from burnish.run import UserError

LABEL_STREAM = 6
ALBUM = 16  # segments per rollout that are kept to measure predictors


@dataclass(frozen=True)
class Comparisons:
    """How many labels a run asks for, when, and about which segments."""

    labels: int = option(700, "comparisons that the judge answers in a run", ge=1, most=1_000_000)
    when: Literal["learning", "start"] = option("learning", "start: ask for all labels about the first policy")
    choose: Literal["variance", "random"] = option("variance", "ask about the pairs the ensemble disagrees on, or any")
    segment: int = option(25, "steps per segment", ge=1)
    warmup: int = option(2, "rollouts of the first policy before anything is learned", ge=1)
    first: float = option(0.25, "share of the labels asked for after the warm-up", gt=0, le=1)
    until: float = option(0.8, "share of a run's episodes by which all labels have been asked for", gt=0, le=1)
    decay: float = option(0.25, "share of that time after which the rate of labels has halved", gt=0)
    candidates: int = option(10, "pairs drawn per label, where the ensemble chooses", ge=1, most=10_000)
    recent: int = option(
        256,
        "segments that labels are about and rewards are normalised over: the latest",
        ge=2,
        why="a comparison has two",
    )
    fits: int = option(40, "steps of the predictor after each rollout that brought labels", ge=1)
    first_fits: int = option(400, "the same, the first time", ge=1)
    batch_size: int = option(32, "comparisons per step of the predictor and member", ge=1, most=1_000_000)
    predictor: Predictor = field(default_factory=Predictor)

    def __post_init__(self) -> None:
        check(self)

    def due(self, progress: float) -> int:
        """The number of labels that a run should have after this share of its episodes.

        first·N + (1 − first)·N·log(1 + p/decay) / log(1 + 1/decay),  p = progress/until, at most 1

        The rate is proportional to decay / (p + decay), as in the paper's section A.1.
        """
        if self.when == "start":
            return self.labels
        share = np.log1p(min(progress / self.until, 1.0) / self.decay) / np.log1p(1 / self.decay)
        return round(self.labels * (self.first + (1 - self.first) * float(share)))


@dataclass(frozen=True)
class Actions:
    """Actions as a predictor sees them: one-hot among `count`, or real numbers clipped to their bounds."""

    count: int
    low: np.ndarray | None = None
    high: np.ndarray | None = None

    def __call__(self, actions: Tensor, like: Tensor) -> Tensor:
        """[..., F] with the dtype of `like`."""
        if self.low is None or self.high is None:
            return torch.nn.functional.one_hot(actions.long(), self.count).to(like)
        bounds = (torch.as_tensor(x.reshape(-1)).to(like) for x in (self.low, self.high))
        return torch.clamp(actions.to(like), *bounds)


class Memory:
    """One run's recent segments, its labelled pairs, and samples to measure its predictor with."""

    def __init__(self, seed: int, knobs: Comparisons, like: Tensor, inputs: int) -> None:
        self.knobs = knobs
        self.stream = np.random.Generator(np.random.PCG64([seed, LABEL_STREAM]))
        self.segments = like.new_zeros(0, knobs.segment, inputs)
        self.totals = like.new_zeros(0, dtype=torch.float64)  # true, for the judge
        self.numbers = np.zeros(0, dtype=np.int64)  # of the segments, in the order in which they were lived
        self.pairs = like.new_zeros(0, 2, knobs.segment, inputs)
        self.labels = like.new_zeros(0)
        self.asked: list[tuple[int, int]] = []
        self.bags: list[list[int]] = [[] for _ in range(knobs.predictor.members)]
        self.album: list[tuple[Tensor, Tensor]] = []
        self.late: list[tuple[Tensor, Tensor]] = []
        self.seen = 0

    def add(self, segments: Float[Tensor, "n L F"], rewards: Float[Tensor, "n L"]) -> None:
        """Add segments with their true rewards; the oldest are dropped."""
        last = slice(-self.knobs.recent, None)
        self.segments = torch.cat([self.segments, segments])[last]
        self.totals = torch.cat([self.totals, rewards.double().sum(-1)])[last]
        self.numbers = np.concatenate([self.numbers, self.seen + np.arange(len(segments))])[last]
        self.seen += len(segments)
        if len(segments):
            some = np.unique(np.linspace(0, len(segments) - 1, ALBUM).astype(int))
            self.album.append((segments[some].flatten(0, 1), rewards[some].flatten()))

    def candidates(self, count: int) -> np.ndarray:
        """Random pairs of different recent segments, `[count, 2]` positions."""
        n = len(self.segments)
        first = self.stream.integers(n, size=count)
        return np.stack([first, (first + 1 + self.stream.integers(n - 1, size=count)) % n], axis=1)

    def ask(self, pairs: np.ndarray) -> None:
        """Let the judge compare these pairs: 1, 0, or ½ where the sums of true rewards are equal."""
        index = torch.from_numpy(pairs)
        first, second = self.totals[index].unbind(-1)
        labels = torch.where(first == second, 0.5, (first > second).double())
        at = len(self.labels)
        self.pairs = torch.cat([self.pairs, self.segments[index]])
        self.labels = torch.cat([self.labels, labels.to(self.labels)])
        self.asked += [(int(a), int(b)) for a, b in self.numbers[pairs]]
        for bag, times in zip(self.bags, self.stream.poisson(1.0, (len(self.bags), len(pairs))), strict=True):
            bag += np.repeat(np.arange(at, at + len(pairs)), times).tolist()

    def draw(self, steps: int) -> np.ndarray:
        """The comparisons per step and member, `[steps, M, P]`, from each member's own bootstrap sample."""
        size = (steps, self.knobs.batch_size)
        bags = [np.array(bag or range(len(self.labels))) for bag in self.bags]
        return np.stack([bag[self.stream.integers(len(bag), size=size)] for bag in bags], axis=1)


class Teacher:
    """Memories and predictors of R runs in lockstep, numbered from `first`; `measured` has the correlations of finished
    runs."""

    def __init__(self, knobs: Comparisons, actions: Actions, seeds: Sequence[int], first: int = 0) -> None:
        self.knobs, self.actions, self.seeds = knobs, actions, list(seeds)
        self.runs = list(range(first, first + len(seeds)))
        self.memories: list[Memory] = []
        self.measured: dict[int, dict[str, Any]] = {}
        self.rollouts, self.loss = 0, float("nan")

    def begin(self, features: Float[Tensor, "runs B T F"]) -> None:
        """Create memories and predictors for features of this size and dtype."""
        inputs = features.shape[-1]
        self.memories = [Memory(seed, self.knobs, features, inputs) for seed in self.seeds]
        self.scale = Moments(len(self.seeds), inputs)
        place: dict[str, Any] = {"dtype": features.dtype, "device": features.device}
        self.predictor = PredictedReward(inputs, self.seeds, self.knobs.predictor, **place)

    def narrow(self, batch: Transitions) -> None:
        """Measure and remove the runs that are no longer in the batch."""
        remaining = batch.runs.tolist()
        if remaining == self.runs:
            return
        index = [self.runs.index(run) for run in remaining]
        if self.memories:
            self.correlate([run for run in self.runs if run not in remaining])
            self.predictor.keep(torch.tensor(index))
            self.scale.keep(index)
            self.memories = [self.memories[i] for i in index]
        self.seeds, self.runs = [self.seeds[i] for i in index], remaining

    def features(self, batch: Transitions) -> Float[Tensor, "runs B T F"]:
        """Observation and action of each step; 0 at masked places."""
        observations = batch.observations[:, :, : batch.mask.shape[-1]]
        actions = torch.where(batch.mask.view(*batch.mask.shape, *[1] * (batch.actions.dim() - 3)), batch.actions, 0)
        both = torch.cat([observations, self.actions(actions, observations)], -1)
        return torch.where(batch.mask[..., None], both, 0.0)

    def watch(self, batch: Transitions, features: Float[Tensor, "runs B T F"]) -> None:
        """Keep the rollout's segments: pieces of one length within one episode."""
        if not self.memories:
            self.begin(features)
        length = self.knobs.segment
        whole = batch.mask.shape[-1] // length * length
        self.scale.update(features.flatten(1, 2).cpu().numpy(), batch.mask.flatten(1).cpu().numpy())
        pieces = features[:, :, :whole].unflatten(2, (-1, length)).flatten(1, 2)
        rewards = batch.rewards[:, :, :whole].unflatten(2, (-1, length)).flatten(1, 2)
        full = batch.mask[:, :, :whole].unflatten(2, (-1, length)).all(-1).flatten(1)
        for memory, piece, reward, real in zip(self.memories, pieces, rewards, full, strict=True):
            memory.add(piece[real], reward[real])
        self.rollouts += 1

    def learn(self, progress: Sequence[float]) -> None:
        """Ask for the labels that are due, and train the predictors of the runs that got some."""
        counts = [self.knobs.due(p) - len(m.labels) for p, m in zip(progress, self.memories, strict=True)]
        for run, count, memory in zip(self.runs, counts, self.memories, strict=True):
            if count > 0 and len(memory.segments) < 2:
                raise UserError(
                    f"run {run} has {len(memory.segments)} segments of {self.knobs.segment} steps to compare: make "
                    "segment shorter, or rollout or warmup longer"
                )
        mean, variance = torch.from_numpy(self.scale.mean), torch.from_numpy(self.scale.variance)
        self.predictor.scale_inputs(mean, variance)
        segments, real = padded([memory.segments for memory in self.memories])
        if max(counts) > 0:
            worth = self.predictor.worth(segments).cpu() if self.knobs.choose == "variance" else None
            steps = [0] * len(counts)
            for r, (count, memory) in enumerate(zip(counts, self.memories, strict=True)):
                if count > 0:
                    steps[r] = self.knobs.fits if len(memory.labels) else self.knobs.first_fits
                    memory.ask(self.chosen(memory, count, None if worth is None else worth[r]))
            self.fit(steps)
        self.predictor.scale_outputs(segments.flatten(1, 2), real.repeat_interleave(self.knobs.segment, 1))

    def chosen(self, memory: Memory, count: int, worth: Float[Tensor, "M n"] | None) -> np.ndarray:
        """`count` pairs to ask about: those of many candidates on which the members disagree most, or random ones."""
        if worth is None:
            return memory.candidates(count)
        pairs = memory.candidates(count * self.knobs.candidates)
        first, second = worth[:, torch.from_numpy(pairs)].unbind(-1)
        spread = (first - second).sigmoid().var(0, unbiased=False)
        return pairs[spread.argsort(descending=True, stable=True)[:count].numpy()]

    def fit(self, steps: Sequence[int]) -> None:
        """Train each predictor for its number of steps, on all labels of its run."""
        pairs, _ = padded([memory.pairs for memory in self.memories])
        labels, _ = padded([memory.labels for memory in self.memories])
        size = (max(steps), self.knobs.predictor.members, self.knobs.batch_size)
        drawn = np.zeros((len(steps), *size), dtype=np.int64)
        for r, (count, memory) in enumerate(zip(steps, self.memories, strict=True)):
            if count:
                drawn[r, :count] = memory.draw(count)
        index, runs = torch.from_numpy(drawn), torch.arange(len(steps))[:, None, None]
        for step in range(max(steps)):
            which = index[:, step]
            going = torch.tensor([step < count for count in steps], device=pairs.device)
            losses = self.predictor.descend(pairs[runs, which], labels[runs, which], going)
            self.loss = losses[going].mean().item()

    def rewards(self, batch: Transitions, features: Float[Tensor, "runs B T F"]) -> Float[Tensor, "runs B T"]:
        """Predicted rewards of the batch's steps, 0 at masked places; late ones are kept for measuring."""
        predicted = torch.where(batch.mask, self.predictor(features), 0.0)
        late = (batch.progress >= self.knobs.until).tolist()
        for memory, mask, given, true, go in zip(
            self.memories, batch.mask, predicted, batch.rewards, late, strict=True
        ):
            if go:
                memory.late.append((given[mask], true[mask]))
        return predicted

    def correlate(self, runs: Sequence[int]) -> None:
        """Correlate the predicted rewards of these runs with the true ones, step by step.

        `late`: over the steps after all labels were given, with the predictions that were used. `ever`: over a sample
        of the whole run, with the final predictor. None where one of the two does not vary.
        """
        for run in runs:
            r = self.runs.index(run)
            memory = self.memories[r]
            late = [torch.cat(x) for x in zip(*memory.late, strict=True)] if memory.late else None
            album, true = (torch.cat(x) for x in zip(*memory.album, strict=True))
            paid = self.predictor(album.expand(len(self.runs), *album.shape))[r]
            self.measured[run] = {
                "late": correlation(late[0], late[1]) if late else None,
                "ever": correlation(paid, true),
                "labels": len(memory.labels),
            }


def compared(stream: Iterator[Drawn], teacher: Teacher) -> Iterator[Drawn]:
    """The stream's rollouts with the teacher's rewards. The warm-up rollouts are only watched, and dropped."""
    for drawn in stream:
        batch = drawn.batch
        teacher.narrow(batch)
        features = teacher.features(batch)
        teacher.watch(batch, features)
        if teacher.rollouts < teacher.knobs.warmup:
            continue
        teacher.learn(batch.progress.tolist())
        news = {"labels": float(np.mean([len(m.labels) for m in teacher.memories])), "predictor/loss": teacher.loss}
        rewards = teacher.rewards(batch, features)
        yield replace(drawn, batch=replace(batch, rewards=rewards), metrics=drawn.metrics | news)
    if teacher.memories:
        teacher.correlate(teacher.runs)


def padded(rows: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Tensors `[n_r, …]` of R runs as one `[R, n, …]`, padded with zeros, and the mask of real entries `[R, n]`."""
    counts = torch.tensor([len(row) for row in rows], device=rows[0].device)
    real = torch.arange(int(counts.max()), device=counts.device) < counts[:, None]
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True), real


def correlation(a: Tensor, b: Tensor) -> float | None:
    """Pearson's correlation; None where one of the two does not vary."""
    centred = [x.double() - x.double().mean() for x in (a, b)]
    spread = centred[0].square().sum() * centred[1].square().sum()
    return float((centred[0] * centred[1]).sum() / spread.sqrt()) if spread > 0 else None
