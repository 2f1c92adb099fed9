"""A run on N GPUs on paper: bytes of memory by part, FLOPs, bytes sent and seconds, as Burnish works.

See docs/several_processes.md for what is divided and what is sent; docs/scale.md says what this leaves out.
"""

import math
from dataclasses import dataclass, replace

from scale_shape import Shape

LOGITS = 2**24
"""The most logits in memory at a time, `LOGITS_AT_ONCE` in policies/language/policy.py."""
TOKENS_AT_ONCE = 16384
"""Of one pass of the model on a GPU, policies/language/reader.py."""
ROWS_AT_ONCE = 256
"""Completions that are sampled together, policies/language/sampler.py."""
NF4 = 0.5 + 4 / 64
"""Bytes per weight in 4 bits: half a byte, and a float32 scale for 64 of them."""


@dataclass(frozen=True)
class Method:
    """What a method has beside its policy, and does in a step: a rollout and all its updates, or one update.

    A preference method reads its reference from a table, which its policy computes once, before the first update.
    """

    completions: int = 1
    passes: int = 1
    sampled: bool = False
    critic: bool = False
    frozen: tuple[str, ...] = ()
    table: bool = False
    whole: int = 0
    """How often `full` gathers the whole weights: to sample, and for a `prepare` of the method's own."""


METHODS = {
    "sft": Method(),
    "dpo": Method(completions=2, table=True),
    "ppo": Method(passes=4, sampled=True, critic=True, frozen=("reference", "reward"), whole=2),
    "grpo": Method(completions=8, sampled=True, frozen=("reference",), whole=2),
}


@dataclass(frozen=True)
class Run:
    """A run. A process has `rows` prompts a step, and micro-batches of `micro` tokens.

    `dtype` is that of the weights: float32 ones are computed with in bfloat16 under autocast. `lora` is the rank.
    """

    shape: Shape
    method: str = "sft"
    shard: str = "none"
    ranks: int = 8
    lora: int | None = None
    dtype: str = "float32"
    four_bits: bool = False
    checkpointing: bool = True
    prompt: int = 512
    response: int = 512
    rows: int = 8
    micro: int = 4096

    @property
    def does(self) -> Method:
        return METHODS[self.method]

    @property
    def divided(self) -> bool:
        return self.shard == "full" and self.ranks > 1

    @property
    def size(self) -> int:
        """Bytes of a weight."""
        return 4 if self.dtype == "float32" else 2

    @property
    def trained_size(self) -> int:
        """Bytes of a trained weight, of its gradient and of each of AdamW's two moments; adapters stay float32."""
        return 4 if self.lora else self.size

    @property
    def trained(self) -> list[Shape]:
        return [self.shape, *[replace(self.shape, scalar=True)] * self.does.critic]

    def trainable(self, shape: Shape) -> int:
        return shape.adapters(self.lora) if self.lora else shape.parameters

    @property
    def tokens(self) -> int:
        """Of a prompt and its completions, the prompt read once."""
        return self.prompt + self.does.completions * self.response

    @property
    def chosen(self) -> int:
        """Tokens of the completions, which alone have logits."""
        return self.does.completions * self.response

    @property
    def in_one(self) -> int:
        """Tokens of the largest micro-batch."""
        return min(self.micro, self.rows * self.tokens)

    @property
    def micro_batches(self) -> int:
        return math.ceil(self.rows * self.tokens / self.micro)


# Memory --------------------------------------------------------------------------------------------------------------


def frozen_bytes(run: Run, shape: Shape) -> float:
    """A model that is not trained: matrices in the 16 bits of its files, or in 4; not norms, biases, a scalar head.

    What processes divide stays in its dtype.
    """
    if run.divided:
        return run.size * shape.parameters
    matrices = shape.layers * shape.matrices
    wide = shape.layers * shape.vectors + shape.norm + (shape.head if shape.scalar else 0)
    return matrices * (NF4 if run.four_bits else 2) + 2 * (shape.parameters - matrices - wide) + run.size * wide


def weight_bytes(run: Run, shape: Shape) -> float:
    """A trained model, whole; with LoRA its frozen base and the adapter."""
    return frozen_bytes(run, shape) + 4 * run.trainable(shape) if run.lora else run.size * shape.parameters


