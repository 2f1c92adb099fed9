"""What is loaded and what is refused; what is expected is written here or is plain transformers'."""

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from own_code import change, save_own_code
from safetensors.torch import load_file, save_file
from tiny_scorers import make_classifier
from transformers import AutoModelForCausalLM, BertConfig, BertLMHeadModel, T5Config

import burnish
from burnish.policies.language.adapters import Lora, source_of
from burnish.policies.language.loading import Loading, explained, load_config, load_tokenizer
from burnish.policies.language.policy import load_policy
from burnish.policies.language.scorer import load_scorer
from burnish.run import UserError

Change = Callable[[Path], Any]


def sets(file: str = "config.json", **values: Any) -> Change:
    return lambda folder: change(folder / file, **values)


def writes(file: str, content: str | bytes) -> Change:
    return lambda folder: (folder / file).write_bytes(content if isinstance(content, bytes) else content.encode())


def cuts(file: str, size: int) -> Change:
    return lambda folder: (folder / file).write_bytes((folder / file).read_bytes()[:size])


def without(pattern: str) -> Change:
    return lambda folder: [path.unlink() for path in folder.glob(pattern)]


def weights(edit: Callable[[dict[str, torch.Tensor]], Any]) -> Change:
    """Write the weights again, without or with others."""

    def rewrite(folder: Path) -> None:
        tensors = load_file(folder / "model.safetensors")
        edit(tensors)
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})

    return rewrite


def sharded(folder: Path) -> Path:
    """Write the weights again in several files with an index."""
    model = AutoModelForCausalLM.from_pretrained(folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="4KB")
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    return folder


def without_a_shard(folder: Path) -> None:
    sorted(sharded(folder).glob("model-*.safetensors"))[0].unlink()


def forgets_a_weight(folder: Path) -> None:
    index = json.loads((sharded(folder) / "model.safetensors.index.json").read_text())
    del index["weight_map"]["model.norm.weight"]
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    (file,) = [f for f in folder.glob("model-*.safetensors") if "model.norm.weight" in load_file(f)]
    save_file({k: v for k, v in load_file(file).items() if k != "model.norm.weight"}, file, {"format": "pt"})


