"""TRL's side of bench/language.py: one job in a process of its own.

The clock starts at `trainer.train()`, when everything is loaded and tokenised, and stops when that returns. The rows
come in the order that Burnish's side noted, and KTO's mismatched responses are those of its batches.
"""

import json
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from language_clock import Clock, Job, answer
from language_works import BETA, NEW_TOKENS, PPO_EPOCHS, WORKS, Work, e_share, training_options
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

NAMES = {
    "epochs": "num_train_epochs",
    "schedule": "lr_scheduler_type",
    "warmup": "warmup_steps",
    "adam_beta1": "adam_beta1",
    "adam_beta2": "adam_beta2",
    "adam_epsilon": "adam_epsilon",
    "weight_decay": "weight_decay",
    "max_grad_norm": "max_grad_norm",
    "seed": "seed",
    "batch_size": "per_device_train_batch_size",
    "learning_rate": "learning_rate",
}
"""The words of TRL for the options of both sides."""

TRAINERS = {"sft": "SFT", "reward": "Reward", "dpo": "DPO", "kto": "KTO"}


def theirs(job: Job, work: Work) -> dict[str, Any]:
    """TRL's options: those of both sides, and what leaves out logging, saving and gradient checkpointing."""
    return {NAMES[name]: value for name, value in training_options(work).items()} | {
        "output_dir": str(Path(job.folder) / "run"),
        "bf16": job.precision == "bfloat16",
        "gradient_checkpointing": False,
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
    }


def recording(base: type, losses: list[float]) -> type:
    """The trainer, which notes the loss of each step."""

    class Recording(base):  # type: ignore[misc]
        def training_step(self, *args: Any, **kwargs: Any) -> Any:
            loss = super().training_step(*args, **kwargs)
            losses.append(loss.item())
            return loss

    return Recording


def train(job: Job) -> dict[str, Any]:
    import trl

    work, clock, losses = WORKS[job.work], Clock(), []
    noted = json.loads(Path(job.noted).read_text())
    kind = TRAINERS[work.method]
    rows = load_dataset("json", data_files=str(job.rows(work.data, work.counts[job.size])), split="train")
    rows = rows.select([row for batch in noted for row in batch["rows"]])
    options = theirs(job, work) | {"train_sampling_strategy": "sequential", "max_length": 512}
    load = AutoModelForSequenceClassification if work.method == "reward" else AutoModelForCausalLM
    model_path = job.model(scorer=work.method == "reward")
    trainer = recording(getattr(trl, f"{kind}Trainer"), losses)(
        model=load.from_pretrained(model_path),
        args=getattr(trl, f"{kind}Config")(**options | ({"beta": 0.1} if kind in ("DPO", "KTO") else {})),
        train_dataset=rows,
        processing_class=AutoTokenizer.from_pretrained(model_path),
    )
    if work.method == "kto":
        others = [ids for batch in noted for ids in batch["others"]]
        kept = trainer.train_dataset.remove_columns("KL_completion_ids")
        trainer.train_dataset = kept.add_column("KL_completion_ids", others)
    clock.start()
    trainer.train()
    clock.stop()
    trainer.save_model()
    return clock.figures() | {"losses": losses}


def ppo(job: Job) -> dict[str, Any]:
    from trl.experimental.ppo import PPOConfig, PPOTrainer

    work, clock = WORKS[job.work], Clock()
    tokenizer = AutoTokenizer.from_pretrained(job.model(), padding_side="left")
    rows = load_dataset("json", data_files=str(job.rows(work.data, work.counts[job.size])), split="train")
    rows = rows.map(lambda row: {"input_ids": tokenizer(row["prompt"])["input_ids"]}, remove_columns="prompt")
    scorers = [AutoModelForSequenceClassification.from_pretrained(job.model(scorer=True)) for _ in range(2)]
    own = {
        "num_ppo_epochs": PPO_EPOCHS,
        "response_length": NEW_TOKENS,
        "temperature": 1.0,
        "stop_token": "eos",
        "num_sample_generations": 0,
        "local_rollout_forward_batch_size": work.batch,
    }
    trainer = PPOTrainer(
        PPOConfig(**theirs(job, work) | own),
        tokenizer,
        model=AutoModelForCausalLM.from_pretrained(job.model()),
        ref_model=AutoModelForCausalLM.from_pretrained(job.model()),
        reward_model=scorers[0],
        value_model=scorers[1],
        train_dataset=rows,
        eval_dataset=rows.select(range(1)),
    )
    clock.start()
    trainer.train()
    clock.stop()
    trainer.save_model()
    return clock.figures() | {"losses": []}


def grouped(job: Job) -> dict[str, Any]:
    """GRPO and RLOO, with the sampler that TRL has without vLLM."""
    import trl

    work, clock, tokens = WORKS[job.work], Clock(), []

    def reward(completions: list[str], completion_ids: list[list[int]], **columns: Any) -> list[float]:
        tokens.append(sum(map(len, completion_ids)))
        return e_share(completions)

    own = {
        "beta": BETA[work.method],
        "num_generations": work.group,
        "max_completion_length": NEW_TOKENS,
        "temperature": 1.0,
        "logging_steps": 10**6,
    }
    name = work.method.upper()
    trainer = getattr(trl, f"{name}Trainer")(
        model=AutoModelForCausalLM.from_pretrained(job.model()),
        reward_funcs=reward,
        args=getattr(trl, f"{name}Config")(**theirs(job, work) | own),
        train_dataset=load_dataset("json", data_files=str(job.rows(work.data, work.counts[job.size])), split="train"),
        processing_class=AutoTokenizer.from_pretrained(job.model(), padding_side="left"),
    )
    clock.start()
    trainer.train()
    clock.stop()
    trainer.save_model()
    return clock.figures() | {"losses": [], "new_tokens": sum(tokens)}


@torch.no_grad()
def sample(job: Job) -> dict[str, Any]:
    """`generate` with plain sampling, all prompts of a batch at once, after one small batch that does not count."""
    work = WORKS[job.work]
    lines = job.rows(work.data, work.counts[job.size]).read_text().splitlines()
    tokenizer = AutoTokenizer.from_pretrained(job.model(), padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(job.model())
    prompts = [json.loads(line)["prompt"] for line in lines]
    torch.manual_seed(0)

    def generated(part: list[str], count: int) -> tuple[torch.Tensor, int]:
        inputs = tokenizer(part, return_tensors="pt", padding=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=job.precision == "bfloat16"):
            found = model.generate(**inputs, do_sample=True, top_k=0, top_p=1.0, max_new_tokens=count)
        return found[:, inputs["input_ids"].shape[1] :], len(part)

    generated(prompts[:2], 4)
    clock, tokens = Clock(), 0
    clock.start()
    for at in range(0, len(prompts), work.batch):
        found, _ = generated(prompts[at : at + work.batch], NEW_TOKENS)
        ends = found == tokenizer.eos_token_id
        tokens += int((ends.cumsum(1) - ends.long() == 0).sum())
    clock.stop()
    return clock.figures() | {"losses": [], "new_tokens": tokens}


def run(job: Job) -> dict[str, Any]:
    torch.set_num_threads(job.threads)
    work = WORKS[job.work]
    if not work.trains:
        return sample(job)
    return ppo(job) if work.method == "ppo" else grouped(job) if work.online else train(job)


if __name__ == "__main__":
    answer(run)
