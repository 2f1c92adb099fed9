"""Runs on paper: counts and bytes are those of real tiny models, FLOPs and bytes sent are worked by hand."""

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import peft
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GPT2Config,
    LlamaConfig,
    PreTrainedConfig,
)

from burnish.policies.language import policy, reader, sampler
from burnish.policies.language.cache import cache_of

sys.path.insert(0, str(Path(__file__).parent.parent / "bench"))
import scale
import scale_run
from scale_run import Run, activation_bytes, cache_bytes, cast_bytes, flops, learned, memory, row, seconds, sent
from scale_shape import BUILT_IN, Shape, shape_of

ROOT = Path(__file__).parent.parent
T = 48
"""More than 5 columns for each unit of a head's width: PyTorch's fused attention, as on a GPU."""


def llama(layers: int = 2, tied: bool = False) -> LlamaConfig:
    return LlamaConfig(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        vocab_size=64,
        tie_word_embeddings=tied,
        attn_implementation="sdpa",
    )


CONFIGS = {
    "llama": llama(),
    "llama, tied": llama(tied=True),
    "gpt2": GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=64, n_positions=16),
}


def count(parameters: Any) -> int:
    return sum(p.numel() for p in parameters)


# Beside real models --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_the_weights_of_a_model_are_counted(config: PreTrainedConfig) -> None:
    shape, model = shape_of(config.to_dict()), AutoModelForCausalLM.from_config(config)
    layers = getattr(model.base_model, "layers", None) or model.base_model.h
    assert shape.parameters == count(model.parameters())
    assert shape.block == count(layers[0].parameters())
    assert shape.root == count(model.parameters()) - count(layers.parameters())
    config.num_labels = 1
    scorer = AutoModelForSequenceClassification.from_config(config)
    assert scale_run.replace(shape, scalar=True).parameters == count(scorer.parameters())
    targets = {name.rpartition(".")[2] for name, one in layers[0].named_modules() if hasattr(one, "weight")}
    kinds = {name for name in targets if "norm" not in name and "ln" not in name}
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=3, target_modules=kinds))
    assert shape.adapters(3) == count(p for p in adapted.parameters() if p.requires_grad)


def test_the_built_in_shapes_have_the_published_numbers_of_weights() -> None:
    """Llama 2 7B's and Llama 3 70B's."""
    found = {name: shape_of(config).parameters for name, config in BUILT_IN.items()}
    assert found == {"7b": 6_738_415_616, "70b": 70_553_706_496}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_weights_gradients_and_moments_have_these_bytes(config: PreTrainedConfig, dtype: str) -> None:
    model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    model(input_ids=torch.arange(8)[None], labels=torch.arange(8)[None]).loss.backward()
    optimizer.step()
    found = memory(Run(shape_of(config.to_dict()), ranks=1, dtype=dtype))
    assert found["weights"] == sum(p.nbytes for p in model.parameters())
    assert found["gradients"] == sum(p.grad.nbytes for p in model.parameters())
    moments = [one[name].nbytes for one in optimizer.state.values() for name in ("exp_avg", "exp_avg_sq")]
    assert found["optimizer"] == sum(moments)
    assert found["summed"] == 0


def kept(layers: int, dtype: str, cached: bool) -> int:
    """Bytes that autograd keeps of a forward pass, weights themselves left out."""
    model = AutoModelForCausalLM.from_config(llama(layers)).to(getattr(torch, dtype))
    weights, found = {p.untyped_storage().data_ptr() for p in model.parameters()}, {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    half = torch.autocast("cpu", torch.bfloat16, cache_enabled=cached)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), half:
        model.model(input_ids=torch.arange(T)[None] % 64, use_cache=False)
    return sum(size for size, _ in found.values())


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_layer_keeps_these_activations_and_casts(dtype: str, cached: bool) -> None:
    """Casts stay without autocast's cache too, as it is off where weights are divided."""
    run = Run(shape_of(llama(1).to_dict()), dtype=dtype, checkpointing=False, rows=1, prompt=T - 8, response=8)
    head = cast_bytes(run, scale_run.replace(run.shape, layers=0))
    layer = activation_bytes(run, run.shape) + cast_bytes(run, run.shape) - head
    assert kept(3, dtype, cached) - kept(2, dtype, cached) == layer


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_keys_and_values_have_these_bytes(dtype: str) -> None:
    model = AutoModelForCausalLM.from_config(llama()).to(getattr(torch, dtype))
    cache = cache_of(model)
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        model(input_ids=torch.ones(24, 36, dtype=torch.long), past_key_values=cache, use_cache=True)
    written = sum(buffer.nbytes for layer in cache.layers for buffer in layer.buffers)
    run = Run(shape_of(llama().to_dict()), "grpo", dtype=dtype, rows=3, prompt=24, response=8)
    assert cache_bytes(run) == written  # 32 tokens, with an eighth more


