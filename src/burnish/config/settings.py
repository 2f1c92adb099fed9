"""The settings of a training run: every option that is not the algorithm's or the experience's own."""

from dataclasses import dataclass
from typing import Any, Literal

from burnish.options import check, option

LARGEST_SEED = 2**32 - 1
MOST_THREADS = 1024


@dataclass(frozen=True)
class Settings:
    """Everything about a run that does not belong to the algorithm or the experience.

    Raises ValueError for a value outside its option's range.
    """

    model: str = option("builtin", "model to train: 'builtin', 'smollm2', a folder, or a Hugging Face name")
    revision: str | None = option(None, "branch, tag or commit of a --model on the Hugging Face hub; default: main")
    trust_remote_code: bool = option(
        False, "run the Python code that comes with a model; only as a flag, never read from a file"
    )
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "float32", "dtype of the weights in memory; auto: as they were saved"
    )
    save_dtype: Literal["auto", "float32", "bfloat16", "float16"] = option(
        "auto", "dtype of the saved model; auto: as it was loaded, of an adapter float32"
    )
    resize_embeddings: bool = option(False, "add rows to the embedding for tokens of the tokenizer that have none")
    load_in_4bit: bool = option(
        False, "quantise the linear layers to 4 bits (NF4, with bitsandbytes); training then needs --lora-rank"
    )
    load_in_8bit: bool = option(
        False, "quantise the linear layers to 8 bits (LLM.int8(), with bitsandbytes); training then needs --lora-rank"
    )
    data: str = option(
        "builtin",
        "training data: 'builtin', a file, a folder, or a Hugging Face name[:configuration][:split]; several with "
        "commas, or with --data repeated, are a mixture, as a.jsonl:0.7,b.jsonl:0.3",
        several=True,
    )
    streaming: bool | None = option(
        None,
        "read and tokenise the training data while training, not before it; default: if local files have more than 32 "
        "MiB",
    )
    shuffle_buffer: int = option(1000, "with --streaming, shuffle within as many rows; 1 keeps the data's order", ge=1)
    group_by_length: bool = option(
        False, "put rows of about the same length into a batch, in an order that still depends on the seed"
    )
    out: str | None = option(None, "run folder to write")
    seed: int = option(0, "seed of every random stream", ge=0, le=LARGEST_SEED)
    steps: int | None = option(None, "optimizer updates; default: derived from --epochs", ge=1)
    epochs: float | None = option(None, "passes over the data; default 1", gt=0)
    batch_size: int = option(16, "rows per optimizer update", ge=1, most=1_000_000)
    accumulate: int = option(1, "micro-batches per update: less memory, the same result (except for dropout)", ge=1)
    gradient_checkpointing: bool = option(
        False, "compute activations again in the backward pass: less memory, the same result, about a third more time"
    )
    shard: Literal["none", "optimizer", "full"] = option(
        "none",
        "what each of several processes holds a part of, in place of all: the optimizer's state, or the weights and "
        "gradients too",
    )
    offload: bool = option(
        False, "with --shard full, keep what a process holds in main memory but for the block that computes"
    )
    learning_rate: float | None = option(
        None, "peak learning rate; default: the method's own, ten times that with LoRA", gt=0
    )
    warmup: float = option(0.0, "learning-rate warm-up: a share of the steps if below 1, else a number of steps", ge=0)
    schedule: Literal["constant", "linear", "cosine", "warmup_stable_decay"] = option(
        "linear", "learning-rate schedule after the warm-up"
    )
    min_lr_ratio: float = option(0.0, "share of the peak learning rate that the schedule falls to", ge=0, le=1)
    decay: float | None = option(
        None, "length of the decay of warmup_stable_decay, given as --warmup is; default: 0.1", gt=0
    )
    decay_type: Literal["cosine", "linear", "1-sqrt"] | None = option(
        None, "shape of the decay of warmup_stable_decay; default: cosine"
    )
    optimizer: Literal["adamw", "adamw_8bit", "adafactor", "sgd"] = option(
        "adamw",
        "optimizer; adamw_8bit needs bitsandbytes, and the default learning rates are for AdamW",
    )
    adam_beta1: float | None = option(None, "AdamW's β₁, the decay rate of its mean; default: 0.9", ge=0, lt=1)
    adam_beta2: float | None = option(None, "AdamW's β₂, the decay rate of its mean square; default: 0.999", ge=0, lt=1)
    adam_epsilon: float | None = option(None, "AdamW's ε, added to the denominator; default: 1e-8", gt=0)
    momentum: float | None = option(None, "SGD's momentum; default: 0", ge=0, lt=1)
    weight_decay: float = option(0.0, "weight decay of matrices: decoupled, but in the gradient with sgd", ge=0)
    max_grad_norm: float = option(1.0, "clip the gradient norm to this; 0 disables clipping", ge=0)
    neftune: float | None = option(
        None, "NEFTune: noise of this α on the embeddings in training, for methods with dropout", gt=0
    )
    max_length: int = option(512, "maximum length of prompt + response in tokens; the prompt's left is cut first", ge=2)
    mask_formatting: bool = option(
        False, "leave tokens that only begin or end a turn out of the preference losses, as Llama 3 does"
    )
    last_answer_only: bool = option(False, "train only the last answer of a conversation, the earlier ones as context")
    train_thoughts: bool = option(True, "train the thoughts that stand before answers, as in <think>…</think>")
    lora_rank: int | None = option(None, "train LoRA adapters of this rank instead of all weights", ge=1, most=65_536)
    lora_alpha: int | None = option(
        None, "LoRA's alpha, which scales an adapter by alpha/rank; default: twice the rank", ge=1
    )
    lora_dropout: float = option(0.0, "dropout on the adapters' inputs, for methods with dropout", ge=0, lt=1)
    lora_targets: str | None = option(None, "layers with adapters, comma-separated names; default: all-linear")
    precision: Literal["auto", "float32", "bfloat16"] = option(
        "float32",
        "precision that forward passes compute in; the weights' own is --dtype; auto: bfloat16 where the device has "
        "instructions for it, so that numbers depend on the machine",
    )
    eval_data: str | None = option(
        None, "data to evaluate on during training; for built-in data its validation split", several=True
    )
    holdout: float = option(
        0.0, "share of the rows of --data that is never trained on, and evaluated on instead of --eval-data", ge=0, lt=1
    )
    eval_every: int | None = option(None, "steps between evaluations; default: only at the end", ge=1)
    watch: bool = option(
        False,
        "at evaluations, compare completions of held-out prompts with the start's, and warn where they show that the "
        "reward, or the labels, are gamed; needs --eval-every",
    )
    watch_labels: str | None = option(
        None,
        "with --watch, comparisons with labels that are to be trusted, as --data takes them, which nothing is trained "
        "on: warn where the reward claims more than they agree with",
        several=True,
    )
    watch_rewards: Any = option(
        None,
        "with --watch, folders of at least two reward models, with commas: warn where they disagree more than at the "
        "start",
        several=True,
    )
    patience: int = option(
        0, "stop after this many evaluations without a lower loss and keep the best weights; 0 never stops", ge=0
    )
    log_every: int = option(
        1, "steps between rows of metrics.jsonl, each with the means over the steps since the row before", ge=1
    )
    save_every: int = option(100, "steps between checkpoints, and one at the end; 0 saves none", ge=0)
    keep_checkpoints: int = option(2, "newest checkpoints to keep", ge=1)
    save_best: bool = option(
        False, "save the weights with the lowest evaluation loss as the model, in place of the last; needs --eval-every"
    )
    from_: str | None = option(
        None, "finished run to start from: its model, critic and optimizer state, with other data and options as needed"
    )
    resume: bool = option(False, "continue from the newest checkpoint in --out; start fresh if there is none")
    track: str | None = option(
        None,
        "trackers that get the metrics, the configuration and the samples too: tensorboard, wandb, trackio, mlflow; "
        "several with commas, or with --track repeated",
        several=True,
    )
    sampler: str | None = option(
        None, "URL of `burnish serve` or vLLM, which samples in place of this process, such as http://127.0.0.1:8000"
    )
    sampler_timeout: float = option(600.0, "with --sampler, seconds for a reply; asked up to three times", gt=0)
    sampler_bound: float | None = option(
        None,
        "with --sampler, the largest difference of a token's log-probability between sampler and model; default: 0.001 "
        "where both compute in float32, else 0.5",
        gt=0,
    )
    staleness: int = option(
        0,
        "turns that sampling is ahead of learning: each rollout is drawn with the weights of so many turns before; the "
        "weights of as many turns are kept in memory and in checkpoints",
        ge=0,
        most=1_000,
    )
    device: str = option("auto", "cpu, cuda, cuda:1 …; auto uses a GPU if there is one")
    threads: int | None = option(None, "CPU threads; default: PyTorch's", ge=1, most=MOST_THREADS)
    quiet: bool = option(False, "print nothing but errors")
    debug: bool = option(False, "show tracebacks")
    experience: Any = None
    """Where an online method's batches come from; its options are keys and flags like the others."""

    @property
    def keeps_best(self) -> bool:
        """Whether the model is that of the best evaluation, rather than of the last step."""
        return self.save_best or self.patience > 0

    def __post_init__(self) -> None:
        check(self)
