"""Training, evaluation and sampling with a sampler behind a server."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ranks
import tiny
from caches import cache_with_archive
from safetensors.torch import load_file
from served import Server, serving

from burnish.algorithms.table import load
from burnish.config import Settings, build
from burnish.policies.interface import ComparedSampler
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import PolicySampler
from burnish.recipes.evaluate.run import evaluate_run
from burnish.recipes.sample import sample_model
from burnish.recipes.sampler import loaded_sampler, sampler_of
from burnish.recipes.train.run import run_training
from burnish.run import UserError, read_jsonl

ONLINE: dict[str, Any] = {"reward": "lexicon", "rollout": 4, "max_new_tokens": 5}
METHODS: dict[str, dict[str, Any]] = {
    "ppo": ONLINE | {"update_epochs": 3, "eval_every": 2},
    "grpo": ONLINE | {"completions_per_prompt": 2, "rollout": 2, "sampler_correction": "truncate"},
    "online_dpo": ONLINE | {"batch_size": 2},
    "rejection": ONLINE | {"completions_per_prompt": 2},
    "distil": {"max_new_tokens": 5},
}
SHORT: dict[str, Any] = {"steps": 3, "update_epochs": 1, "eval_every": None}
"""Three rollouts with an update each."""

QUIET: dict[str, Any] = {"threads": 1, "quiet": True, "device": "cpu"}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "gpt2")
    tiny.save_model(folder / "teacher", "gpt2", seed=1)
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(8))
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", cache_with_archive(tmp_path / "cache"))


@pytest.fixture(scope="module")
def server(files: Path) -> Iterator[Server]:
    with serving(load_policy(files / "model")) as found:
        yield found


@pytest.fixture
def well(server: Server) -> Iterator[Server]:
    server.well()
    yield server
    server.well()


def trained(files: Path, out: Path, method: str = "ppo", **options: Any) -> Path:
    common: dict[str, Any] = {
        "model": str(files / "model"),
        "data": str(files / "prompts.jsonl"),
        "out": str(out),
        "steps": 3,
        "batch_size": 4,
        "learning_rate": 0.01,
        "max_length": 20,
    }
    more = {"teacher": str(files / "teacher")} if method == "distil" else {}
    if method == "ppo":  # evaluated between the three updates of a rollout
        more["eval_data"] = str(files / "prompts.jsonl")
        options = {"steps": 9} | options
    algorithm, settings = build(load(method), common | QUIET | METHODS[method] | more | options)
    return run_training(algorithm, settings)


@pytest.mark.parametrize("method", METHODS)
def test_a_run_with_a_sampler_elsewhere_is_the_run_without(
    method: str, files: Path, tmp_path: Path, well: Server
) -> None:
    """The completions are the same; the policy's own log-probabilities, computed once more, round otherwise. (AdamW
    makes whole steps of gradients that are only rounding.)"""
    plain = {"optimizer": "sgd", "learning_rate": 0.3}
    own = trained(files, tmp_path / "own", method, **plain)
    run = trained(files, tmp_path / "run", method, **plain, sampler=well.url)
    one, other = (load_file(path / "model/model.safetensors") for path in (own, run))
    assert all(other[name].sub(one[name]).abs().max() < 1e-4 for name in one)
    for mine, theirs in zip(*(read_jsonl(path / "samples.jsonl") for path in (own, run)), strict=True):
        floats = {key for key, value in mine.items() if isinstance(value, float)}
        assert {key: theirs[key] for key in floats} == pytest.approx({key: mine[key] for key in floats}, abs=1e-4)
        assert theirs == mine | {key: theirs[key] for key in floats}
    assert well.engine.version > 0  # handed over after updates, too
    assert not (run / "sampler").exists()
    metrics = read_jsonl(run / "metrics.jsonl")
    if method in ("ppo", "grpo"):
        drawn = [line for line in metrics if "sampler/kl" in line]  # not in every update of a rollout
        assert drawn
        assert all(0 <= line["sampler/kl"] < 1e-6 for line in drawn)
        assert all(1 <= line["sampler/ratio_max"] < 1 + 1e-4 for line in drawn)


def test_a_server_that_dies_leaves_a_run_that_goes_on_to_the_same_bits(
    files: Path, tmp_path: Path, well: Server
) -> None:
    """It breaks off at the third rollout, and the resumed run finds it at another address."""
    whole = trained(files, tmp_path / "whole", sampler=well.url, **SHORT)
    seen = 0

    def later(path: str, body: bytes) -> bytes | None:
        nonlocal seen
        seen += path == "/v1/completions"
        return None if seen > 4 else body  # a probe and a rollout each

    well.endpoints.change = later
    sentence = r"^step 3: the sampler at .* does not answer .*, 3 times: .*\. Step 2 is saved: continue with --resume$"
    with pytest.raises(UserError, match=sentence):
        trained(files, tmp_path / "run", sampler=well.url, **SHORT)
    assert not (tmp_path / "run/sampler").exists()
    with serving(load_policy(files / "model")) as other:
        run = trained(files, tmp_path / "run", sampler=other.url, resume=True, **SHORT)
    for name in ("model/model.safetensors", "metrics.jsonl", "samples.jsonl"):
        assert (run / name).read_bytes() == (whole / name).read_bytes()


def in_each(files: str, out: str, url: str, runs: dict[str, dict[str, Any]]) -> list[str | None]:
    """Runs of GRPO in one of several processes, and the sentence of each that fails."""
    ended: list[str | None] = []
    for name, options in runs.items():
        try:
            trained(Path(files), Path(out, name), "grpo", sampler=url, **options)
            ended.append(None)
        except UserError as error:
            ended.append(str(error))
    return ended


PLAIN: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.3, "save_every": 1}
"""Whose weights do not depend on how gradients near zero round, unlike AdamW's."""