def activation_bytes(run: Run, shape: Shape) -> float:
    """What autograd keeps of a micro-batch in Llama's layers, without the narrow tensors of LoRA.

    Products are in bfloat16; the residual stream has the dtype of the weights. Each head has a log-sum-exp and each
    norm a scale, in float32. With checkpointing each layer keeps its input, and one is computed again.
    """
    residual, half = (4, 7) if run.size == 4 else (2, 6)
    wide = 4 * (residual * shape.width + shape.heads + 2)
    layer = wide + 2 * (half * shape.width + 2 * shape.shared + 4 * shape.inner)
    return run.in_one * ((shape.layers * run.size * shape.width + layer) if run.checkpointing else shape.layers * layer)


def cast_bytes(run: Run, shape: Shape) -> int:
    """The bfloat16 copies of float32 weights that autocast makes, which are kept for the backward pass.

    FSDP2 gives up the float32 weights of a block, not these: only with checkpointing they are a block's alone.
    """
    if run.lora or run.size == 2:
        return 0
    layers = 1 if run.divided and run.checkpointing else shape.layers
    return 2 * (layers * shape.matrices + (0 if shape.scalar else shape.vocabulary * shape.width))


def gathered_bytes(run: Run, shape: Shape) -> float:
    """`full`: the weights of the root and of two blocks (one computes, one is on its way), and their gradients."""
    if not run.divided:
        return 0
    return (1 if run.lora else 2) * run.size * (shape.root + 2 * shape.block)


def cache_bytes(run: Run) -> float:
    """Keys and values of the completions that are sampled together, with room of an eighth.

    With float32 weights keys are float32, as rotary positions make them, and values bfloat16.
    """
    if not run.does.sampled:
        return 0
    rows = min(ROWS_AT_ONCE, run.rows * run.does.completions)
    columns = (run.prompt + run.response) * 9 / 8
    return rows * columns * run.shape.layers * run.shape.shared * (run.size + 2)


def memory(run: Run) -> dict[str, float]:
    """Bytes on one GPU, by part, and the most of them at a time.

    During an update there are gradients and one of "update" (activations, three tensors of logits, casts, gathered
    units) and "summed" (the gradient as one vector); while sampling neither, but "sampling" (cache, whole weights).
    """
    parts, full = run.ranks, run.divided
    share = parts if full else 1
    whole = sum(weight_bytes(run, shape) for shape in run.trained)
    gradients = run.trained_size * sum(map(run.trainable, run.trained))
    shapes = {"reference": run.shape, "reward": replace(run.shape, scalar=True)}
    second = [name for name in run.does.frozen if not (run.lora and name == "reference")]  # else a copy of the adapter
    frozen = sum(frozen_bytes(run, shapes[name]) for name in second) / share
    adapters = 4 * sum(map(run.trainable, run.trained)) if run.lora else 0  # in each process
    if run.lora and "reference" in run.does.frozen:
        frozen += 4 * run.trainable(run.shape)
    chosen = run.in_one * run.chosen // run.tokens
    found: dict[str, float] = {
        "weights": (whole - adapters) / share + adapters,
        "gradients": gradients if run.lora else gradients / share,
        "optimizer": 2 * gradients / (1 if run.shard == "none" or (full and run.lora) else parts),
        "frozen": frozen,
        "activations": sum(activation_bytes(run, shape) for shape in run.trained),
        "logits": 3 * 4 * min(LOGITS, chosen * run.shape.vocabulary),
        "casts": sum(cast_bytes(run, shape) for shape in run.trained),
        "gathered": sum(gathered_bytes(run, shape) for shape in run.trained),
        "summed": gradients if (run.lora or not full) and parts > 1 else 0,
        "whole": whole if full and run.does.whole else 0,
        "cache": cache_bytes(run),
    }
    kept = found["weights"] + found["optimizer"] + found["frozen"]
    update = sum(found[name] for name in ("activations", "logits", "casts", "gathered"))
    in_update = found["gradients"] + max(update, found["summed"])
    found["training"] = kept + max(in_update, found["whole"] + found["cache"])
    loaded = [frozen_bytes(run, s) if run.four_bits else run.size * s.parameters for s in run.trained]
    found["loading"] = sum(loaded) / share + frozen
    return found


# Work ----------------------------------------------------------------------------------------------------------------


def forward(shape: Shape, tokens: float, pairs: float, chosen: float) -> dict[str, float]:
    """FLOPs of a forward pass: 2 for each weight of a matrix and token; 4 widths a layer for each of the `pairs` of a
    token and one that it attends to; the head on the `chosen` tokens."""
    return {
        "matrices": 2 * tokens * shape.layers * shape.matrices,
        "attention": 4 * pairs * shape.layers * shape.width,
        "head": 2 * chosen * shape.width * (1 if shape.scalar else shape.vocabulary),
    }


