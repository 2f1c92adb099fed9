"""The table of reference log-probabilities: the direct computation, made once, and never another's."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch

from burnish.batches import Preferences
from burnish.policies.language import reference
from burnish.policies.language.adapters import Lora
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.reference import StartingAdapter, cached_reference, reference_key, weights_hash

PAIRS = tiny.preferences(tiny.random_pairs(10, seed=4))


class Walk:
    """Walks the pairs three at a time and counts how often that was asked for."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> Iterator[Preferences]:
        self.times += 1
        for start in range(0, len(PAIRS), 3):
            yield PAIRS.select(slice(start, start + 3))


@pytest.fixture
def walk() -> Walk:
    return Walk()


@pytest.fixture
def policy() -> LanguagePolicy:
    return tiny.make_policy("llama", double=False)


def test_the_table_gives_what_the_policy_gave(policy: LanguagePolicy, walk: Walk, tmp_path: Path) -> None:
    with torch.no_grad():
        expected = policy.logprobs(PAIRS)
        table = cached_reference(policy, walk, "data", tmp_path)
        policy.model.get_input_embeddings().weight.mul_(2.0)  # the reference stays what it was
    order = torch.tensor([7, 2, 9, 0])
    values = table.logprobs(PAIRS.select(order))
    assert values.shape == PAIRS.mask[order].shape
    torch.testing.assert_close(values, expected[order], rtol=0, atol=1e-5)
    assert (values[~PAIRS.mask[order]] == 0).all()
    assert not values.requires_grad


def test_a_row_may_be_padded_otherwise_than_when_it_was_computed(
    policy: LanguagePolicy, walk: Walk, tmp_path: Path
) -> None:
    table = cached_reference(policy, walk, "data", tmp_path)
    wider = tiny.preferences(tiny.random_pairs(10, seed=4), extra=5)
    width = PAIRS.mask.shape[-1]
    assert torch.equal(table.logprobs(wider)[..., :width], table.logprobs(PAIRS))


def test_it_is_computed_once(policy: LanguagePolicy, walk: Walk, tmp_path: Path) -> None:
    cache = tmp_path / "not" / "there"
    first = cached_reference(policy, walk, "data", cache)
    second = cached_reference(policy, walk, "data", cache)
    assert walk.times == 1
    assert len(list(cache.iterdir())) == 1
    assert torch.equal(first.logprobs(PAIRS), second.logprobs(PAIRS))