BROKEN: dict[str, tuple[str, Change, str]] = {
    "a list": ("llama", writes("config.json", "[1, 2]"), r"config\.json is not a mapping of keys to values"),
    "a number": ("llama", writes("config.json", "3"), r"config\.json is not a mapping of keys to values"),
    "null": ("llama", writes("config.json", "null"), r"config\.json is not a mapping of keys to values"),
    "empty": ("llama", writes("config.json", ""), r"config\.json cannot be read"),
    "bytes": ("llama", writes("config.json", b"\xff\xfe\x00"), r"config\.json cannot be read"),
    "no keys": ("llama", writes("config.json", "{}"), r"config\.json .*Unrecognized model"),
    "no config": ("llama", without("config.json"), r"it has no config\.json"),
    "a word for a number": ("llama", sets(hidden_size="many"), r"config\.json .*'hidden_size' expected int, got str"),
    "a list for a number": ("gpt2", sets(n_embd=[16]), r"config\.json .*'n_embd' expected int, got list"),
    "nothing for a number": ("llama", sets(vocab_size=None), r"config\.json .*'vocab_size' expected int, got NoneType"),
    "0 heads": ("llama", sets(num_attention_heads=0), "sets num_attention_heads to 0, and it must be at least 1"),
    "0 heads of gpt2": ("gpt2", sets(n_head=0), "sets n_head to 0, and it must be at least 1"),
    "-1 heads": ("gpt2", sets(n_head=-1), "sets n_head to -1, and it must be at least 1"),
    "0 key heads": ("llama", sets(num_key_value_heads=0), "sets num_key_value_heads to 0, and it must be at least 1"),
    "0 layers": ("llama", sets(num_hidden_layers=0), "sets num_hidden_layers to 0, and it must be at least 1"),
    "not divisible": ("llama", sets(num_attention_heads=3), r"size \(16\) is not a multiple of .* heads \(3\)"),
    "not divisible either": ("gpt2", sets(n_head=3), "must be divisible by num_heads"),
    "no such family": ("llama", sets(model_type="zzz"), "model type `zzz`"),
    "a list for a family": ("llama", sets(model_type=["llama"]), r"config\.json"),
    "no such function": ("llama", sets(hidden_act="nope"), "'nope'"),
    "another vocabulary": (
        "llama",
        sets(vocab_size=5),
        r"of shape \(18, 16\), and its config\.json describes \(5, 16\)",
    ),
    "one layer more": ("llama", sets(num_hidden_layers=3), r"9 of its weights are missing, such as model\.layers\.2\."),
    "one layer less": ("llama", sets(num_hidden_layers=1), r"leaves out, such as model\.layers\.1\."),
    "no tokenizer": ("llama", without("*token*"), "no usable tokenizer"),
    "a cut tokenizer": ("llama", cuts("tokenizer.json", 200), r"tokenizer\.json .*Expecting"),
    "an empty tokenizer": ("llama", writes("tokenizer.json", "{}"), r"tokenizer\.json"),
    "a list for a tokenizer": (
        "llama",
        writes("tokenizer_config.json", "[]"),
        r"tokenizer_config\.json is not a mapping",
    ),
    "broken generation": ("llama", writes("generation_config.json", "{"), r"generation_config\.json cannot be read"),
    "no weights": ("llama", without("*.safetensors"), "no file named model.safetensors"),
    "cut weights": ("llama", cuts("model.safetensors", 3000), "header"),
    "other bytes": ("llama", writes("model.safetensors", b"abc" * 100), "header"),
    "no bytes": ("llama", writes("model.safetensors", b""), "header"),
    "a missing shard": ("llama", without_a_shard, "model-00001-of"),
    "a weight in no shard": ("llama", forgets_a_weight, r"1 of its weights are missing, such as model\.norm\.weight"),
    "a missing weight": (
        "gpt2",
        weights(lambda t: t.pop("transformer.h.1.mlp.c_fc.bias")),
        r"1 of its weights are missing, such as transformer\.h\.1\.mlp\.c_fc\.bias",
    ),
    "a missing head": ("untied_llama", weights(lambda t: t.pop("lm_head.weight")), r"missing, such as lm_head\.weight"),
    "whole numbers": (
        "llama",
        weights(lambda t: t.update({k: v.int() for k, v in t.items()})),
        r"has lm_head\.weight in I32, which is no dtype of weights",
    ),
    "complex numbers": (
        "gpt2",
        weights(lambda t: t.update({"transformer.ln_f.bias": t["transformer.ln_f.bias"] * 1j})),
        r"has transformer\.ln_f\.bias in C64, which is no dtype of weights",
    ),
    "layers without end": (
        "llama",
        sets(num_hidden_layers=10**15),
        "sets num_hidden_layers to 1000000000000000, and it must be at most 1000",
    ),
    "no dropout": ("llama", sets(attention_dropout=None), r"sets attention_dropout to None, .* a number in \[0, 1\]"),
    "a word for an end": (
        "llama",
        sets("generation_config.json", eos_token_id="x"),
        r"generation_config\.json sets eos_token_id to 'x', and it must be the number of a token",
    ),
    "quantised": ("llama", sets(quantization_config={"quant_method": "gptq", "bits": 4}), r"is quantised \(gptq\)"),
    "attention code on the hub": ("llama", sets(_attn_implementation="owner/kernel"), "--trust-remote-code"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_folder_is_refused_in_one_sentence(name: str, tmp_path: Path, capfd: Any) -> None:
    family, breaks, message = BROKEN[name]
    breaks(tiny.save_model(tmp_path, family))
    capfd.readouterr()
    with pytest.raises(UserError, match=message) as caught:
        load_policy(tmp_path)
    said = str(caught.value)
    assert said.startswith(f"--model {tmp_path}")
    assert "\n" not in said
    assert "random" not in capfd.readouterr().err  # no page of warnings about weights that are newly initialised
    if name not in ("another vocabulary", "a missing head", "one layer less"):
        with pytest.raises(UserError) as caught:
            load_scorer(tmp_path, option="--reward")
        assert str(caught.value).startswith(f"--reward {tmp_path}")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("family", tiny.FAMILIES)
def test_a_whole_model_is_that_of_plain_transformers(family: str, tmp_path: Path) -> None:
    """Weights tied to the embedding are saved once, and not missing."""
    tiny.save_model(tmp_path, family)
    loaded = load_policy(tmp_path).model.state_dict()
    plain = AutoModelForCausalLM.from_pretrained(tmp_path, dtype=torch.float32).state_dict()
    assert loaded.keys() == plain.keys()
    assert all(torch.equal(loaded[key], plain[key]) for key in plain)
    assert {tensor.dtype for tensor in loaded.values() if tensor.is_floating_point()} == {torch.float32}


def test_shards_are_read(tmp_path: Path) -> None:
    before = load_policy(tiny.save_model(tmp_path, "llama")).model.state_dict()
    after = load_policy(sharded(tmp_path)).model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("family", ["llama", "untied_llama"])
def test_a_reward_model_is_no_language_model(family: str, tmp_path: Path) -> None:
    """With or without a head of its own: it would be drawn at random, or be that of a model that scores."""
    make_classifier(family).save_pretrained(tmp_path)
    tiny.make_tokenizer().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"is a reward model, with the weights score\.weight: give a language model"):
        load_policy(tmp_path)


def test_models_of_other_kinds_are_refused(tmp_path: Path) -> None:
    tiny.make_tokenizer().save_pretrained(tmp_path)
    sizes = {"vocab_size": 18, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
    BertLMHeadModel(BertConfig(**sizes, intermediate_size=8)).bert.save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"of its weights are missing, such as cls\."):
        load_policy(tmp_path)
    T5Config().save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"could not be loaded as a causal language model: .*T5Config"):
        load_policy(tmp_path)
    with pytest.raises(UserError, match="is a file: give the folder of a model"):
        load_policy(tmp_path / "config.json")