def row(run: Run, shape: Shape, shared: bool = True) -> dict[str, float]:
    """`forward` of a prompt and its completions; unless the prompt is `shared`, it is read with each completion."""
    prompt, response, count = run.prompt, run.response, run.does.completions
    times = 1 if shared else count
    pairs = times * prompt**2 / 2 + count * (prompt * response + response**2 / 2)
    return forward(shape, times * prompt + count * response, pairs, run.chosen)


def learned(run: Run, shape: Shape, checkpointing: bool) -> float:
    """FLOPs of a forward and a backward pass on a prompt and its completions.

    Backwards a product costs twice as much, or as much where its weight is frozen. Layers are computed again with
    checkpointing, logits beyond the last chunk always.
    """
    once = row(run, shape)
    frozen = 1 if run.lora else 2
    total = (1 + frozen) * (once["matrices"] + once["head"]) + 3 * once["attention"]
    if run.lora:
        total += 6 * run.tokens * run.trainable(shape)
    if not shape.scalar:
        chosen = run.in_one * run.chosen / run.tokens
        total += once["head"] * max(0, 1 - LOGITS // shape.vocabulary / chosen)
    return total + (once["matrices"] + once["attention"] if checkpointing else 0)


def flops(run: Run) -> dict[str, float]:
    """FLOPs of one process's share of a step, by part. A critic reads a rollout twice before it learns."""
    policy, method = run.shape, run.does
    scored = [policy] * (method.table or "reference" in method.frozen)
    scored += [replace(policy, scalar=True)] * (("reward" in method.frozen) + 2 * method.critic)
    return {
        "sampling": run.rows * sum(row(run, policy).values()) * method.sampled,
        "scoring": run.rows * sum(sum(row(run, one).values()) for one in scored),
        "learning": run.rows * method.passes * sum(learned(run, one, run.checkpointing) for one in run.trained),
    }


def sent(run: Run) -> dict[str, float]:
    """Bytes that a process receives in a step, and as many that it sends.

    "gradients" are summed, "passes" are weights gathered to compute, of frozen models too, "whole" those for sampling
    and `prepare`, "updated" those that ZeRO sends. Of N processes: (N − 1)/N of what is gathered, broadcast or reduced
    to shards, and twice that of what is summed in all of them.
    """
    share = (run.ranks - 1) / run.ranks
    gradients = run.trained_size * sum(map(run.trainable, run.trained))
    if not run.divided:
        updates = run.does.passes
        zero = share * gradients * updates if run.shard == "optimizer" else 0
        return {"gradients": 2 * share * gradients * updates, "passes": 0, "whole": 0, "updated": zero}
    reads = run.does.passes * run.micro_batches
    each = math.ceil(run.in_one / TOKENS_AT_ONCE)
    whole = run.size * sum(shape.parameters for shape in run.trained)  # without adapters, which each process has
    root = run.size * sum(shape.root for shape in run.trained)
    kinds = {"reference": run.shape, "reward": replace(run.shape, scalar=True)}
    others = [kinds[name] for name in run.does.frozen if not (run.lora and name == "reference")]
    passes = math.ceil(run.rows * run.tokens / TOKENS_AT_ONCE)
    scored = run.size * sum(passes * (one.parameters - one.root) + one.root for one in others)
    sums = 2 * gradients * run.does.passes if run.lora else reads * (each * (gradients - root) + root)
    return {
        "gradients": share * sums,
        "passes": share * (reads * (2 * each * (whole - root) + root) + scored),
        "whole": share * whole * run.does.whole,
        "updated": 0,
    }


@dataclass(frozen=True)
class Machine:
    """A GPU as its data sheet has it (H100 SXM: FLOP/s of bfloat16, bytes/s of memory), the share of that peak that is
    reached, and bytes/s of a process's network. All are assumptions: nothing of Burnish was measured on one."""

    peak: float = 989e12
    share: float = 0.4
    memory: float = 3.35e12
    link: float = 50e9


def seconds(run: Run, machine: Machine) -> dict[str, float]:
    """Seconds of a step. Sampling reads all weights for each token, and casts float32 ones; nothing overlaps."""
    work, rate = flops(run), machine.peak * machine.share
    read = weight_bytes(run, run.shape) * (2 if run.size == 4 and not run.lora else 1)
    rounds = run.response * math.ceil(run.rows * run.does.completions / ROWS_AT_ONCE)
    sampling = max(work["sampling"] / rate, rounds * read / machine.memory) if run.does.sampled else 0
    computing = (work["scoring"] + work["learning"]) / rate
    return {"computing": computing, "sampling": sampling, "sending": sum(sent(run).values()) / machine.link}