def test_products_have_these_flops() -> None:
    model, run = (
        AutoModelForCausalLM.from_config(llama()),
        Run(shape_of(llama().to_dict()), prompt=0, response=T, rows=1),
    )
    with FlopCounterMode(display=False) as forwards:
        logits = model(input_ids=torch.arange(T)[None]).logits
    with FlopCounterMode(display=False) as backwards:
        logits.sum().backward()
    products = torch.ops.aten.mm
    first = forwards.get_flop_counts()["Global"][products]
    once = row(run, run.shape)
    assert once["matrices"] + once["head"] == first
    assert backwards.get_flop_counts()["Global"][products] == 2 * first
    assert learned(run, run.shape, checkpointing=False) == 3 * (first + once["attention"])


def test_burnish_has_these_bounds() -> None:
    rows = inspect.signature(sampler.sample).parameters["rows_at_once"].default
    assert (policy.LOGITS_AT_ONCE, rows) == (scale_run.LOGITS, scale_run.ROWS_AT_ONCE)
    assert reader.TOKENS_AT_ONCE["cuda"] == scale_run.TOKENS_AT_ONCE


# By hand -------------------------------------------------------------------------------------------------------------

SMALL = Shape(width=4, layers=2, heads=2, shared=2, inner=8, vocabulary=10, tied=False)
"""A layer: 2·16 + 2·8 + 3·32 = 144 in matrices and 8 in norms; the root 40 + 4 + 40; 388 in all. A critic: 352."""


def test_activations_with_and_without_checkpointing() -> None:
    """A token and layer: 4 (4·4 + 2 + 2) + 2 (7·4 + 2·2 + 4·8) = 208 bytes, of bfloat16 weights 168."""
    run = Run(SMALL, prompt=3, response=2, rows=2, micro=8)
    half = scale_run.replace(run, dtype="bfloat16")
    assert activation_bytes(run, SMALL) == 8 * (2 * 16 + 208)
    assert activation_bytes(half, SMALL) == 8 * (2 * 8 + 168)
    assert activation_bytes(scale_run.replace(run, checkpointing=False), SMALL) == 8 * 2 * 208
    assert activation_bytes(scale_run.replace(run, micro=99), SMALL) == 10 * (2 * 16 + 208)
    assert (cast_bytes(run, SMALL), cast_bytes(half, SMALL)) == (2 * (288 + 40), 0)
    assert memory(scale_run.replace(run, shard="none"))["gathered"] == 0


def test_keys_and_values_of_the_completions_that_are_sampled_together() -> None:
    """800 completions, 256 at a time, of 8 tokens and one more: 2 layers × 2 wide, 4 + 2 bytes; 2 + 2 of bfloat16."""
    run = Run(SMALL, "grpo", prompt=6, response=2, rows=100)
    assert cache_bytes(run) == 256 * 9 * 4 * 6
    assert cache_bytes(scale_run.replace(run, dtype="bfloat16", rows=1)) == 8 * 9 * 4 * 4
    assert cache_bytes(scale_run.replace(run, method="sft")) == 0


def test_flops_of_a_pair() -> None:
    """Prompt 6, two answers of 2: 10 tokens, and 18 + 2 (12 + 2) = 46 pairs; apart 16 tokens and 64 pairs."""
    run = Run(SMALL, "dpo", prompt=6, response=2, rows=3)
    assert row(run, SMALL) == {"matrices": 2 * 10 * 288, "attention": 4 * 46 * 8, "head": 2 * 4 * 40}
    assert row(run, SMALL, shared=False) == {"matrices": 2 * 16 * 288, "attention": 4 * 64 * 8, "head": 2 * 4 * 40}
    once = 5760 + 1472 + 320
    assert learned(run, SMALL, checkpointing=True) == 3 * once + 5760 + 1472
    assert flops(run) == {"sampling": 0, "scoring": 3 * once, "learning": 3 * (3 * once + 5760 + 1472)}


