"""A sampler behind a server: the policy's own completions, and no fault of the server goes unnoticed.

Every server here is a real one, on a port of this machine, with the faults put into it.
"""

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import served
import tiny
import torch
from served import Server, edited, serving

from burnish.policies.interface import ComparedSampler, Sampler, SamplerError, SamplingKnobs
from burnish.policies.language.adapters import Lora
from burnish.policies.language.connection import KEY
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import PolicySampler
from burnish.policies.language.served import ServedSampler
from burnish.run import UserError

PROMPTS = [[0, 5, 6], [0, 4], [0, 11, 3, 9], [0, 5, 6], [0, 8]]
STREAMS = [3, 4, 2**40, 6, 7]
KNOBS = SamplingKnobs(5, 8, 0.7)
QUICK: dict[str, Any] = {"tries": 2, "pause": 0.001, "timeout": 30.0}


def begun() -> LanguagePolicy:
    """The model before an update."""
    return tiny.make_policy("untied_llama", double=False)


def updated(policy: LanguagePolicy, seed: int = 0) -> LanguagePolicy:
    """The same after an update of every weight."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    policy.temperature = KNOBS.temperature
    return policy


FIRST = copy.deepcopy(begun().model.state_dict())
NAMES = list(FIRST)


@pytest.fixture(scope="module")
def policy() -> LanguagePolicy:
    """A policy after its update, which no test changes."""
    return updated(begun())


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving(begun()) as found:
        yield found


@pytest.fixture
def well(server: Server) -> Iterator[Server]:
    """The server without faults, with the weights that it began with."""
    restart(server)
    server.well()
    load = server.engine.load
    yield server
    server.well()
    server.engine.load = load  # type: ignore[method-assign]


def restart(server: Server) -> None:
    """The server as it was when it began."""
    server.engine.policy.model.load_state_dict(FIRST)
    server.engine.sha256, server.engine.version = "of the first weights", 0


@pytest.fixture(scope="module")
def ready(policy: LanguagePolicy) -> Iterator[tuple[Server, ServedSampler]]:
    """Another server, and a sampler that it has the weights of, at version 3."""
    with serving(begun()) as found:
        sampler = sampler_of(found, policy, tries=1)
        sampler.load({}, 3)
        yield found, sampler


def sampler_of(server: Server, policy: LanguagePolicy, **options: Any) -> ServedSampler:
    return ServedSampler(policy, server.url, **QUICK | {"scoring": True} | options)


# What is sampled ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"temperature": 0.7}, {"top_k": 2}, {"top_p": 0.5}])
def test_the_completions_are_those_of_the_policys_own_sampler(
    well: Server, policy: LanguagePolicy, options: dict[str, Any]
) -> None:
    """To the same bits: the same code draws them from the same weights."""
    sampler, own = sampler_of(well, policy), PolicySampler(policy)
    assert isinstance(sampler, Sampler)
    assert isinstance(sampler, ComparedSampler)
    assert not isinstance(own, ComparedSampler)
    assert not sampler.exact
    for one in (sampler, own):
        one.load(policy.parameters(), 7)
    knobs = SamplingKnobs(5, 12, **options)
    assert sampler.sample(PROMPTS, STREAMS, knobs) == own.sample(PROMPTS, STREAMS, knobs)


def test_a_rollout_of_many_rows_takes_several_requests(
    well: Server, policy: LanguagePolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("burnish.policies.language.connection.ROWS_PER_REQUEST", 2)
    sampler = sampler_of(well, policy)
    sampler.load(policy.parameters(), 1)
    well.endpoints.requests.clear()
    found = sampler.sample(PROMPTS, STREAMS, KNOBS)
    assert well.endpoints.requests == ["/v1/completions"] * 3
    assert found.tokens == PolicySampler(policy).sample(PROMPTS, STREAMS, KNOBS).tokens


def test_weights_that_the_server_has_are_not_written(well: Server, policy: LanguagePolicy, tmp_path: Path) -> None:
    folder = tmp_path / "run" / "sampler"
    sampler = sampler_of(well, policy, folder=folder)
    folders: list[str | None] = []
    load = well.engine.load

    def noting(path: str | None, version: int, sha256: str | None) -> Any:
        folders.append(path)
        return load(path, version, sha256)

    well.engine.load = noting  # type: ignore[method-assign]
    for version in (4, 5):
        sampler.load(policy.parameters(), version)
        assert sampler.sample(PROMPTS, STREAMS, KNOBS).version == version
    assert folders == [str(folder), None]
    assert not folder.exists()  # removed once they are loaded


def test_an_adapter_is_merged_and_the_policy_keeps_its_bits(well: Server, tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "base", "untied_llama")
    policy = load_policy(tmp_path / "base", lora=Lora(2, None, 0.0, None))
    policy.temperature = KNOBS.temperature
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(0.1)
    before = {name: tensor.clone() for name, tensor in policy.model.state_dict().items()}
    sampler = sampler_of(well, policy)
    sampler.load(policy.parameters(), 1)
    found = sampler.sample(PROMPTS, STREAMS, KNOBS)
    assert found.tokens == PolicySampler(policy).sample(PROMPTS, STREAMS, KNOBS).tokens
    after = policy.model.state_dict()
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_a_server_in_bfloat16_is_within_its_bound_and_stale_weights_are_not() -> None:
    policy = begun()
    with serving(LanguagePolicy(copy.deepcopy(policy.model).bfloat16(), policy.tokenizer)) as server:
        updated(policy)
        sampler = sampler_of(server, policy)
        assert sampler.bound == 0.5
        sampler.load(policy.parameters(), 1)
        found = sampler.sample(PROMPTS * 8, range(40), KNOBS)
        own = PolicySampler(policy).sample(PROMPTS * 8, range(40), KNOBS)
        assert found.logprobs != own.logprobs
        for seed in range(4):  # four updates that the server does not make
            updated(policy, seed)
        with pytest.raises(SamplerError, match="its log-probabilities are not theirs"):
            sampler.sample(PROMPTS * 8, range(40), KNOBS)


def test_a_server_that_is_started_again_gets_the_weights_again(well: Server, policy: LanguagePolicy) -> None:
    sampler = sampler_of(well, policy)
    sampler.load(policy.parameters(), 3)
    expected = sampler.sample(PROMPTS, STREAMS, KNOBS)
    restart(well)
    assert sampler.sample(PROMPTS, STREAMS, KNOBS) == expected


def test_the_token_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(begun(), token="sesame") as server:
        with pytest.raises(UserError, match=f"refused the request .*the token is missing.*{KEY}"):
            sampler_of(server, begun())
        monkeypatch.setenv(KEY, "sesame")
        sampler = sampler_of(server, updated(begun()))
        sampler.load({}, 1)
        assert len(sampler.sample(PROMPTS, STREAMS, KNOBS).tokens) == 5


# What is refused at the beginning ----------------------------------------------------------------------------------


def test_nobody_there_is_a_sentence() -> None:
    with served.opened("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with pytest.raises(UserError, match=r"does not respond \(Connection refused\): start `burnish serve`"):
        ServedSampler(begun(), f"http://127.0.0.1:{port}", timeout=5)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"tokenizer_sha256": "0"}, "has another tokenizer than the model"),
        ({"dtype": "float31"}, "does not say which weights it has"),
        ({"other_dtypes": {"a": 3}}, "does not say which weights it has"),
        ({"ends": None}, "does not say which weights it has"),
        ({"ends": [4]}, r"ends texts at the ids \[4\] and the model at \[1\]"),
        ({"max_model_len": 47}, "has a context of 47 tokens and the model 48"),
        ({"weights_sha256": None, "id": None}, "has another|does not say"),
    ],
)
def test_another_model_is_refused_before_anything_else(well: Server, change: dict[str, Any], said: str) -> None:
    def change_it(content: dict[str, Any]) -> None:
        content["data"][0] |= change
        if change.get("id", "") is None:
            del content["data"][0]["weights_sha256"]

    well.endpoints.change = edited(change_it, "/v1/models")
    with pytest.raises(UserError, match=said):
        sampler_of(well, begun())


def test_a_prompt_that_leaves_no_room_is_refused_here(well: Server, policy: LanguagePolicy) -> None:
    sampler = sampler_of(well, policy)
    sampler.load({}, 0)
    with pytest.raises(UserError, match="prompt 1 has 48 tokens"):
        sampler.sample([[0], [0] * 48], [0, 1], KNOBS)


# Faults ------------------------------------------------------------------------------------------------------------

Weights = dict[str, torch.Tensor]
Spoil = Callable[[Weights, Weights], None]
"""Spoils the weights that a server has just loaded, given those before."""


def keep(*names: str) -> Spoil:
    """The weights of these names stay as they were."""

    def spoil(now: Weights, before: Weights) -> None:
        for name in names:
            now[name].copy_(before[name])

    return spoil


def share_of(update: float) -> Spoil:
    """Only so much of the update is made."""

    def spoil(now: Weights, before: Weights) -> None:
        for name in now:
            now[name].lerp_(before[name], 1 - update)

    return spoil


def swap(one: str, other: str) -> Spoil:
    def spoil(now: Weights, before: Weights) -> None:
        kept = now[one].clone()
        now[one].copy_(now[other])
        now[other].copy_(kept)

    return spoil


def rounded(now: Weights, before: Weights) -> None:
    for tensor in now.values():
        tensor.copy_(tensor.bfloat16().float())


def half_of(name: str) -> Spoil:
    """The second half of a weight stays as it was."""

    def spoil(now: Weights, before: Weights) -> None:
        half = len(now[name]) // 2
        now[name][half:].copy_(before[name][half:])

    return spoil


LAYER = "model.layers.{}.mlp.up_proj.weight"
SPOILS: dict[str, Spoil] = (
    {f"{name} is stale": keep(name) for name in NAMES}
    | {f"half of {name} is stale": half_of(name) for name in NAMES if "layers.1" in name}
    | {
        "all weights are stale": keep(*NAMES),
        "layer 0 is stale": keep(*[name for name in NAMES if "layers.0" in name]),
        "layer 1 is stale": keep(*[name for name in NAMES if "layers.1" in name]),
        "the linear layers are stale": keep(*[name for name in NAMES if "proj" in name]),
        "half of the update": share_of(0.5),
        "nine tenths of the update": share_of(0.9),
        "all but a hundredth of the update": share_of(0.99),
        "none of the update": share_of(0.0),
        "twice the update": share_of(2.0),
        "two layers are swapped": swap(LAYER.format(0), LAYER.format(1)),
        "the weights are rounded to bfloat16": rounded,
    }
)


ALONE = {name for name in SPOILS if name.endswith(".weight is stale")}
CASES = [("at the handshake", name) for name in SPOILS] + [("afterwards", name) for name in SPOILS if name not in ALONE]


@pytest.mark.parametrize(("when", "name"), CASES)
def test_no_wrong_weight_goes_unnoticed(well: Server, policy: LanguagePolicy, name: str, when: str) -> None:
    """The server answers that all is well, with the right checksum: only the log-probabilities tell."""
    spoil = SPOILS[name]
    sampler = sampler_of(well, policy, scoring=when == "afterwards")
    load, model = well.engine.load, well.engine.policy.model

    @torch.no_grad()
    def spoilt(*arguments: Any) -> Any:
        before = {key: tensor.clone() for key, tensor in model.state_dict().items()}
        facts = load(*arguments)
        spoil(model.state_dict(), before)
        return facts

    if when == "at the handshake":
        well.engine.load = spoilt  # type: ignore[method-assign]
        with pytest.raises(SamplerError, match="weights of version 3, but its log-probabilities are not theirs"):
            sampler.load(policy.parameters(), 3)
        return
    sampler.load(policy.parameters(), 3)
    with torch.no_grad():
        spoil(model.state_dict(), FIRST)
    with pytest.raises(SamplerError, match="its log-probabilities are not theirs"):
        sampler.sample(PROMPTS, STREAMS, KNOBS)


Edit = Callable[[dict[str, Any], int], None]
"""Changes a reply, at places that depend on a seed."""


def place(content: dict[str, Any], seed: int) -> tuple[dict[str, Any], int]:
    """A completion with two tokens at least, and one of its places."""
    long = [one for one in content["choices"] if len(one["token_ids"]) > 1]
    chosen = long[seed % len(long)]
    return chosen, (7 * seed + 1) % len(chosen["token_ids"])


def values(one: dict[str, Any]) -> list[Any]:
    return one["logprobs"]["token_logprobs"]


def shift_all(content: dict[str, Any], seed: int) -> None:
    for one in content["choices"]:
        one["token_ids"] = [(i + 1 + seed) % tiny.VOCABULARY for i in one["token_ids"]]


def shift_one(content: dict[str, Any], seed: int) -> None:
    one, at = place(content, seed)
    one["token_ids"][at] = (one["token_ids"][at] + 1 + seed % 3) % tiny.VOCABULARY


def drop_token(content: dict[str, Any], seed: int) -> None:
    one, at = place(content, seed)
    del one["token_ids"][at], values(one)[at]


def drop_id(content: dict[str, Any], seed: int) -> None:
    one, at = place(content, seed)
    del one["token_ids"][at]


def drop_value(content: dict[str, Any], seed: int) -> None:
    one, at = place(content, seed)
    del values(one)[at]


def drop_last(content: dict[str, Any], seed: int) -> None:
    one, _ = place(content, seed)
    one["token_ids"].pop()
    values(one).pop()


def repeat_token(content: dict[str, Any], seed: int) -> None:
    one, at = place(content, seed)
    one["token_ids"].insert(at, one["token_ids"][at])
    values(one).insert(at, values(one)[at])


def end_early(content: dict[str, Any], seed: int) -> None:
    """The end in the place of a token, and nothing behind it."""
    one, at = place(content, seed + 1)
    one["token_ids"][at:], one["finish_reason"] = [tiny.EOS], "stop"
    values(one)[at + 1 :] = []


def swap_ids(content: dict[str, Any], seed: int) -> None:
    one, at = place(content, seed)
    ids = one["token_ids"]
    other = next((k for k in range(len(ids)) if ids[k] != ids[at]), None)
    if other is None:
        return shift_one(content, seed)
    ids[at], ids[other] = ids[other], ids[at]


def move_values(content: dict[str, Any], seed: int) -> None:
    """Each log-probability is that of the token before."""
    one, _ = place(content, seed)
    found = values(one)
    found[:] = [found[-1], *found[:-1]]


def set_value(value: Any) -> Edit:
    def edit(content: dict[str, Any], seed: int) -> None:
        one, at = place(content, seed)
        values(one)[at] = value

    return edit


def set_id(value: Any) -> Edit:
    def edit(content: dict[str, Any], seed: int) -> None:
        one, at = place(content, seed)
        one["token_ids"][at] = value

    return edit


def add_to_value(amount: float) -> Edit:
    def edit(content: dict[str, Any], seed: int) -> None:
        one, at = place(content, seed)
        values(one)[at] -= amount

    return edit


def untempered(content: dict[str, Any], seed: int) -> None:
    """Log-probabilities that are not those at the temperature: here those at another one, not normalised."""
    for one in content["choices"]:
        values(one)[:] = [value * (0.7 - 0.01 * seed) for value in values(one)]


def swap_rows(content: dict[str, Any], seed: int) -> None:
    """The completions of two prompts in each other's place."""
    rows = content["choices"]
    one = seed % len(rows)
    other = next(i for i, row in enumerate(rows) if row["prompt_token_ids"] != rows[one]["prompt_token_ids"])
    for key in ("token_ids", "logprobs", "finish_reason"):
        rows[one][key], rows[other][key] = rows[other][key], rows[one][key]