def test_several_processes_sample_elsewhere(files: Path, tmp_path: Path, well: Server) -> None:
    """The first one asks, also while all learn; what each scores of a rollout is its share."""
    runs = {"present": PLAIN, "ahead": PLAIN | {"staleness": 1}}
    assert in_each(str(files), str(tmp_path / "one"), well.url, runs) == [None, None]
    ended = ranks.together(2, tmp_path / "ends", in_each, str(files), str(tmp_path / "two"), well.url, runs)
    assert ended == [[None, None]] * 2
    for name in runs:
        one, two = tmp_path / "one" / name, tmp_path / "two" / name
        weights, others = (load_file(path / "model/model.safetensors") for path in (one, two))
        assert all(others[key].sub(weights[key]).abs().max() < 1e-5 for key in weights)
        texts = [[row["response"] for row in read_jsonl(path / "samples.jsonl")] for path in (one, two)]
        assert texts[0] == texts[1]
        assert len(texts[0]) > 4
        assert not (two / "sampler").exists()


def test_where_a_sampler_fails_all_processes_save(files: Path, tmp_path: Path, well: Server) -> None:
    """It breaks off at the third rollout, and at another address both go on to the same bits."""
    seen = 0

    def later(path: str, body: bytes) -> bytes | None:
        nonlocal seen
        seen += path == "/v1/completions"
        return None if seen > 4 else body  # a probe and a rollout each

    begin, whole = {"run": PLAIN}, {"whole": PLAIN, "run": PLAIN | {"resume": True}}
    well.endpoints.change = later
    ended = ranks.together(2, tmp_path / "ends", in_each, str(files), str(tmp_path), well.url, begin)
    assert ended[0] == ended[1]
    assert "Step 2 is saved: continue with --resume" in ended[0][0]
    with serving(load_policy(files / "model")) as other:
        ended = ranks.together(2, tmp_path / "ends", in_each, str(files), str(tmp_path), other.url, whole)
    assert ended == [[None, None]] * 2
    for name in ("model/model.safetensors", "metrics.jsonl", "samples.jsonl"):
        assert (tmp_path / "run" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_weights_that_are_not_taken_stop_the_run(files: Path, tmp_path: Path, well: Server) -> None:
    """After the first update the server says that it has the new weights, and samples with the old ones."""
    wrong = pytest.raises(UserError, match=r"^step 2: .*weights of version 1, but its log-probabilities .* Step 1 is")
    with well.pretending(), wrong:
        trained(files, tmp_path / "run", sampler=well.url, **SHORT)


def test_a_server_that_is_slow_is_a_sentence(files: Path, tmp_path: Path, well: Server) -> None:
    def slow(path: str, body: bytes) -> bytes:
        well.endpoints.delay = 1.0
        return body

    well.endpoints.change = slow
    with pytest.raises(UserError, match=r"no answer in 0.1 s"):
        trained(files, tmp_path / "run", sampler=well.url, sampler_timeout=0.1)


def test_a_server_in_bfloat16_has_a_bound_that_can_be_set(files: Path, tmp_path: Path) -> None:
    policy = load_policy(files / "model")
    half = LanguagePolicy(copy.deepcopy(policy.model).bfloat16(), policy.tokenizer)
    with serving(half) as server:
        run = trained(files, tmp_path / "run", sampler=server.url, steps=2)
        assert read_jsonl(run / "metrics.jsonl")[0]["sampler/ratio_max"] > 1 + 1e-3
        with pytest.raises(UserError, match="where 1e-05 and 1e-06 are allowed"):
            trained(files, tmp_path / "strict", sampler=server.url, sampler_bound=1e-5)


def test_sampling_elsewhere_writes_what_sampling_here_does(files: Path, tmp_path: Path, well: Server) -> None:
    data, model = str(files / "prompts.jsonl"), files / "model"
    options: dict[str, Any] = {"n": 3, "max_new_tokens": 6, "temperature": 0.8}
    own = sample_model(model, data, out=tmp_path / "own.jsonl", base=Settings(**QUIET), **options)
    there = Settings(**QUIET, sampler=well.url)
    found = sample_model(model, data, out=tmp_path / "found.jsonl", base=there, **options)
    assert (tmp_path / "own.jsonl").read_bytes() == (tmp_path / "found.jsonl").read_bytes()
    assert found.lines == own.lines
    with pytest.raises(UserError, match="--stop needs the sampler of this process"):
        sample_model(model, data, base=there, stop="film", **options)
    with pytest.raises(UserError, match="sampler_timeout only applies"):
        sample_model(model, data, base=Settings(**QUIET, sampler_timeout=3.0), **options)


def test_an_evaluation_with_a_sampler_elsewhere_finds_the_same(files: Path, tmp_path: Path, well: Server) -> None:
    run = trained(files, tmp_path / "run", steps=1)
    data = str(files / "prompts.jsonl")
    own = evaluate_run(run, data, None, Settings(**QUIET))
    other = evaluate_run(run, data, None, Settings(**QUIET, sampler=well.url))
    assert json.loads(json.dumps(other), parse_float=lambda x: round(float(x), 4)) == json.loads(
        json.dumps(own), parse_float=lambda x: round(float(x), 4)
    )
    assert well.engine.sha256 != ""
    shutil.rmtree(run)


def test_the_policys_own_sampler_is_the_default(files: Path, well: Server) -> None:
    policy = load_policy(files / "model")
    assert isinstance(sampler_of(policy, Settings()), PolicySampler)
    assert isinstance(loaded_sampler(policy, Settings()), PolicySampler)
    assert isinstance(sampler_of(policy, Settings(sampler=well.url)), ComparedSampler)
