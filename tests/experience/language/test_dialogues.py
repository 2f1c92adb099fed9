"""Dialogues with an environment: rows of ids by hand, every way to end, rewards where they were earned, and faults."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny
import torch
from data.tokenizers_on_the_spot import CHATML, ids, make

import burnish
from burnish.algorithms.ppo import PPO
from burnish.data.prompts import Prompts
from burnish.ends import ends_of
from burnish.environments.load import resolve_environment
from burnish.experience.interface import RolloutError, Source
from burnish.experience.language.completions import Completions
from burnish.experience.language.dialogues import Limits, Played, play
from burnish.experience.language.group_completions import GroupCompletions
from burnish.experience.language.sampling import Sampling
from burnish.policies.interface import Models, Sampled, SamplingKnobs
from burnish.policies.language.sampler import PolicySampler
from burnish.rewards.function import function_reward
from burnish.run import UserError, read_jsonl

TOKENIZER = make(template=CHATML, eos="<|im_end|>")
START, END = (TOKENIZER.convert_tokens_to_ids(token) for token in ("<|im_start|>", "<|im_end|>"))
OPENING = [START, *ids("user\nhi"), END, *ids("\n"), START, *ids("assistant\n")]
BETWEEN = [*ids("\n"), START, *ids("user\n?"), END, *ids("\n"), START, *ids("assistant\n")]
KNOBS = SamplingKnobs(seed=0, max_new_tokens=8)


def prompts_of(*texts: str) -> Prompts:
    """Prompts of the rows 7, 8 …"""
    count = len(texts)
    return Prompts([[1]] * count, list(texts), {}, list(range(7, 7 + count)), {}, "", "rows")


class Writes:
    """A sampler that writes what it was given: for each stream a text, which has no end where it ends with "…"."""

    exact = True

    def __init__(self, texts: Mapping[int, str]) -> None:
        self.texts, self.asked = texts, list[tuple[list[int], list[int]]]()

    def sample(self, prompts: Sequence[Sequence[int]], streams: Sequence[int], knobs: SamplingKnobs) -> Sampled:
        self.asked += [(list(prompt), [stream]) for prompt, stream in zip(prompts, streams, strict=True)]
        said = [self.texts[stream] for stream in streams]
        tokens = [ids(one[:-1]) if one.endswith("…") else [*ids(one), END] for one in said]
        logprobs = [[-0.5 * (stream + 1)] * len(row) for stream, row in zip(streams, tokens, strict=True)]
        return Sampled(tokens, logprobs, [row[-1] == END for row in tokens])

    def load(self, weights: Any, version: int) -> None: ...


class Asks:
    """Asks "?" until it hears "end"; a message earns the number of its characters, the end a quarter more."""

    def reset(self, row: dict[str, Any], seed: int) -> list[dict[str, Any]]:
        self.seed, self.ended = seed, 0.0
        return [{"role": "user", "content": row["prompt"]}]

    def step(self, text: str) -> Any:
        if text == "end":
            self.ended = 0.25
            return [], 0.0, True
        return [{"role": "user", "content": "?"}], float(len(text)), False

    def close(self) -> float:
        return self.ended


def source_of(texts: Mapping[int, str], environment: Any = Asks, rows: int = 3, context: int | None = 100) -> Source:
    policy = SimpleNamespace(tokenizer=TOKENIZER, ends=ends_of(TOKENIZER), device=torch.device("cpu"), context=context)
    made = resolve_environment(environment)
    return Source(Models(policy=policy), prompts_of(*["hi"] * rows), Writes(texts), environment=made)


def played(*said: Sequence[str], environment: Any = Asks, turns: int = 3, length: int = 100) -> Played:
    """Dialogues of the first rows in which the policy says this."""
    texts = {10 * i + turn: text for i, one in enumerate(said) for turn, text in enumerate(one)}
    source = source_of(texts, environment)
    return play(source, range(len(said)), 0, KNOBS, [10 * i for i in range(len(said))], Limits(turns, length))


def test_a_dialogue_by_hand() -> None:
    found = played(("ab", "end"))
    batch = found.completed.batch
    row = [*OPENING, *ids("ab"), END, *BETWEEN, *ids("end"), END]
    mask = [False] * len(OPENING) + [True] * 3 + [False] * len(BETWEEN) + [True] * 4
    assert batch.tokens[0].tolist() == row
    assert batch.mask[0].tolist() == mask
    assert batch.lengths.tolist() == [len(row)]
    earned = torch.zeros(1, len(row), dtype=torch.float64)
    earned[0, len(OPENING) + 2], earned[0, -1] = 2.0, 0.25
    assert torch.equal(found.earned, earned)
    assert found.sampled.logprobs == [[-0.5] * 3 + [-1.0] * 4]
    assert (found.completed.responses, found.completed.ended) == (["end"], [True])
    assert found.completed.turns == [
        [
            {"role": "assistant", "content": "ab"},
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": "end"},
        ]
    ]


def test_ids_only_grow() -> None:
    source = source_of({0: "a", 1: "b", 2: "end"})
    found = play(source, [0], 0, KNOBS, [0], Limits(3, 100))
    asked = [prompt for prompt, _ in source.sampler.asked]
    assert [stream for _, (stream,) in source.sampler.asked] == [0, 1, 2]
    row = found.completed.batch.tokens[0].tolist()
    assert asked[0] == OPENING
    assert all(row[: len(prompt)] == prompt for prompt in asked)


@pytest.mark.parametrize(
    ("said", "limits", "ending", "turns"),
    [
        (("end",), {}, "environment", 1),
        (("a", "b", "c"), {}, "turn_limit", 3),
        (("a",), {"turns": 1}, "turn_limit", 1),
        (("a",), {"length": len(OPENING) + 2 + len(BETWEEN)}, "context_limit", 1),
        (("a", "end"), {"length": len(OPENING) + 6 + len(BETWEEN)}, "environment", 2),
        (("a", "bcdefghi…"), {}, "answer_limit", 2),
        (("a", "bc…"), {}, "context_limit", 2),  # cut by the model's context
        (("a", "bcdefg"), {"length": len(OPENING) + 2 + len(BETWEEN) + 3}, "context_limit", 2),
    ],
)
def test_every_way_to_end_is_counted(said: Sequence[str], limits: dict[str, int], ending: str, turns: int) -> None:
    found = played(said, **limits)
    assert {name for name, share in found.metrics.items() if "ended_by" in name and share} == {
        f"environment/ended_by_{ending}"
    }
    assert found.completed.batch.lengths.max() <= limits.get("length", 100)
    assert found.metrics["environment/turns"] == turns
    assert found.completed.ended == [ending == "environment"]
    assert found.completed.batch.mask[0, -1]  # the environment's last words are not read


def test_dialogues_of_different_lengths_are_rows_of_one_batch() -> None:
    found = played(("a", "b", "end"), ("end",), ("abc", "end"))
    assert found.completed.rows == [7, 8, 9]
    assert found.completed.batch.mask.sum(-1).tolist() == [8, 4, 8]
    assert found.earned.sum(-1).tolist() == [2.25, 0.25, 3.25]
    assert found.metrics["environment/reward"] == pytest.approx(5.75 / 3)
    assert found.metrics["environment/turns"] == 2.0
    assert [len(values) for values in found.sampled.logprobs] == [8, 4, 8]


class Remembers(Asks):
    seeds: list[int] = []  # noqa: RUF012

    def reset(self, row: dict[str, Any], seed: int) -> Any:
        self.seeds.append(seed)
        row["prompt"] = row["prompt"].upper()  # what it is given is its own
        return super().reset({"prompt": "hi"}, seed)


def test_dialogues_of_one_row_begin_alike_and_each_rollout_otherwise() -> None:
    Remembers.seeds.clear()
    source = source_of(dict.fromkeys(range(100), "end"), Remembers)
    for number in (0, 0, 1):
        play(source, [0, 0, 1], number, KNOBS, [0, 10, 20], Limits(2, 100))
    one, same, other, *rest = Remembers.seeds
    assert one == same != other
    assert rest[:3] == [one, same, other]
    assert not set(rest[3:]) & {one, other}
    assert source.prompts.prompts == ["hi"] * 3


class Tools:
    def reset(self, **columns: Any) -> None: ...

    def add(self, a: int, b: int) -> str:
        """
        Adds.

        Args:
            a: One.
            b: Other.
        """
        return str(a + b)


CALL = '<tool_call>{"name": "add", "arguments": {"a": 1, "b": %s}}</tool_call>'


def test_calls_of_tools_are_counted_under_trls_names() -> None:
    found = played((CALL % 2, CALL % '"x"', "3"), ("4",), environment=Tools, length=400)
    said = [message["content"] for message in found.completed.turns[0] if message["role"] == "tool"]
    assert said[0] == "3"
    assert said[1].startswith("error: TypeError")
    assert found.metrics["tools/call_frequency"] == 1.0
    assert found.metrics["tools/failure_frequency"] == 0.5
    assert found.metrics["environment/ended_by_environment"] == 1.0


class Fails(Asks):
    where = ""

    def reset(self, row: dict[str, Any], seed: int) -> Any:
        if self.where == "reset":
            raise RuntimeError("broken")
        return [] if self.where == "empty" else super().reset(row, seed)

    def step(self, text: str) -> Any:
        if self.where == "step" and text == "b":
            raise SystemExit(0)
        if self.where == "messages":
            return "?", 0.0, False
        return [{"role": "user", "content": "?"}], float("nan") if self.where == "reward" else 0.0, False

    def close(self) -> Any:
        return "much" if self.where == "close" else None


@pytest.mark.parametrize(
    ("where", "problem"),
    [
        ("reset", r"failed for row \d+, at its beginning \(RuntimeError: broken\)"),
        ("empty", r"at its beginning \(ValueError: reset must give a list of messages"),
        ("step", r"failed for row \d+, turn 2 \(SystemExit: 0\)"),
        ("messages", r"turn 1 \(ValueError: step must give a list of messages"),
        ("reward", r"turn 1 \(ValueError: the reward is nan, not a finite number\)"),
        ("close", r"at its end \(ValueError: the reward is 'much'"),
    ],
)
def test_an_environment_that_fails_names_row_and_turn_and_leaves_the_dialogue(where: str, problem: str) -> None:
    failing = type("Failing", (Fails,), {"where": where})
    with pytest.raises(RolloutError, match=problem) as caught:
        played(("a", "b", "end"), environment=failing)
    (record,) = caught.value.rollout
    assert record["row"] == 7
    said = [message["content"] for message in record["messages"] if message["role"] == "assistant"]
    assert said == {"step": ["a", "b"], "close": ["a", "b", "end"]}.get(where, said)


class Hangs(Asks):
    where = ""

    def reset(self, row: dict[str, Any], seed: int) -> Any:
        time.sleep(1000 if self.where == "reset" else 0)
        return super().reset(row, seed)

    def step(self, text: str) -> Any:
        time.sleep(1000 if self.where == "step" else 0)
        return super().step(text)

    def close(self) -> float:
        time.sleep(1000 if self.where == "close" else 0)
        return super().close()


class Scores(Tools):
    def get_reward(self) -> float:
        time.sleep(1000)
        return 0.0


@pytest.mark.parametrize(
    ("environment", "when"),
    [
        (type("Slow", (Hangs,), {"where": "reset"}), "at its beginning"),
        (type("Slow", (Hangs,), {"where": "step"}), "turn 1"),
        (type("Slow", (Hangs,), {"where": "close"}), "at its end"),
        (Scores, "at its end"),
    ],
)
def test_an_environment_that_hangs_fails_as_one_that_raises(environment: Any, when: str) -> None:
    source = source_of({0: "end"}, environment)
    said = rf"failed for row 7, {when} \(TimeoutError: it took longer than 0\.05 s, the limit of environment_timeout\)"
    with pytest.raises(RolloutError, match=said) as caught:
        play(source, [0], 0, KNOBS, [0], Limits(3, 400, 0.05))
    assert caught.value.rollout[0]["row"] == 7


class Dozes(Tools):
    def add(self, a: int, b: int) -> str:
        """
        Adds.

        Args:
            a: One.
            b: Other.
        """
        time.sleep(1000 if b == 2 else 0)
        return str(a + b)


def test_tools_that_are_too_slow_are_counted_apart() -> None:
    source = source_of({0: CALL % 2, 1: CALL % 3, 2: CALL % '"x"', 3: "4"})
    source = replace(source, environment=resolve_environment(Dozes, seconds=0.2))
    found = play(source, [0], 0, KNOBS, [0], Limits(4, 800, 0.3)).metrics
    assert found["tools/timeout_frequency"] == pytest.approx(1 / 3)
    assert found["tools/failure_frequency"] == pytest.approx(2 / 3)


def test_an_opening_without_room_is_refused() -> None:
    with pytest.raises(UserError, match=r"row \d+: the dialogue begins with \d+ tokens, and may have 20 altogether"):
        played(("a",), length=20)


@pytest.mark.parametrize(
    ("name", "value"),
    [("max_turns", 3), ("max_dialogue_length", 3), ("tool_timeout", 3.0), ("environment_timeout", 3.0)],
)
def test_knobs_of_dialogues_need_an_environment(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} only applies to dialogues"):
        Sampling(reward="gold", **{name: value})
    Sampling(environment="guess", **{name: value})
    assert Sampling(environment="guess").needs == ()
    assert Sampling(environment="guess", reward="gold").needs == ("reward",)
    assert (Sampling(max_new_tokens=5).most_tokens, Sampling(environment="guess", max_new_tokens=5).most_tokens) == (
        5,
        40,
    )


class Film:
    """Answers "the film" and gives half a point, until a message is long."""

    def reset(self, row: dict[str, Any], seed: int) -> Any:
        return [{"role": "user", "content": row["prompt"]}]

    def step(self, text: str) -> Any:
        return [{"role": "user", "content": "the film"}], 0.5, len(text) > 12


def words(prompts: Any, responses: Any, **columns: Any) -> list[float]:
    return [float(len(response.split())) for response in responses]


def real_policy() -> Any:
    policy = tiny.make_policy("llama", double=False)
    policy.tokenizer.chat_template = tiny.make_chat_tokenizer().chat_template
    return policy


def test_log_probabilities_are_those_of_the_whole_row_and_rewards_lie_where_they_were_earned() -> None:
    policy = real_policy()
    source = Source(
        Models(policy=policy, reference=policy),
        prompts_of(*["a good film", "the film was"] * 4),
        PolicySampler(policy),
        function_reward(words),
        environment=resolve_environment(Film),
    )
    knobs = Completions(reward="a test", environment="a test", rollout=8, max_new_tokens=12, max_turns=4, beta=0.1)
    drawn = knobs.draw(source, 3, {})
    batch = drawn.batch
    with torch.no_grad():
        torch.testing.assert_close(policy.logprobs(batch), batch.old_logprobs, atol=1e-5, rtol=0)
    gaps = [torch.diff(row.nonzero()[:, 0]).max() > 1 for row in batch.mask]
    assert any(gaps)
    torch.testing.assert_close(
        batch.rewards.sum(-1).mean(), torch.tensor(drawn.metrics["objective/rlhf_reward"]), atol=1e-5, rtol=0
    )
    for row, sample in enumerate(drawn.samples):
        said = [message["content"] for message in sample["turns"] if message["role"] == "assistant"]
        finished = len(said) if sample["ended"] or len(said) == 4 else len(said) - 1
        assert sample["score"] == 0.5 * finished + len(said[-1].split())
        assert (batch.rewards[row] > 0.4).sum() in (finished, finished + 1)
    assert batch.limit == 48


def test_a_run_of_dialogues_resumes_to_the_same_bits(tmp_path: Path) -> None:
    model, tokenizer = tiny.make_model("llama"), tiny.make_chat_tokenizer()
    rows = [{"prompt": text} for text in ("the film was", "a good film")] * 2

    def run(name: str, **more: Any) -> Path:
        options: dict[str, Any] = {"rollout": 4, "max_new_tokens": 6, "max_turns": 3, "batch_size": 4, "quiet": True}
        options |= {"model": model, "tokenizer": tokenizer, "data": rows, "environment": Film, "schedule": "constant"}
        return burnish.train(PPO(update_epochs=1), out=str(tmp_path / name), **options | more)

    whole = run("whole", steps=3)
    cut = run("cut", steps=2)
    run("cut", steps=3, resume=True)
    for file in ("metrics.jsonl", "samples.jsonl"):
        assert (cut / file).read_bytes() == (whole / file).read_bytes()
    assert read_jsonl(whole / "metrics.jsonl")[0]["environment/turns"] > 1


class Breaks(Film):
    """Raises in the second turn of a dialogue, in the second rollout of a run, until it is mended."""

    broken, played = False, 0

    def __init__(self) -> None:
        Breaks.played += 1
        self.number, self.turns = Breaks.played, 0

    def step(self, text: str) -> Any:
        self.turns += 1
        if Breaks.broken and self.number > 5 and self.turns == 2:
            raise OSError("no shop here")
        return super().step(text)


def test_a_run_whose_environment_is_mended_goes_on_to_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, tokenizer = tiny.make_model("llama"), tiny.make_chat_tokenizer()
    rows = [{"prompt": text} for text in ("the film was", "a good film")] * 2

    def run(name: str, broken: bool = False, **more: Any) -> Path:
        monkeypatch.setattr(Breaks, "broken", broken)
        monkeypatch.setattr(Breaks, "played", 0)
        options: dict[str, Any] = {"rollout": 4, "max_new_tokens": 6, "max_turns": 3, "batch_size": 4, "quiet": True}
        options |= {"model": model, "tokenizer": tokenizer, "data": rows, "environment": Breaks, "steps": 3}
        return burnish.train(PPO(update_epochs=1), out=str(tmp_path / name), **options | more)

    whole = run("whole")
    said = r"Breaks failed for row \d, turn 2 \(OSError: no shop here\).*failed_rollout\.jsonl, and step \d is saved"
    with pytest.raises(UserError, match=said):
        run("cut", broken=True)
    (line,) = read_jsonl(tmp_path / "cut" / "failed_rollout.jsonl")
    assert [message["role"] for message in line["messages"]] == ["user", "assistant", "user", "assistant"]
    cut = run("cut", resume=True)
    assert (cut / "metrics.jsonl").read_bytes() == (whole / "metrics.jsonl").read_bytes()


def test_groups_of_dialogues_have_their_rewards_where_they_were_earned_and_are_drawn_again() -> None:
    policy = real_policy()
    made = resolve_environment(Film)
    prompts = prompts_of(*["a good film", "the film was"] * 4)
    source = Source(Models(policy=policy), prompts, PolicySampler(policy), environment=made)
    knobs = GroupCompletions(environment="a test", rollout=3, completions_per_prompt=2, max_new_tokens=12, redraws=5)
    drawn = knobs.draw(source, 0, {})
    batch = drawn.batch
    torch.testing.assert_close(batch.rewards.sum(-1), batch.own(batch.peers).float())
    assert drawn.metrics["objective/groups_drawn"] > 3
    assert drawn.metrics["objective/groups_dropped"] > 0
    assert batch.rewards.sum() == 0.5 * (batch.rewards > 0).sum()  # half a point wherever there is any
    assert 0 < drawn.metrics["environment/reward"] < 2
    assert batch.limit == 96