def drop_row(content: dict[str, Any], seed: int) -> None:
    del content["choices"][seed % len(content["choices"])]


def repeat_row(content: dict[str, Any], seed: int) -> None:
    content["choices"].append(content["choices"][seed % len(content["choices"])])


def other_prompt(content: dict[str, Any], seed: int) -> None:
    ids = content["choices"][seed % len(content["choices"])]["prompt_token_ids"]
    ids[-1] = (ids[-1] + 1) % tiny.VOCABULARY


def other_finish(content: dict[str, Any], seed: int) -> None:
    one = content["choices"][seed % len(content["choices"])]
    one["finish_reason"] = {"stop": "length", "length": "stop"}[one["finish_reason"]]


def without(key: str) -> Edit:
    def edit(content: dict[str, Any], seed: int) -> None:
        del content["choices"][seed % len(content["choices"])][key]

    return edit


def fact(name: str, change: Callable[[Any], Any]) -> Edit:
    def edit(content: dict[str, Any], seed: int) -> None:
        content[name] = change(content[name])

    return edit


def no_fact(name: str) -> Edit:
    def edit(content: dict[str, Any], seed: int) -> None:
        del content[name]

    return edit


EDITS: dict[str, Edit] = {
    "every id is shifted": shift_all,
    "one id is shifted": shift_one,
    "a token is dropped": drop_token,
    "an id is dropped": drop_id,
    "a log-probability is dropped": drop_value,
    "the last token is dropped": drop_last,
    "a token is repeated": repeat_token,
    "a completion ends early": end_early,
    "two ids are swapped": swap_ids,
    "log-probabilities are moved by one": move_values,
    "a log-probability is NaN": set_value(math.nan),
    "a log-probability is infinite": set_value(-math.inf),
    "a log-probability is missing": set_value(None),
    "a log-probability is above 0": set_value(0.5),
    "a log-probability is 0": set_value(0.0),
    "a log-probability is off by two thousandths": add_to_value(0.002),
    "processed for raw log-probabilities": untempered,
    "an id is outside of the vocabulary": set_id(tiny.VOCABULARY),
    "an id is negative": set_id(-1),
    "an id is a text": set_id("film"),
    "an id is a fraction": set_id(4.0),
    "an end in the middle": lambda content, seed: place(content, seed)[0]["token_ids"].__setitem__(0, tiny.EOS),
    "completions are swapped": swap_rows,
    "a completion is dropped": drop_row,
    "a completion is repeated": repeat_row,
    "no completions": lambda content, seed: content.update(choices=[]),
    "another prompt": other_prompt,
    "another way to finish": other_finish,
    "no ids": without("token_ids"),
    "no log-probabilities": without("logprobs"),
    "an older version": fact("weights_version", lambda version: version - 1),
    "a later version": fact("weights_version", lambda version: version + 1),
    "a version as text": fact("weights_version", str),
    "no version": no_fact("weights_version"),
    "another checksum": fact("weights_sha256", lambda digest: digest[::-1]),
    "no checksum": no_fact("weights_sha256"),
    "another tokenizer": fact("tokenizer_sha256", lambda digest: digest[::-1]),
    "another model": fact("model", lambda name: f"{name}-2"),
    "raw log-probabilities": fact("logprobs_mode", lambda mode: "raw_logprobs"),
    "another seed": fact("seed", lambda seed: seed + 1),
    "no object": lambda content, seed: content.clear(),
}


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("when", ["at the handshake", "in a rollout"])
@pytest.mark.parametrize("name", EDITS)
def test_no_wrong_reply_goes_unnoticed(ready: tuple[Server, ServedSampler], name: str, when: str, seed: int) -> None:
    (server, sampler), edit = ready, EDITS[name]
    server.endpoints.change = edited(lambda content: edit(content, seed))
    ask = (
        partial(sampler.load, {}, 3) if when == "at the handshake" else partial(sampler.sample, PROMPTS, STREAMS, KNOBS)
    )
    with pytest.raises(SamplerError, match=r"the sampler at http://127\.0\.0\.1:\d+/v1 "):
        ask()
    server.well()


