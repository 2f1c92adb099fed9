"""Runs whose completions are drawn with earlier weights: which these are, and that nothing changes it."""

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache as shared
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from caches import cache_with_archive
from fake_vllm import vllm
from safetensors.torch import load_file
from served import Server, serving
from tiny_scorers import make_classifier

from burnish.algorithms.table import load
from burnish.config import build
from burnish.config.checks import checked
from burnish.experience.interface import Source
from burnish.policies.language.policy import load_policy
from burnish.policies.language.sampler import PolicySampler
from burnish.recipes.train.given import NOTHING, Given
from burnish.recipes.train.models import load_models, with_reward
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.rows import read_data
from burnish.recipes.train.run import run_training
from burnish.run import UserError, read_jsonl
from burnish.training.language.learner import minibatches, step
from burnish.training.language.optimizer import make_optimizer
from burnish.training.language.schedule import schedule
from burnish.training.resume import weights
from burnish.training.step import prepared

TURNS, LAG = 5, 2
METHODS: dict[str, dict[str, Any]] = {
    "grpo": {"completions_per_prompt": 2, "rollout": 2, "sampler_correction": "truncate", "steps": TURNS},
    "ppo": {"update_epochs": 2, "rollout": 4, "kl_target": 0.5, "kl_horizon": 20, "steps": 2 * TURNS},
    "online_dpo": {"rollout": 4, "steps": TURNS},
    "rejection": {"completions_per_prompt": 2, "rollout": 4, "steps": TURNS},
    "distil": {"steps": TURNS},
    "grpo, redraws": {"completions_per_prompt": 2, "rollout": 2, "redraws": 2, "steps": TURNS},
    "grpo, dialogues": {"max_turns": 2, "completions_per_prompt": 2, "rollout": 2, "max_length": 40, "steps": TURNS},
    "rloo, adapter": {"completions_per_prompt": 2, "rollout": 2, "steps": TURNS, "lora_rank": 2},
}
KILLED = {"grpo": [1, 3], "grpo, dialogues": [2, 4], "rloo, adapter": [3], "ppo": [5]}
"""The steps of a run that is killed, and goes on."""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "gpt2")
    tiny.save_model(folder / "teacher", "gpt2", seed=1)
    make_classifier("gpt2").save_pretrained(folder / "critic")
    tiny.make_tokenizer().save_pretrained(folder / "critic")
    tiny.save_model(folder / "chat", "gpt2")
    tiny.make_chat_tokenizer().save_pretrained(folder / "chat")
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(8))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", cache_with_archive(tmp_path / "cache"))


def options(files: Path, case: str, **more: Any) -> tuple[str, dict[str, Any]]:
    """The method of a case, and its options."""
    method = case.partition(",")[0]
    found = {
        "model": str(files / ("chat" if "dialogues" in case else "model")),
        "data": str(files / "prompts.jsonl"),
        "steps": TURNS,
        "batch_size": 4,
        "learning_rate": 0.05,
        "max_length": 20,
        "max_new_tokens": 5,
        "save_every": 1,
        "threads": 1,
        "quiet": True,
        "device": "cpu",
    }
    named: dict[str, Any] = {"teacher": str(files / "teacher")} if method == "distil" else {"reward": words}
    named = {"environment": Asks} if "dialogues" in case else named
    return method, found | named | METHODS[case] | more


def trained(
    files: Path, out: Path, case: str = "grpo", on_step: Callable[[int], None] | None = None, **more: Any
) -> Path:
    method, chosen = options(files, case, out=str(out), **more)
    algorithm, settings = build(load(method), chosen)
    given = NOTHING if on_step is None else Given(on_step=lambda number, metrics: on_step(number))
    return run_training(algorithm, settings, given)