def test_other_weights_in_the_file_are_named(tmp_path: Path) -> None:
    """As the image encoder of a model of which only the language model is loaded."""
    weights(lambda tensors: tensors.update({"vision.layer.weight": torch.zeros(2)}))(tiny.save_model(tmp_path, "llama"))
    with pytest.warns(UserWarning, match=r"1 weights, such as vision\.layer\.weight, are not read"):
        load_policy(tmp_path)


# Pickles -----------------------------------------------------------------------------------------------------------


class Bomb:
    """A pickle that makes a file when it is read."""

    def __init__(self, ran: Path) -> None:
        self.ran = ran

    def __reduce__(self) -> Any:
        return Path.touch, (self.ran,)


def named_in_the_config(folder: Path, ran: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(ran)))
    change(folder / "config.json", transformers_weights="adapter_model.bin")


def named_in_the_index(folder: Path, ran: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "x.bin").write_bytes(pickle.dumps(Bomb(ran)))
    index = {"metadata": {}, "weight_map": {"model.norm.weight": "x.bin"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def alone(name: str) -> Callable[[Path, Path], Any]:
    def put(folder: Path, ran: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / name).write_bytes(pickle.dumps(Bomb(ran)))

    return put


@pytest.mark.parametrize(
    "put",
    [
        *map(alone, ("pytorch_model.bin", "pytorch_model-00001-of-00002.bin", "model.pt", "x.pth", "x.ckpt")),
        named_in_the_config,
        named_in_the_index,
    ],
)
def test_weights_in_pickle_are_refused_with_advice(put: Any, tmp_path: Path) -> None:
    folder, ran = tiny.save_model(tmp_path / "model", "llama"), tmp_path / "ran"
    put(folder, ran)
    for load in (load_policy, load_scorer):
        with pytest.raises(UserError, match="convert it to safetensors") as caught:
            load(folder)  # type: ignore[operator]
        assert str(folder) in str(caught.value)
        assert "\n" not in str(caught.value)
    assert not ran.exists()


def test_a_pickle_beside_safetensors_is_not_read(tmp_path: Path) -> None:
    tiny.save_model(tmp_path, "llama")
    (tmp_path / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    load_policy(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_an_adapter_in_pickle_is_refused_with_advice(tmp_path: Path) -> None:
    base, adapter = tiny.save_model(tmp_path / "base", "llama"), tmp_path / "adapter"
    load_policy(base, lora=Lora(2)).save(adapter)
    (adapter / "adapter_model.safetensors").unlink()
    (adapter / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(UserError, match=r"without adapter_model\.safetensors: .* convert it to safetensors"):
        load_policy(adapter)
    assert not (tmp_path / "ran").exists()


def test_burnish_reads_no_pickle_and_loads_models_in_one_place() -> None:
    source = Path(burnish.__file__).parent
    for path in source.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"torch\.load\(|import pickle|pickle\.|allow_pickle", text), path
        loads = re.findall(r"\b(\w+)\.from_pretrained\(", text)
        if path.name not in ("loading.py", "smollm2.py"):  # the latter reads a file whose checksum is known
            assert set(loads) <= {"LoraConfig"}, path


# Code and revisions ------------------------------------------------------------------------------------------------


def test_code_in_a_folder_is_run_only_when_it_is_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("transformers.dynamic_module_utils.HF_MODULES_CACHE", str(tmp_path / "modules"))
    own, ran = save_own_code(tmp_path / "own", tmp_path / "ran", tokenizer=True), tmp_path / "ran"
    with pytest.raises(UserError, match=f"--model {own} needs Python code .* --trust-remote-code"):
        load_policy(own)
    assert not ran.exists()
    trusted = load_policy(own, loading=Loading(trust_remote_code=True))
    assert ran.exists()
    assert type(trusted.model).__name__ == "OwnModel"
    assert type(trusted.tokenizer).__name__ == "OwnTokenizer"


def test_a_tokenizer_of_its_own_is_not_replaced_in_silence(tmp_path: Path) -> None:
    own = save_own_code(tmp_path / "own", tmp_path / "ran", "llama", tokenizer=True)
    with pytest.raises(UserError, match=f"{own} needs Python code .* --trust-remote-code"):
        load_tokenizer(str(own), Loading())
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("template", [5, [{"name": "default", "template": 5}]])
def test_a_chat_template_that_is_no_text_is_refused(template: object, tmp_path: Path) -> None:
    tiny.save_model(tmp_path, "llama")
    file = tmp_path / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"chat_template": template}))
    with pytest.raises(UserError, match=f"{tmp_path} has a chat_template that is 5, which is no text"):
        load_tokenizer(str(tmp_path), Loading())


def test_a_revision_of_a_folder_is_refused(tmp_path: Path) -> None:
    tiny.save_model(tmp_path, "llama")
    with pytest.raises(UserError, match=f"--model {tmp_path} is a folder, and --revision applies to a name on the hub"):
        load_policy(tmp_path, loading=Loading(revision="v2"))
    assert Loading("v2", True, "bfloat16").elsewhere() == Loading(None, True, "bfloat16")


def hub_snapshot(cache: Path, name: str, revision: str, commit: str, family: str, seed: int) -> None:
    """A model in the hub's cache, as a download leaves it."""
    place = cache / f"models--{name.replace('/', '--')}"
    tiny.save_model(place / "snapshots" / commit, family, seed)
    (place / "refs").mkdir(exist_ok=True)
    (place / "refs" / revision).write_text(commit)


def test_a_revision_of_a_name_is_what_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two revisions of one name in the hub's cache, with different weights; an adapter remembers its base's."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for seed, revision in enumerate(("main", "v2")):
        hub_snapshot(tmp_path, "some/model", revision, str(seed) * 40, "llama", seed)
    found = {}
    for revision in (None, "v2", "1" * 40):
        found[revision] = load_policy("some/model", loading=Loading(revision)).model.model.norm.weight
        embedding = load_policy("some/model", loading=Loading(revision)).model.get_input_embeddings().weight
        expected = tiny.make_model("llama", 0 if revision is None else 1).get_input_embeddings().weight
        assert torch.equal(embedding, expected)
    with pytest.raises(UserError, match="could not be loaded"):
        load_policy("some/model", loading=Loading("v3"))
    adapter = tmp_path / "adapter"
    load_policy("some/model", lora=Lora(2), loading=Loading("v2")).save(adapter)
    assert json.loads((adapter / "adapter_config.json").read_text())["revision"] == "v2"
    assert source_of(adapter).loading == Loading("v2")
    merged = load_policy(adapter).model.get_input_embeddings().weight
    assert torch.equal(merged, tiny.make_model("llama", 1).get_input_embeddings().weight)


def test_a_name_with_pickles_alone_is_refused_with_advice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    hub_snapshot(tmp_path, "some/model", "main", "0" * 40, "llama", 0)
    alone("pytorch_model.bin")(tmp_path / "models--some--model" / "snapshots" / ("0" * 40), tmp_path / "ran")
    with pytest.raises(UserError, match=r"--model some/model .*safetensors"):
        load_policy("some/model")
    assert not (tmp_path / "ran").exists()


def test_an_adapter_of_an_adapter_is_refused(tmp_path: Path) -> None:
    base = tiny.save_model(tmp_path / "base", "llama")
    for name in ("one", "two"):
        load_policy(base, lora=Lora(2)).save(tmp_path / name)
    change(tmp_path / "two" / "adapter_config.json", base_model_name_or_path=str(tmp_path / "one"))
    with pytest.raises(UserError, match=f"two was trained on another adapter, {tmp_path / 'one'}: merge that with"):
        load_policy(tmp_path / "two")


def test_whatever_is_raised_becomes_one_sentence_with_the_option() -> None:
    def said(error: Exception, name: str = "x") -> str:
        with pytest.raises(UserError) as caught, explained("--reward", name, "a reward model"):
            raise error
        return str(caught.value)

    assert said(KeyError("a")).endswith(
        "could not be loaded as a reward model: give a folder written by save_pretrained"
        ", or a model name that this machine can reach (KeyError: 'a')"
    )
    assert said(OSError("one. Two\nthree")).endswith("(one)")
    assert said(ZeroDivisionError()).endswith("(ZeroDivisionError)")
    assert said(UserError("x is a file")) == "--reward x is a file"
    assert said(UserError("its head is missing")) == "--reward x: its head is missing"
    assert said(UserError("--reward x is odd")) == "--reward x is odd"


def test_a_configuration_takes_changes(tmp_path: Path) -> None:
    tiny.save_model(tmp_path, "llama")
    assert load_config(str(tmp_path), Loading()).num_labels == 2
    assert load_config(str(tmp_path), Loading(), num_labels=1).num_labels == 1


# Dtypes and quantised weights --------------------------------------------------------------------------------------

ROWS = tiny.demonstrations(tiny.random_rows(5))


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen", "gemma2"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_are_kept_and_saved_in_their_dtype(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    """The log-softmax stays float32: log-probabilities are plain transformers' logits, widened first."""
    tiny.save_model(tmp_path / "model", family)
    name: Any = str(dtype).removeprefix("torch.")
    policy = load_policy(tmp_path / "model", loading=Loading(dtype=name))
    assert {p.dtype for p in policy.model.parameters()} == {dtype}
    found = policy.logprobs(ROWS)
    assert found.dtype == torch.float32
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "model", dtype=dtype).eval()
    for row, mask, logprobs in zip(ROWS.tokens, ROWS.mask, found, strict=True):
        expected = torch.stack(tiny.naive_logprobs(plain, row.tolist(), mask.tolist())).float()
        torch.testing.assert_close(logprobs, expected, rtol=0.05, atol=0.15)
    policy.save(tmp_path / "saved")
    assert {t.dtype for t in load_file(tmp_path / "saved" / "model.safetensors").values()} == {dtype}
    assert load_policy(tmp_path / "saved", loading=Loading(dtype="auto")).model.dtype == dtype
    assert load_policy(tmp_path / "saved").model.dtype == torch.float32


