"""Dialogues of several turns with an environment, as rows of token ids that only grow.

A row has the ids of the first messages, then in turns what was sampled and what the environment said. Only sampled
tokens are chosen (the mask is True), so that the environment's are context: never trained, and no step of an episode.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from burnish.batches import Demonstrations
from burnish.environments.interface import CALLS, FAILURES, MALFORMED, TIMEOUTS, Environment, Messages
from burnish.environments.limits import within
from burnish.experience.interface import RolloutError, Source
from burnish.policies.interface import Sampled, SamplerError, SamplingKnobs
from burnish.policies.language.decode import Decoder
from burnish.policies.language.layout import completions_batch
from burnish.rewards.completed import Completed
from burnish.rewards.completed import number as as_number
from burnish.run import UserCodeError, UserError, user_code

BY_ENVIRONMENT, TURN_LIMIT, CONTEXT_LIMIT, ANSWER_LIMIT = "environment", "turn_limit", "context_limit", "answer_limit"
ENDINGS = (BY_ENVIRONMENT, TURN_LIMIT, CONTEXT_LIMIT, ANSWER_LIMIT)
"""How a dialogue ends: the environment says so, it has its last turn, the answer of the environment or the policy's
message does not fit into what is left of the dialogue's length or of the context, or the message was cut at its limit
of tokens."""


Ask = Callable[[list[list[int]], list[int]], Sampled]


@dataclass(frozen=True)
class Limits:
    """The most turns, the most tokens of a whole dialogue, and the seconds that one call of an environment may take."""

    turns: int
    length: int
    seconds: float = 300.0

    def timed(self, call: Callable[[], Any]) -> Any:
        """What a call of an environment returns. Raises TimeoutError where it takes too long."""
        return within(call, self.seconds, "environment_timeout")


@dataclass
class Dialogue:
    """A dialogue while it is played.

    `index` is its place in the prompts, `row` the row of the data. `chosen` says which of the ids behind the opening
    were sampled, `logprobs` are theirs alone, and `rewards` lie on places of the whole row.
    """

    index: int
    row: int
    environment: Environment
    ids: list[int]
    messages: Messages
    chosen: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    rewards: dict[int, float] = field(default_factory=dict)
    ending: str | None = None

    def __post_init__(self) -> None:
        self.start, self.opening = len(self.ids), len(self.messages)

    def say(self, tokens: Sequence[int], logprobs: Sequence[float], text: str) -> None:
        """The policy's next message."""
        self.ids += tokens
        self.chosen += [True] * len(tokens)
        self.logprobs += logprobs
        self.messages.append({"role": "assistant", "content": text})

    def hear(self, ids: Sequence[int], messages: Messages) -> None:
        """The environment's answer."""
        self.ids += ids
        self.chosen += [False] * len(ids)
        self.messages += messages

    def earn(self, reward: float) -> None:
        """A reward for the last message, on its last token."""
        if reward:
            place = len(self.ids) - 1
            self.rewards[place] = self.rewards.get(place, 0.0) + reward

    @property
    def said(self) -> list[str]:
        """The policy's messages."""
        return [message["content"] for message in self.messages[self.opening :] if message["role"] == "assistant"]


@dataclass(frozen=True)
class Played:
    """Finished dialogues: completions with a mask, what the environment gave `[N, T]`, and counts for the metrics."""

    completed: Completed
    sampled: Sampled
    earned: Float[Tensor, "N T"]
    metrics: dict[str, float]


def play(
    source: Source, which: Sequence[int], number: int, knobs: SamplingKnobs, streams: Sequence[int], limits: Limits
) -> Played:
    """One dialogue for each of the rows `which`, turn by turn, all of them at once.

    Turn t of a dialogue draws from the random stream `streams[i] + t` of its own. Dialogues of one row have
    environments with the same seed. Of several processes the main one has the environments, and each samples its share
    of the messages. Raises RolloutError where an environment raises or gives no number.
    """
    world = source.world

    def ask(ids: list[list[int]], turns: list[int]) -> Sampled:
        world.gather((ids, turns))
        return cut(source.sampler.sample(ids, turns, knobs), [limits.length - len(one) for one in ids])

    if world.is_main:
        try:
            found = played(source, which, number, streams, limits, knobs.max_new_tokens, ask)
        except UserError as error:
            world.gather(error)
            raise
        world.gather(found)
        return found
    told: Any = None
    while isinstance(told := world.gather(told)[0], tuple):
        with suppress(SamplerError):  # raised in every process: the main one tells it next
            source.sampler.sample(*told, knobs)
        told = None
    if isinstance(told, UserError):
        raise told
    return told