@pytest.fixture(scope="module")
def lagging(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a case, and beside it copies of the folder as it was in the middle of the turns of `KILLED`."""

    @shared
    def run(case: str) -> Path:
        folder = tmp_path_factory.mktemp("lagging")

        def copy(number: int) -> None:
            if number in KILLED.get(case, []):
                shutil.copytree(folder / "whole", folder / f"killed-{number}")

        return trained(files, folder / "whole", case, copy, staleness=LAG)

    return run


def words(prompts: list[str], responses: list[str]) -> list[float]:
    """A reward that hardly two completions share."""
    return [len(set(one.split())) + 0.1 * len(one) for one in responses]


class Asks:
    """An environment of two turns."""

    def reset(self, row: dict[str, Any], seed: int) -> list[dict[str, str]]:
        self.turns = 0
        return [{"role": "user", "content": row["prompt"]}]

    def step(self, text: str) -> tuple[list[dict[str, str]], float, bool]:
        self.turns += 1
        return [{"role": "user", "content": "good film"}], float(len(text)) / 7, self.turns == 2


class Apart:
    """A sampler of another policy, whose log-probabilities the trained one has to compute itself."""

    exact = False

    def __init__(self, policy: Any) -> None:
        self.own = PolicySampler(policy)

    def sample(self, *wanted: Any) -> Any:
        return self.own.sample(*wanted)

    def load(self, *_: Any) -> None:
        raise AssertionError


def by_hand(files: Path, case: str, lag: int) -> tuple[dict[str, torch.Tensor], list[dict[str, float]]]:
    """The trained weights and the metrics of each rollout, with a second policy that samples: before turn t it is given
    the weights that the first one had before turn max(0, t − lag)."""
    method, chosen = options(files, case)
    algorithm, settings = build(load(method), chosen)
    settings = checked(algorithm, settings)
    prepare_torch(settings)
    models = load_models(algorithm, settings)
    experience = with_reward(models, settings).experience
    rows = read_data(algorithm, settings, models.policy, settings.data, None, None).rows
    sampling = load_models(algorithm, settings).policy
    source = Source(models, rows, Apart(sampling), getattr(experience, "reward", None), settings.seed)
    optimizer = make_optimizer(models, settings)
    rate = schedule(optimizer, settings, int(chosen["steps"]))
    kept: list[dict[str, torch.Tensor]] = []
    found: list[dict[str, float]] = []
    carried: dict[str, float] = {}
    state: dict[str, float] = {}
    done = 0
    for turn in range(TURNS):
        kept.append({name: p.detach().clone() for name, p in models.policy.parameters().items()})
        with torch.no_grad():
            for name, p in sampling.parameters().items():
                p.copy_(kept[max(0, turn - lag)][name])
        for model in models.trained().values():
            model.dropout(False)
        drawn = experience.draw(source, turn, carried)
        found.append(drawn.metrics)
        (batch,) = prepared(algorithm, models, [drawn.batch], state)
        for part in minibatches(batch, settings.batch_size, algorithm.passes, settings.seed, turn):
            if algorithm.dropout:
                torch.manual_seed(settings.seed * 1_000_003 + done)
                models.policy.dropout(True)
            step(algorithm, models, part, optimizer, rate(done), settings.max_grad_norm)
            done += 1
        carried = drawn.state
    return {name: tensor.clone() for name, tensor in weights(models).items()}, found


def end_of(run: Path) -> dict[str, torch.Tensor]:
    """The trained weights in the last checkpoint."""
    last = max((run / "checkpoints").glob("step-*"))
    return load_file(last / "tensors.safetensors")


@pytest.mark.parametrize("case", [case for case in METHODS if case != "grpo, dialogues"])
def test_a_run_is_the_loop_that_samples_with_the_weights_of_two_turns_before(
    files: Path, lagging: Callable[[str], Path], case: str
) -> None:
    run = lagging(case)
    expected, rollouts = by_hand(files, case, LAG)
    found = end_of(run)
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    lines = [line for line in read_jsonl(run / "metrics.jsonl") if "sampler/staleness" in line]
    assert [line["sampler/staleness"] for line in lines] == [0, 1, 2, 2, 2]
    for line, rollout in zip(lines, rollouts, strict=True):
        assert {name: line[name] for name in rollout} == rollout
    if case == "grpo":
        present, _ = by_hand(files, case, 0)
        assert any(not torch.equal(found[name], tensor) for name, tensor in present.items())


def test_the_log_says_which_weights_sampled_which_turn(files: Path, tmp_path: Path) -> None:
    """PPO makes two updates in each turn."""
    run = trained(files, tmp_path / "run", "ppo", staleness=1, steps=8)
    assert read_jsonl(run / "events.jsonl") == [
        {"step": 0, "turn": 0, "weights": 0},
        {"step": 2, "turn": 1, "weights": 0},
        {"step": 4, "turn": 2, "weights": 1},
        {"step": 6, "turn": 3, "weights": 2},
    ]


def test_without_staleness_nothing_is_kept(files: Path, tmp_path: Path) -> None:
    run, plain = trained(files, tmp_path / "run", staleness=0), trained(files, tmp_path / "plain")
    assert not (run / "events.jsonl").exists()
    assert not any(name.startswith("past/") for name in end_of(run))
    for name in ("model/model.safetensors", "metrics.jsonl", "samples.jsonl"):
        assert (run / name).read_bytes() == (plain / name).read_bytes()


def same_run(run: Path, whole: Path, *others: str) -> bool:
    """Whether two runs have the same model, the same completions, drawn with the weights of the same turns, and the
    same other files."""
    weights = [path.relative_to(whole) for path in (whole / "model").glob("*.safetensors")]
    names = (*weights, "samples.jsonl", "events.jsonl", *others)
    return len(weights) == 1 and all((run / name).read_bytes() == (whole / name).read_bytes() for name in names)


@pytest.mark.parametrize("case", KILLED)
def test_a_run_that_is_killed_goes_on_to_the_same_bits(files: Path, lagging: Callable[[str], Path], case: str) -> None:
    """What lies on the disk in the middle of a turn is what a kill there leaves behind."""
    whole = lagging(case)
    for number in KILLED[case]:
        killed = whole.with_name(f"killed-{number}")
        assert not (killed / "model").exists()
        assert same_run(trained(files, killed, case, resume=True, staleness=LAG), whole, "metrics.jsonl")


def test_a_checkpoint_has_the_weights_that_the_next_turns_need(files: Path, tmp_path: Path) -> None:
    """Before turn 5 those of the turns 3 and 4: its own sample turn 7."""
    run = trained(files, tmp_path / "run", staleness=LAG, keep_checkpoints=9)
    for turn in range(1, TURNS + 1):
        tensors = load_file(run / f"checkpoints/step-{turn:06d}/tensors.safetensors")
        kept = {int(name.split("/")[1]) for name in tensors if name.startswith("past/")}
        assert kept == set(range(max(0, turn - LAG), turn))
        for before in kept - {0}:
            then = load_file(run / f"checkpoints/step-{before:06d}/tensors.safetensors")
            names = [name.removeprefix("policy/") for name in then if name.startswith("policy/")]
            assert all(torch.equal(tensors[f"past/{before}/{name}"], then[f"policy/{name}"]) for name in names)


def test_an_evaluation_is_of_the_present_weights(files: Path, lagging: Callable[[str], Path], tmp_path: Path) -> None:
    """The first three turns of a run are sampled with the weights that it begins with; what it evaluates changes."""
    run = trained(files, tmp_path / "run", staleness=LAG, eval_data=str(files / "prompts.jsonl"), eval_every=1)
    found = [line["eval_objective/entropy"] for line in read_jsonl(run / "metrics.jsonl")]
    assert len(set(found)) == TURNS
    assert (run / "model/model.safetensors").read_bytes() == (lagging("grpo") / "model/model.safetensors").read_bytes()


def test_another_staleness_is_refused_where_a_run_goes_on(files: Path, tmp_path: Path) -> None:
    trained(files, tmp_path / "run", staleness=LAG, steps=2)
    with pytest.raises(UserError, match="staleness"):
        trained(files, tmp_path / "run", staleness=1, resume=True, steps=3)


# With a sampler elsewhere ------------------------------------------------------------------------------------------


@pytest.fixture
def server(files: Path) -> Iterator[Server]:
    with serving(load_policy(files / "model")) as found:
        yield found


@pytest.mark.parametrize("case", ["grpo", "ppo", "grpo, redraws"])
def test_a_sampler_elsewhere_gives_the_same_bits(
    files: Path, lagging: Callable[[str], Path], tmp_path: Path, server: Server, case: str
) -> None:
    """Whether the turns are drawn ahead, or not before they are asked for: `redraws` depend on scores. An evaluation
    in between has the server draw with other weights."""
    more: dict[str, Any] = {"staleness": LAG}
    more |= {"eval_data": str(files / "prompts.jsonl"), "eval_every": 3} if case == "ppo" else {}
    own = trained(files, tmp_path / "own", case, **more) if case == "ppo" else lagging(case)
    run = trained(files, tmp_path / "run", case, sampler=server.url, **more)
    assert same_run(run, own)
    assert not (run / "sampler").exists()


def test_dialogues_are_sampled_elsewhere_too(files: Path, lagging: Callable[[str], Path], tmp_path: Path) -> None:
    """Each of their turns is asked for when the environment has answered."""
    with serving(load_policy(files / "chat")) as chat:
        run = trained(files, tmp_path / "run", "grpo, dialogues", sampler=chat.url, staleness=LAG)
    assert same_run(run, lagging("grpo, dialogues"))


def test_the_next_turns_are_drawn_while_this_one_is_learned_from(files: Path, tmp_path: Path, server: Server) -> None:
    """Turn 0 waits, in the middle of its update, until turn 2 has been drawn."""
    drawn, complete, seen, every = threading.Semaphore(0), server.engine.complete, list[bool](), list[Any]()

    def noting(*arguments: Any) -> Any:
        found = complete(*arguments)
        every.append(found)
        drawn.release()
        return found

    server.engine.complete = noting  # type: ignore[method-assign]

    def wait(number: int) -> None:
        if number == 1:
            seen.extend(drawn.acquire(timeout=30) for _ in range(3))

    trained(files, tmp_path / "run", on_step=wait, sampler=server.url, staleness=LAG)
    assert seen == [True, True, True]
    assert len(every) == TURNS  # and no turn that the run does not have


@pytest.mark.parametrize("lag", [0, 1])
@pytest.mark.parametrize("loads", ["all", "nothing"])
def test_vllm_samples_a_run_or_is_found_out(files: Path, tmp_path: Path, lag: int, loads: str) -> None:
    """A stand-in that speaks vLLM's calls; one that loads nothing is stopped before the first update."""
    with vllm(load_policy(files / "model")) as (fake, url):
        fake.loads = loads
        if loads == "nothing":
            with pytest.raises(UserError, match=r"^step 1: .* of a trial with other weights .*Step 0 is saved"):
                trained(files, tmp_path / "run", sampler=url, staleness=lag)
            return
        run = trained(files, tmp_path / "run", sampler=url, staleness=lag)
    lines = read_jsonl(run / "metrics.jsonl")
    assert len(lines) == TURNS
    assert all(line["sampler/kl"] == pytest.approx(0, abs=1e-4) for line in (lines if lag == 0 else lines[:1]))
    assert fake.loaded == 1 + TURNS - lag  # with other weights once, and turn 1 has those of turn 0
    assert not (run / "sampler").exists()


@pytest.mark.parametrize("elsewhere", [True, False])
def test_a_turn_says_how_long_it_sampled_waited_and_learned(
    files: Path, tmp_path: Path, server: Server, elsewhere: bool
) -> None:
    """The server takes 0.2 s to draw, and the turns 1 and 2 learn for 0.5 s more: meanwhile what turn 3 needs is drawn.
    In one process a turn waits for all of its sampling."""
    complete = server.engine.complete

    def slowly(*arguments: Any) -> Any:
        time.sleep(0.2)
        return complete(*arguments)

    server.engine.complete = slowly  # type: ignore[method-assign]
    more = {"sampler": server.url} if elsewhere else {}
    run = trained(
        files, tmp_path / "run", on_step=lambda step: time.sleep(0.5 * (step in (2, 3))), staleness=LAG, **more
    )
    rows = read_jsonl(run / "timings.jsonl")
    turns = [row for row in rows if "turn" in row]
    assert [(row["step"], row["turn"]) for row in turns] == [(turn, turn) for turn in range(TURNS)]
    assert [list(row) for row in turns] == [
        ["step", "turn", "packing", "sampling", "waiting", "turn_seconds"] for _ in range(TURNS)
    ]
    assert [row["step"] for row in rows if "turn" not in row] == [step + 1 for step in range(TURNS)]
    for row in turns:
        assert row["packing"] > 0
        assert row["turn_seconds"] > row["packing"] + row["waiting"]
        assert row["turn_seconds"] > 0.5 or row["turn"] not in (1, 2)
        assert (row["sampling"] > 0.2) if elsewhere else (row["sampling"] == row["waiting"] > 0)
    if elsewhere:
        assert turns[0]["waiting"] > 0.2
        assert turns[3]["waiting"] < 0.2


def test_it_goes_on_at_another_server_to_the_same_bits(
    files: Path, lagging: Callable[[str], Path], tmp_path: Path, server: Server
) -> None:
    seen = 0

    def later(path: str, body: bytes) -> bytes | None:
        nonlocal seen
        seen += path == "/v1/completions"
        return None if seen > 3 else body

    server.endpoints.change = later
    sentence = r"^step 4: the sampler at .* does not answer .*, 3 times: .*\. Step 3 is saved: continue with --resume$"
    with pytest.raises(UserError, match=sentence):
        trained(files, tmp_path / "run", sampler=server.url, staleness=LAG)
    with serving(load_policy(files / "model")) as other:
        assert same_run(
            trained(files, tmp_path / "run", sampler=other.url, staleness=LAG, resume=True), lagging("grpo")
        )


def test_wrong_weights_do_not_pass(files: Path, tmp_path: Path, server: Server) -> None:
    """The server says that it has the weights of turn 1, and samples turn 3 with those of turn 0."""
    wrong = pytest.raises(UserError, match=r"^step 4: .*weights of version 1, but its log-probabilities .* Step 3 is")
    with server.pretending(), wrong:
        trained(files, tmp_path / "run", sampler=server.url, staleness=LAG)