@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_scores_of_bfloat16_weights_are_computed_in_float32(family: str, tmp_path: Path) -> None:
    """w·h of the widened hidden state and head, so that scores do not fall on bfloat16's coarse grid."""
    tiny.save_model(tmp_path / "model", family)
    scorer = load_scorer(tmp_path / "model", loading=Loading(dtype="bfloat16"))
    model: Any = scorer.model
    assert model.score.weight.dtype == torch.bfloat16
    found = scorer.scores(ROWS)
    for i, length in enumerate(ROWS.lengths.tolist()):
        hidden = model.base_model(input_ids=ROWS.tokens[i : i + 1, :length]).last_hidden_state[0, -1]
        expected = (hidden.double() * model.score.weight[0].double()).sum().item()
        assert found[i].item() == pytest.approx(expected, rel=0.05, abs=0.05)
    assert any(score != torch.tensor(score).bfloat16().float().item() for score in found.tolist())


@pytest.mark.parametrize("loads", [load_policy, load_scorer])
def test_adapters_and_heads_beside_bfloat16_weights_are_float32(loads: Any, tmp_path: Path) -> None:
    tiny.save_model(tmp_path / "model", "llama")
    how = Loading(dtype="bfloat16")
    model = loads(tmp_path / "model", lora=Lora(2), loading=how)
    assert {p.dtype for p in model.parameters().values()} == {torch.float32}
    assert {p.dtype for p in model.model.parameters() if not p.requires_grad} == {torch.bfloat16}
    model.save(tmp_path / "adapter")
    assert {t.dtype for t in load_file(tmp_path / "adapter" / "adapter_model.safetensors").values()} == {torch.float32}
    again = loads(tmp_path / "adapter", lora=Lora(2), loading=how)
    assert {p.dtype for p in again.parameters().values()} == {torch.float32}