def test_the_tables_used_longest_ago_make_room(
    policy: LanguagePolicy, walk: Walk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Room for two tables and a half: reading the first one saves it, and the second one goes."""
    tables = []
    for number, fingerprint in enumerate("ab"):
        cached_reference(policy, walk, fingerprint, tmp_path)
        (new,) = set(tmp_path.iterdir()) - set(tables)
        os.utime(new, (number, number))
        tables.append(new)
    monkeypatch.setattr(reference, "MOST_BYTES", int(2.5 * tables[0].stat().st_size))
    cached_reference(policy, walk, "a", tmp_path)
    assert walk.times == 2
    cached_reference(policy, walk, "c", tmp_path)
    assert [table.exists() for table in tables] == [True, False]
    assert len(list(tmp_path.iterdir())) == 2
    monkeypatch.setattr(reference, "MOST_BYTES", 1)
    cached_reference(policy, walk, "d", tmp_path)
    assert len(list(tmp_path.iterdir())) == 1  # the one just made stays, whatever its size


def test_threads_and_versions_are_in_the_key(policy: LanguagePolicy, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {reference_key(policy, "data")}
    for module, name in ((torch, "__version__"), (reference.transformers, "__version__")):
        monkeypatch.setattr(module, name, "0.0")
        keys.add(reference_key(policy, "data"))
    monkeypatch.setattr(reference, "version", lambda name: "0.0")
    keys.add(reference_key(policy, "data"))
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    keys.add(reference_key(policy, "data"))
    torch.set_num_threads(threads)
    assert len(keys) == 5


def test_dropout_plays_no_part(walk: Walk, tmp_path: Path) -> None:
    policy = tiny.make_policy("gpt2", resid_pdrop=0.5, double=False)
    policy.dropout(True)
    calm = cached_reference(policy, walk, "data", tmp_path / "a").logprobs(PAIRS)
    assert torch.equal(calm, cached_reference(policy, walk, "data", tmp_path / "b").logprobs(PAIRS))


def test_a_change_of_what_it_depends_on_is_a_miss(walk: Walk, tmp_path: Path) -> None:
    """One last bit of one weight; the configuration alone; the precision; the ids."""
    policy = tiny.make_policy("llama", double=False)
    cached_reference(policy, walk, "data", tmp_path)
    nudged = tiny.make_policy("llama", double=False)
    with torch.no_grad():
        weight = next(iter(nudged.parameters().values())).view(-1)
        weight[0] = torch.nextafter(weight[0], torch.tensor(9.0))
    others = [
        (nudged, "data"),
        (tiny.make_policy("llama", double=False, rms_norm_eps=1e-5), "data"),
        (LanguagePolicy(policy.model, policy.tokenizer, "bfloat16"), "data"),
        (policy, "other data"),
    ]
    for count, (other, fingerprint) in enumerate(others, start=2):
        table = cached_reference(other, walk, fingerprint, tmp_path)
        assert walk.times == count == len(list(tmp_path.iterdir()))
        with torch.no_grad():
            torch.testing.assert_close(
                table.logprobs(PAIRS), other.logprobs(PAIRS), rtol=0, atol=1e-5 + 1.0 * (count == 4)
            )


def test_where_the_model_came_from_does_not_matter(policy: LanguagePolicy, walk: Walk, tmp_path: Path) -> None:
    cached_reference(policy, walk, "data", tmp_path)
    policy.model.config._name_or_path = "elsewhere"
    cached_reference(policy, walk, "data", tmp_path)
    assert walk.times == 1


@pytest.mark.parametrize(
    "damage", ["truncate", "flip a bit of a number", "flip a bit of the header", "empty", "foreign"]
)
def test_a_damaged_file_is_computed_again(policy: LanguagePolicy, walk: Walk, tmp_path: Path, damage: str) -> None:
    expected = cached_reference(policy, walk, "data", tmp_path).logprobs(PAIRS)
    (path,) = tmp_path.iterdir()
    content = bytearray(path.read_bytes())
    if damage == "truncate":
        content = content[:-5]
    elif damage == "empty":
        content = bytearray()
    elif damage == "foreign":
        content = bytearray(b"{} something else")
    else:
        content[-30 if "number" in damage else 12] ^= 4
    path.write_bytes(content)
    assert torch.equal(cached_reference(policy, walk, "data", tmp_path).logprobs(PAIRS), expected)
    assert torch.equal(cached_reference(policy, walk, "data", tmp_path).logprobs(PAIRS), expected)
    assert walk.times == 2  # once more, and the file is sound again


def test_a_cache_that_cannot_be_written_is_done_without(policy: LanguagePolicy, walk: Walk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with torch.no_grad():
        table = cached_reference(policy, walk, "data", tmp_path / "file")
        torch.testing.assert_close(table.logprobs(PAIRS), policy.logprobs(PAIRS), rtol=0, atol=1e-5)


def test_a_row_never_computed_is_an_error(policy: LanguagePolicy, walk: Walk, tmp_path: Path) -> None:
    table = cached_reference(policy, walk, "data", tmp_path)
    stranger = Preferences(PAIRS.tokens, PAIRS.mask, PAIRS.lengths, PAIRS.rows + 100)
    with pytest.raises(KeyError):
        table.logprobs(stranger)


def test_the_hash_sees_names_shapes_and_values() -> None:
    one = torch.nn.Linear(2, 3, bias=False)
    same = torch.nn.Linear(2, 3, bias=False)
    same.load_state_dict(one.state_dict())
    turned = torch.nn.Linear(3, 2, bias=False)
    turned.weight.data = one.weight.data.view(2, 3).clone()
    assert weights_hash(one) == weights_hash(same) != weights_hash(turned)
    assert weights_hash(torch.nn.Sequential(one)) != weights_hash(one)


# Adapters ----------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["new", "trained before"])
def learner(request: pytest.FixtureRequest, tmp_path: Path) -> LanguagePolicy:
    """A policy that trains an adapter, a new one or one that is not 0."""
    new = load_policy(tiny.save_model(tmp_path / "base"), lora=Lora(4))
    if request.param == "new":
        return new
    move(new, seed=1)
    new.save(tmp_path / "adapter")
    return load_policy(tmp_path / "adapter", lora=Lora(4))


def move(policy: LanguagePolicy, seed: int = 2) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter += 0.3 * torch.randn(parameter.shape, generator=generator)


def test_a_policy_with_an_adapter_is_its_own_reference(learner: LanguagePolicy) -> None:
    """The same bits at first, so that KL is 0 and every ratio 1; and they stay when the policy moves."""
    reference = StartingAdapter(learner)
    start = learner.logprobs(PAIRS).detach()
    assert torch.equal(reference.logprobs(PAIRS), start)
    move(learner)
    moved = learner.logprobs(PAIRS).detach()
    assert (moved - start).abs().max() > 0.1
    assert torch.equal(reference.logprobs(PAIRS), start)
    assert torch.equal(learner.logprobs(PAIRS), moved)
    assert not reference.logprobs(PAIRS).requires_grad


def test_it_holds_a_copy_of_the_adapter_alone(learner: LanguagePolicy) -> None:
    held = sum(tensor.numel() for tensor in StartingAdapter(learner).start.values())
    assert held == sum(p.numel() for p in learner.parameters().values()) < weights_count(learner) / 2


def weights_count(policy: LanguagePolicy) -> int:
    return sum(p.numel() for p in policy.model.parameters())


def test_asking_it_between_forward_and_backward_changes_no_gradient(learner: LanguagePolicy) -> None:
    reference = StartingAdapter(learner)
    move(learner)
    learner.logprobs(PAIRS).sum().backward()
    expected = {name: p.grad.clone() for name, p in learner.parameters().items() if p.grad is not None}
    learner.model.zero_grad()
    loss = learner.logprobs(PAIRS).sum()
    reference.logprobs(PAIRS)
    loss.backward()
    assert expected
    assert all(torch.equal(p.grad, expected[name]) for name, p in learner.parameters().items())  # type: ignore[arg-type]


def test_an_error_within_leaves_the_policy_as_it_is(learner: LanguagePolicy) -> None:
    reference = StartingAdapter(learner)
    move(learner)
    moved = learner.logprobs(PAIRS).detach()

    def interrupted() -> None:
        with reference.in_place():
            assert not torch.allclose(learner.logprobs(PAIRS), moved)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert torch.equal(learner.logprobs(PAIRS), moved)


def test_its_temperature_is_the_policys(learner: LanguagePolicy) -> None:
    reference = StartingAdapter(learner)
    learner.temperature = 2.0
    assert torch.equal(reference.logprobs(PAIRS), learner.logprobs(PAIRS))


def test_the_table_sees_the_base_and_the_adapter_and_its_scale(learner: LanguagePolicy) -> None:
    """One last bit of either, and α, which no weight tells of."""
    keys = {reference_key(learner, "data")}
    config = learner.adapter.peft_config["default"]
    config.lora_alpha += 1
    keys.add(reference_key(learner, "data"))
    config.lora_alpha -= 1
    for name in ("base_layer.weight", "lora_B.default.weight"):
        weight = learner.model.get_parameter(f"transformer.h.0.attn.c_attn.{name}")
        with torch.no_grad():
            weight[0, 0] = torch.nextafter(weight[0, 0], torch.tensor(9.0))
        keys.add(reference_key(learner, "data"))
    assert len(keys) == 4