def test_flops_with_lora() -> None:
    """Rank 1: 2 layers × (6·4 + 2·2 + 3·12 = 64) = 128 weights, 6 FLOPs each; frozen products cost once backwards."""
    run = Run(SMALL, "dpo", lora=1, prompt=6, response=2, rows=3)
    assert learned(run, SMALL, checkpointing=False) == 2 * (5760 + 320) + 3 * 1472 + 6 * 10 * 128


def test_logits_beyond_a_chunk_are_computed_twice() -> None:
    """2^23 words leave 2 tokens a chunk: of 8 in the micro-batch, 6 are computed again."""
    shape = scale_run.replace(SMALL, vocabulary=2**23)
    run = Run(shape, prompt=0, response=8, rows=1, micro=8)
    once = row(run, shape)
    assert learned(run, shape, checkpointing=False) == 3 * sum(once.values()) + once["head"] * 6 / 8
    assert learned(scale_run.replace(run, micro=99), shape, False) == learned(run, shape, False)


def test_flops_of_ppo_beside_a_critic() -> None:
    """A completion of 2 behind 6: 8 tokens, 32 pairs. The policy's head 160, a critic's 16."""
    run = Run(SMALL, "ppo", prompt=6, response=2, rows=1, checkpointing=False)
    body, attention = 2 * 8 * 288, 4 * 32 * 8
    own, scalar = body + attention + 160, body + attention + 16
    found = flops(run)
    assert found == {"sampling": own, "scoring": own + 3 * scalar, "learning": 4 * 3 * (own + scalar)}


def test_bytes_sent() -> None:
    """Of 4 processes 3/4 of 388 float32 weights, twice to sum; the root's 84 are gathered once a micro-batch."""
    run = Run(SMALL, ranks=4, prompt=6, response=2, rows=2, micro=8)
    assert sent(run) == {"gradients": 2 * 0.75 * 1552, "passes": 0, "whole": 0, "updated": 0}
    zero = scale_run.replace(run, shard="optimizer")
    assert sent(zero) == {"gradients": 2 * 0.75 * 1552, "passes": 0, "whole": 0, "updated": 0.75 * 1552}
    full = scale_run.replace(run, shard="full")
    passes = 0.75 * 2 * 4 * (2 * 304 + 84)
    assert sent(full) == {"gradients": 0.75 * 2 * 1552, "passes": passes, "whole": 0, "updated": 0}
    assert sent(scale_run.replace(full, method="dpo", micro=20))["whole"] == 0
    assert sent(scale_run.replace(full, method="grpo"))["whole"] == 2 * 0.75 * 1552
    assert set(sent(scale_run.replace(full, ranks=1)).values()) == {0}
    long = sent(scale_run.replace(full, rows=2500, micro=20_000))  # two passes of at most 16,384 tokens
    assert (long["gradients"], long["passes"]) == (0.75 * 4 * (2 * 304 + 84), 0.75 * 4 * (2 * 2 * 304 + 84))
    adapted = {"gradients": 0.75 * 2 * 512, "passes": passes}  # adapters are in each process
    assert sent(scale_run.replace(full, lora=1)) == adapted | {"whole": 0, "updated": 0}
    scored = 0.75 * 4 * (388 + 352)  # reference and reward model
    both = 0.75 * 2 * 4 * (2 * (304 + 304) + 84 + 48)  # policy and critic
    assert sent(scale_run.replace(full, method="ppo"))["passes"] == 4 * both + scored