def test_without_bitsandbytes_the_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    tiny.save_model(tmp_path, "llama")
    with pytest.raises(UserError, match=r"--load-in-4bit needs the package bitsandbytes: pip install 'burnish\[quant"):
        load_policy(tmp_path, lora=Lora(2), loading=Loading(bits=4))


def quantised(folder: Path, family: str, bits: Any, adapter: Path | None = None) -> Any:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install 'burnish[quantized]'")
    wide = {"n_embd": 64} if family == "gpt2" else {"hidden_size": 64, "head_dim": 32, "intermediate_size": 96}
    if not folder.exists():
        tiny.save_model(folder, family, **wide)
    return load_policy(adapter or folder, lora=Lora(2), loading=Loading(bits=bits))


def dequantised(policy: Any, folder: Path) -> Any:
    """The oracle: the model of `folder` in float32, with the numbers that the quantised weights stand for."""
    import bitsandbytes

    plain = load_policy(folder, lora=Lora(2))
    layers: dict[str, Any] = dict(plain.model.named_modules())
    for name, module in policy.model.named_modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            whole = bitsandbytes.functional.dequantize_4bit(module.weight.data, module.weight.quant_state)
        elif isinstance(module, bitsandbytes.nn.Linear8bitLt):
            whole = module.weight.data.float() * module.state.SCB[:, None] / 127
        else:
            continue
        transposed = type(layers[name]).__name__ == "Conv1D"
        layers[name].weight.data.copy_(whole.T if transposed else whole)
    return plain