def cut(sampled: Sampled, rooms: Sequence[int]) -> Sampled:
    """Messages of at most so many tokens each, as if they had been sampled with that limit."""
    return replace(
        sampled,
        tokens=[row[:room] for row, room in zip(sampled.tokens, rooms, strict=True)],
        logprobs=[row[:room] for row, room in zip(sampled.logprobs, rooms, strict=True)],
        ended=[e and len(row) <= room for e, row, room in zip(sampled.ended, sampled.tokens, rooms, strict=True)],
    )


def played(
    source: Source, which: Sequence[int], number: int, streams: Sequence[int], limits: Limits, most: int, ask: Ask
) -> Played:
    """`play` where the environments are; `ask` samples messages for dialogues, given as ids, from random streams. A
    message without an end that has fewer than `most` tokens was cut by the dialogue's length or by the context."""
    from burnish.data.turns import Turns  # with transformers, which --help does without

    policy = source.models.policy
    turns = Turns.of(policy.tokenizer, policy.ends.ids)
    decoder = Decoder.of(policy)
    dialogues, version = [begun(source, row, number, turns, limits) for row in which], 0
    for turn in range(limits.turns):
        going = [(d, s) for d, s in zip(dialogues, streams, strict=True) if d.ending is None]
        if not going:
            break
        found = ask([d.ids for d, _ in going], [s + turn for _, s in going])
        texts, version = decoder.responses(found.tokens), found.version
        for i, (dialogue, _) in enumerate(going):
            dialogue.say(found.tokens[i], found.logprobs[i], texts[i])
            if not found.ended[i]:
                dialogue.ending = ANSWER_LIMIT if len(found.tokens[i]) >= most else CONTEXT_LIMIT
            else:
                answer(dialogue, texts[i], turn, turns, source, limits)
    for dialogue in dialogues:
        with reported(source, dialogue, "at its end"):
            dialogue.earn(checked(limits.timed(dialogue.environment.close)))
    return finished(source, dialogues, decoder, version)


def begun(source: Source, row: int, number: int, turns: Any, limits: Limits) -> Dialogue:
    """A dialogue with its first messages, rendered by `turns`. Raises UserError where they leave no room for an
    answer."""
    prompts = source.prompts
    columns = {name: deepcopy(values[row]) for name, values in prompts.columns.items()}
    given = {"prompt": deepcopy(prompts.prompts[row])} | columns
    where = f"row {prompts.rows[row]}"
    with reported(source, Dialogue(row, prompts.rows[row], Environment(), [], []), "at its beginning"):
        environment = limits.timed(source.environment.make)
        messages = limits.timed(partial(environment.reset, given, seed_of(source.seed, number, row)))
        check_messages(messages, "reset")
    ids = turns.first(messages, environment.tools, where)
    if len(ids) >= limits.length:
        raise UserError(
            f"{where}: the dialogue begins with {len(ids)} tokens, and may have {limits.length} altogether: shorten "
            "the row, or raise max_dialogue_length"
        )
    return Dialogue(row, prompts.rows[row], environment, ids, list(messages))


def answer(dialogue: Dialogue, text: str, turn: int, turns: Any, source: Source, limits: Limits) -> None:
    """What the environment says to the policy's message."""
    with reported(source, dialogue, f"turn {turn + 1}"):
        step = partial(dialogue.environment.step, text)
        messages, reward, over = step() if dialogue.environment.limits_steps else limits.timed(step)
        dialogue.earn(checked(reward))
        if not over:
            check_messages(messages, "step")
    if over:
        dialogue.messages += messages
        dialogue.ending = BY_ENVIRONMENT
    elif turn + 1 == limits.turns:
        dialogue.ending = TURN_LIMIT
    else:
        ids = turns.between(messages, dialogue.environment.tools, f"row {dialogue.row}")
        if len(dialogue.ids) + len(ids) >= limits.length:
            dialogue.ending = CONTEXT_LIMIT
        else:
            dialogue.hear(ids, messages)