def test_memory_of_divided_weights() -> None:
    """PPO with 4 processes: policy 388 and critic 352 of 4 bytes, and as many in reference and reward model."""
    found = memory(Run(SMALL, "ppo", "full", 4, prompt=6, response=2, rows=2, micro=8))
    assert (found["weights"], found["gradients"], found["optimizer"]) == (740, 740, 1480)
    assert found["frozen"] == 740
    assert found["gathered"] == 2 * 4 * (84 + 304) + 2 * 4 * (48 + 304)
    assert found["casts"] == 2 * (144 + 40) + 2 * 144
    assert (found["whole"], found["summed"]) == (4 * 740, 0)
    assert found["loading"] == 740 + found["frozen"]
    sampling = 740 + 1480 + found["frozen"] + found["whole"] + found["cache"]
    update = 740 + 1480 + 740 + found["frozen"] + found["gathered"] + found["casts"]
    assert found["training"] == max(sampling, update + found["activations"] + found["logits"])
    assert found["logits"] == 3 * 4 * 2 * 10
    zero = memory(Run(SMALL, "sft", "optimizer", 4, prompt=6, response=2, rows=3, micro=99))
    assert (zero["weights"], zero["optimizer"], zero["summed"], zero["logits"]) == (1552, 776, 1552, 3 * 4 * 6 * 10)
    assert memory(Run(SMALL, "sft", "none", 4))["optimizer"] == 3104
    assert memory(Run(SMALL, "sft", "full", 4))["whole"] == 0


def test_memory_with_adapters() -> None:
    """128 float32 weights beside the base, a copy of them as the reference; in 4 bits 288 weights of 0.5625 bytes."""
    run = Run(SMALL, "grpo", ranks=4, lora=1)
    found, base = memory(run), 2 * 368 + 4 * 20
    assert (found["weights"], found["frozen"], found["gradients"]) == (base + 512, 512, 512)
    assert (found["casts"], found["summed"], found["loading"]) == (0, 512, 1552 + 512)
    four = memory(scale_run.replace(run, four_bits=True))
    assert four["weights"] == 288 * 0.5625 + 2 * 80 + 4 * 20 + 512
    full = memory(scale_run.replace(run, shard="full"))
    assert full["gathered"] == 4 * (84 + 2 * 152)
    assert (full["whole"], full["gradients"], full["optimizer"]) == (1552 + 512, 512, 1024)
    assert full["training"] == 1552 / 4 + 512 + 1024 + 512 + full["whole"] + full["cache"]  # more than an update's


def test_seconds_of_a_stated_machine() -> None:
    """At half of 100 FLOP/s; sampling reads and casts 388 weights for each of 2 tokens, 8 bytes each, at 8 bytes/s."""
    run = Run(SMALL, "grpo", ranks=4, prompt=6, response=2, rows=2)
    found, work = seconds(run, scale_run.Machine(100, 0.5, 8, 4)), flops(run)
    assert found["computing"] == (work["scoring"] + work["learning"]) / 50
    assert found["sampling"] == max(776, work["sampling"] / 50)
    assert found["sending"] == 2 * 0.75 * 1552 / 4
    fast = scale_run.Machine(1e9, 0.5, 8, 4)
    assert seconds(run, fast)["sampling"] == 2 * 388 * 8 / 8
    assert seconds(scale_run.replace(run, dtype="bfloat16"), fast)["sampling"] == 2 * 388 * 2 / 8
    assert seconds(scale_run.replace(run, lora=1), fast)["sampling"] == 2 * (2 * 368 + 4 * 20 + 512) / 8
    assert seconds(scale_run.replace(run, method="sft"), fast)["sampling"] == 0


def test_tokens_of_a_second() -> None:
    """Two prompts of 6 tokens, each with 8 completions of 2, in the seconds that computing and sampling take."""
    run, machine = Run(SMALL, "grpo", prompt=6, response=2, rows=2), scale_run.Machine(100, 0.5, 8, 4)
    took = seconds(run, machine)
    head, line = (scale.work_table([("small", run)], machine).splitlines()[i].split(" | ") for i in (0, 2))
    assert line[head.index("tokens/s")] == scale.number(2 * (6 + 8 * 2) / (took["computing"] + took["sampling"]))


# What is printed -----------------------------------------------------------------------------------------------------


def test_the_page_has_the_tables_that_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "scale.md").read_text()
    scale.main([])
    for part in capsys.readouterr().out.strip().split("\n\n"):
        assert part in text, part.partition("\n")[0]


def test_one_run_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text(json.dumps(AutoConfig.for_model("gpt2").to_dict()))
    scale.main(["--model", str(tmp_path / "config.json"), "--method", "dpo", "--ranks", "2", "--lora", "8"])
    text = capsys.readouterr().out
    assert text.startswith("124,439,808 weights, 1,179,648 trained; one of 2 processes")
    assert "| gradients | 0.0047 |" in text
    with pytest.raises(SystemExit):
        scale.main(["--four-bits"])
    assert "--four-bits is for --lora" in capsys.readouterr().err