@pytest.mark.parametrize("family", ["gpt2", "llama", "qwen"])
@pytest.mark.parametrize(("bits", "near"), [(4, 1e-4), (8, 0.1)])
def test_quantised_weights_give_the_numbers_and_gradients_of_what_they_stand_for(
    family: str, bits: int, near: float, tmp_path: Path
) -> None:
    """LLM.int8() rounds the activations too, so it is only near."""
    policy = quantised(tmp_path / "model", family, bits)
    plain = dequantised(policy, tmp_path / "model")
    torch.manual_seed(0)
    with torch.no_grad():
        for name, parameter in policy.parameters().items():
            parameter.copy_(0.1 * torch.randn_like(parameter))
            plain.parameters()[name].copy_(parameter)
    for model in (policy, plain):
        model.logprobs(ROWS).detach()  # as a reference does before training
        model.logprobs(ROWS).sum().backward()
    torch.testing.assert_close(policy.logprobs(ROWS), plain.logprobs(ROWS), rtol=near, atol=near)
    ours = torch.cat([p.grad.flatten() for p in policy.parameters().values()])
    theirs = torch.cat([plain.parameters()[name].grad.flatten() for name in policy.parameters()])
    assert (ours - theirs).norm() < near * theirs.norm()
    assert theirs.norm() > 1
    assert isinstance(policy.model.get_output_embeddings(), torch.nn.Linear)
    assert {p.dtype for p in policy.parameters().values()} == {torch.float32}