def test_without_a_fault_all_of_this_passes(ready: tuple[Server, ServedSampler]) -> None:
    server, sampler = ready
    server.endpoints.change = edited(lambda content: None)
    sampler.load({}, 3)
    assert sampler.sample(PROMPTS, STREAMS, KNOBS).version == 3
    server.well()


BREAKS: dict[str, tuple[Any, str]] = {
    "a cut connection": (lambda path, body: None if path == "/v1/completions" else body, "the reply was cut off"),
    "half a reply": (lambda path, body: body[: len(body) // 2] if "compl" in path else body, "is not JSON"),
    "a page of text": (lambda path, body: b"<html>" if "compl" in path else body, "is not JSON"),
    "a list": (lambda path, body: b"[]" if "compl" in path else body, "a reply that is no object"),
    "a load that is cut": (lambda path, body: None if path == "/v1/load_model" else body, "the reply was cut off"),
    "a load of another version": (
        edited(lambda content: content.update(weights_version=2), "/v1/load_model"),
        "answers with the weights of version 2 and not 3",
    ),
    "a load of other weights": (
        edited(lambda content: content.update(weights_sha256="0" * 64), "/v1/load_model"),
        "answers with weights with the checksum 000000000000… and not",
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_what_breaks_is_tried_again_and_then_a_sentence(well: Server, policy: LanguagePolicy, name: str) -> None:
    change, said = BREAKS[name]
    sampler = sampler_of(well, policy, tries=3)
    well.endpoints.change = change
    with pytest.raises(SamplerError, match=rf"{said}.*, 3 times: look at the server"):
        sampler.load(policy.parameters(), 3)
    asked = "/v1/load_model" if "load" in name else "/v1/completions"
    assert well.endpoints.requests.count(asked) == 3


def test_a_slow_server_is_a_sentence(well: Server, policy: LanguagePolicy) -> None:
    sampler = sampler_of(well, policy)
    sampler.load({}, 3)
    well.endpoints.delay, sampler.connection.timeout = 0.3, 0.05
    with pytest.raises(SamplerError, match=r"does not answer \(no answer in 0.05 s\), 2 times"):
        sampler.sample(PROMPTS, STREAMS, KNOBS)


def test_what_fails_once_is_mended_by_the_second_try(well: Server, policy: LanguagePolicy) -> None:
    sampler = sampler_of(well, policy)
    sampler.load({}, 3)
    expected, left = sampler.sample(PROMPTS, STREAMS, KNOBS), [1]

    def once(path: str, body: bytes) -> bytes | None:
        return None if left and left.pop() else body

    well.endpoints.change = once
    assert sampler.sample(PROMPTS, STREAMS, KNOBS) == expected


def test_a_request_that_the_server_refuses_is_not_repeated(well: Server, policy: LanguagePolicy) -> None:
    sampler = sampler_of(well, policy)
    sampler.load({}, 3)
    well.engine.name = "other"
    well.endpoints.requests.clear()
    try:
        with pytest.raises(SamplerError, match="there is no model 'tiny' here: this server has 'other'"):
            sampler.sample(PROMPTS, STREAMS, KNOBS)
    finally:
        well.engine.name = "tiny"
    assert len(well.endpoints.requests) == 1


def test_log_probabilities_of_a_rollout_are_compared(well: Server) -> None:
    """0.0009 is within the bound of 0.001; on average a tenth of it is allowed."""
    sampler = sampler_of(well, begun())
    mask = torch.ones(20, 2, dtype=torch.bool)
    mask[0, 1] = False
    own, theirs = torch.zeros(20, 2), torch.zeros(20, 2)
    theirs[0, 0], theirs[0, 1] = 0.0009, math.nan
    sampler.compare(own, theirs, mask)
    theirs[1, 0] = 0.0011
    with pytest.raises(SamplerError, match=r"39 tokens of a rollout differ by up to 0.0011 .* 0.001 and 0.0001 are"):
        sampler.compare(own, theirs, mask)
    theirs[:] = 0.0002
    with pytest.raises(SamplerError, match=r"by 0\.0002 on average"):
        sampler.compare(own, theirs, mask)
    theirs[:] = math.nan
    with pytest.raises(SamplerError):
        sampler.compare(own, theirs, mask)