@contextmanager
def reported(source: Source, dialogue: Dialogue, when: str) -> Iterator[None]:
    """Raise what an environment raises as RolloutError, with the row, the turn and the dialogue so far."""
    try:
        with user_code():
            yield
    except UserCodeError as error:
        sentence = (
            f"the environment {source.environment.name} failed for row {dialogue.row}, {when} ({error}): fix it and "
            "try again"
        )
        raise RolloutError(sentence, [{"row": dialogue.row, "messages": dialogue.messages}]) from error.cause


def checked(reward: Any) -> float:
    """An environment's reward. Raises ValueError for what is no finite number."""
    value = as_number(reward)
    if value is None or not np.isfinite(value):
        raise ValueError(f"the reward is {reward!r}, not a finite number")
    return value


def check_messages(messages: Any, method: str) -> None:
    """Raise ValueError for what is no list of messages with at least one."""
    fine = isinstance(messages, list) and messages and all(isinstance(m, dict) and "role" in m for m in messages)
    if not fine:
        raise ValueError(f'{method} must give a list of messages such as {{"role": "user", "content": "…"}}')


def seed_of(seed: int, number: int, row: int) -> int:
    """The seed of all environments of a row in a rollout."""
    return int(np.random.SeedSequence([seed, number, row]).generate_state(1)[0])


def finished(source: Source, dialogues: Sequence[Dialogue], decoder: Decoder, version: int) -> Played:
    """The dialogues as completions, with what their rows earned."""
    batch = batch_of(dialogues).to(source.models.policy.device)
    earned = torch.zeros(batch.mask.shape, dtype=torch.float64)
    for i, dialogue in enumerate(dialogues):
        for place, reward in dialogue.rewards.items():
            earned[i, place] = reward
    prompts, where = source.prompts, [d.index for d in dialogues]
    behind = [d.ids[d.start :] for d in dialogues]
    ended = [d.ending == BY_ENVIRONMENT for d in dialogues]
    completed = Completed(
        prompts=[prompts.prompts[i] for i in where],
        responses=[d.said[-1] for d in dialogues],
        texts=decoder.texts([d.ids[: d.start] for d in dialogues], behind),
        columns={name: [values[i] for i in where] for name, values in prompts.columns.items()},
        rows=[d.row for d in dialogues],
        batch=batch,
        ended=ended,
        turns=[d.messages[d.opening :] for d in dialogues],
    )
    sampled = Sampled(behind, [d.logprobs for d in dialogues], ended, version)
    return Played(completed, sampled, earned.to(batch.mask.device), metrics(dialogues))


def batch_of(dialogues: Sequence[Dialogue]) -> Demonstrations:
    """The dialogues as rows of ids, with the mask True where they were sampled."""
    found = completions_batch([d.ids[: d.start] for d in dialogues], [d.ids[d.start :] for d in dialogues])
    chosen = torch.tensor([one for d in dialogues for one in d.chosen])
    return replace(found, mask=found.mask.masked_scatter(found.mask, chosen))


def metrics(dialogues: Sequence[Dialogue]) -> dict[str, float]:
    """Means over dialogues; `tools/…` under TRL's names, where a tool was called."""
    count = len(dialogues)
    counts = sum((d.environment.counts for d in dialogues), Counter[str]())
    found = {
        "environment/turns": sum(len(d.said) for d in dialogues) / count,
        "environment/reward": sum(sum(d.rewards.values()) for d in dialogues) / count,
    }
    found |= {f"environment/ended_by_{how}": sum(d.ending == how for d in dialogues) / count for how in ENDINGS}
    if dialogues[0].environment.tools:
        found["tools/call_frequency"] = counts[CALLS] / count
        found["tools/failure_frequency"] = counts[FAILURES] / max(1, counts[CALLS])
        found["tools/malformed_frequency"] = counts[MALFORMED] / max(1, counts[CALLS])
        found["tools/timeout_frequency"] = counts[TIMEOUTS] / max(1, counts[CALLS])
    return found