@pytest.mark.parametrize("bits", [4, 8])
def test_a_row_of_a_quantised_model_does_not_depend_on_its_neighbours(bits: int, tmp_path: Path) -> None:
    policy = quantised(tmp_path / "model", "llama", bits)
    together = policy.logprobs(ROWS).sum(1)
    alone = [policy.logprobs(tiny.demonstrations([row])).sum() for row in tiny.random_rows(5)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("bits", [4, 8])
def test_an_adapter_of_a_quantised_base_is_loaded_beside_it_or_merged_into_the_base_as_it_was(
    bits: Any, tmp_path: Path
) -> None:
    policy = quantised(tmp_path / "model", "llama", bits)
    with torch.no_grad():
        for parameter in policy.parameters().values():
            parameter.add_(0.05)
    policy.save(tmp_path / "adapter")
    again = load_policy(tmp_path / "adapter", loading=Loading(bits=bits))
    torch.testing.assert_close(again.logprobs(ROWS), policy.logprobs(ROWS))
    assert again.parameters() == {}
    further = quantised(tmp_path / "model", "llama", bits, adapter=tmp_path / "adapter")
    torch.testing.assert_close(further.logprobs(ROWS), policy.logprobs(ROWS))
    merged = load_policy(tmp_path / "adapter")
    beside = load_policy(tmp_path / "adapter", lora=Lora(2))
    assert not any("lora" in name for name in merged.model.state_dict())
    torch.testing.assert_close(merged.logprobs(ROWS), beside.logprobs(ROWS), rtol=1e-4, atol=1e-4)


def test_the_head_of_a_quantised_reward_model_is_not_quantised(tmp_path: Path) -> None:
    quantised(tmp_path / "model", "llama", 4)
    scorer = load_scorer(tmp_path / "model", lora=Lora(2), loading=Loading(bits=4))
    assert scorer.model.score.weight.dtype == torch.float32  # type: ignore[union-attr]
    scorer.save(tmp_path / "adapter")
    again = load_scorer(tmp_path / "adapter", loading=Loading(bits=4))
    torch.testing.assert_close(again.scores(ROWS), scorer.scores(ROWS))
