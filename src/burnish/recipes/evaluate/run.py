"""`burnish evaluate RUN`: what a finished run learned, on data that it did not train on."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from burnish.config import Settings, algorithm_of, build, refuse, refuse_flags
from burnish.config.checks import sampler_options
from burnish.data import builtin, names, sources, tokenise
from burnish.data.mixture import read_all_prompts
from burnish.data.names import is_in_memory
from burnish.evaluation.statistics import Interval, bootstrap_interval, proportion
from burnish.experience.language.sampling import Sampling
from burnish.policies.interface import Models
from burnish.policies.language.adapters import BESIDE
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.reference import weights_hash
from burnish.recipes.assets import check_intact
from burnish.recipes.demo.measure import MAX_LENGTH, MAX_NEW_TOKENS, Measured, measure
from burnish.recipes.evaluate.checked import answer_findings, answers_of, checker_for, decided_by_environment
from burnish.recipes.evaluate.online import online_findings, own_findings
from burnish.recipes.evaluate.reward import reward_model_findings
from burnish.recipes.evaluate.written import PROMPTS, beside_start, sampled_statistics, statistics_of
from burnish.recipes.together import together
from burnish.recipes.train.batches import evaluator_of
from burnish.recipes.train.card import add_evaluation
from burnish.recipes.train.models import language, loading_of, pick_device, say
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.rows import holdout_of, tokenised
from burnish.run import UserError, read_mapping, write_atomically
from burnish.run.world import ALONE, World

SAMPLES = "evaluation_samples.jsonl"
AGREED = "rewards/accuracies"


def evaluate_run(
    run: Path,
    data: Any,
    prefixes: int | None,
    base: Settings,
    max_new_tokens: int | None = None,
    objects: Mapping[str, Any] = MappingProxyType({}),
    samples_per_prompt: int | None = None,
) -> dict[str, Any]:
    """Evaluate the model of `run`; write `evaluation.json` there, and what it sampled to `evaluation_samples.jsonl`.

    On `data`, or on the run's own `eval_data`, or on the rows that it held out, or on the built-in held-out part where
    it learned from built-in data.
    Of a policy: the method's loss and metrics and a preference method's accuracy with its interval; on the built-in
    part also gold score, KL to the model that it began as, and diversity of continuations of `prefixes` (default 256).
    Of a reward model see `reward_model_findings`, of a policy that learned from a reward `online_findings`; where
    answers can be checked also accuracy and pass@k of `samples_per_prompt` (64) answers, see `answer_findings`. `data`
    is a name or a `datasets.Dataset`. `objects` take the place of those in memory that the run was begun with, by key:
    the folder of its `model`, and its `reward`.
    """
    if not (run / "model").exists():
        raise UserError(f"{run} has no finished model: give the folder of a finished run")
    check_intact(run / "model")
    algorithm, settings = build_from(run, objects)
    world, base = together(base, settings.experience)
    data = data_for(run, settings, data)
    own = ("quiet", "trust_remote_code", "sampler", "sampler_timeout", "sampler_bound")
    settings = dataclasses.replace(settings, **{name: getattr(base, name) for name in own})
    refuse(sampler_options(settings))
    scorer = "scorer" in algorithm.roles
    if prefixes and scorer:
        raise UserError("--prefixes needs a language model, but this is a reward model: leave it out")
    checker = None if scorer else checker_for(settings, data)
    answers = checker is not None or (not scorer and decided_by_environment(settings))
    if settings.sampler is not None and (scorer or (settings.experience is None and not answers)):
        raise UserError("--sampler needs a method that samples, or answers that can be checked: leave it out")
    if samples_per_prompt is not None and not answers:
        raise UserError(
            "--samples-per-prompt needs answers that can be checked: a task, a reward such as match, or an environment "
            "that gives the reward"
        )
    if prefixes and data != "builtin" and settings.experience is None and not answers:
        raise UserError("--prefixes applies to the built-in held-out reviews: leave it out, or leave --data out")
    prompts = [] if scorer or settings.experience or data != "builtin" else held_out_prefixes(prefixes)
    sampling = isinstance(settings.experience, Sampling)
    if max_new_tokens is not None and (scorer or prompts or (settings.experience and not sampling)):
        raise UserError("--max-new-tokens has no effect here: it sets the length of completions of your own data")
    if max_new_tokens is not None and settings.experience:
        shorter = dataclasses.replace(settings.experience, max_new_tokens=max_new_tokens)
        settings = dataclasses.replace(settings, experience=shorter)
    prepare_torch(base)
    device = pick_device(base.device)
    found: dict[str, Any] = {"run": str(run)} | named(settings, data)
    samples: list[dict[str, Any]] = []
    if scorer:
        found |= reward_model_findings(run, algorithm, settings, data, device, world)
    else:
        policy, start = policies(run, settings, device)
        if settings.experience and not (sampling and "reward" in settings.experience.needs):
            more = own_findings(algorithm, settings, policy, start, data, prefixes, base.seed, world)
        elif settings.experience:
            more, samples = online_findings(algorithm, settings, policy, start, data, prefixes, base.seed, world)
        else:
            more = offline_findings(algorithm, settings, policy, start, data, world)
            if data != "builtin":
                limit = max_new_tokens or Sampling.max_new_tokens
                more |= own_texts(policy, start, data, settings, base.seed, limit, world)
        found |= more
        if answers:
            how = answers_of(settings, samples_per_prompt, max_new_tokens)
            found |= answer_findings(algorithm, settings, policy, start, data, checker, how, prefixes, base.seed, world)
        if prompts:
            more, samples = continuations(policy, start, prompts, base.seed, world)
            found |= more
    for warning in found.get("warnings", []):
        say(base, f"warning: {warning}")
    if world.is_main:
        keep(run, found, samples)
    world.barrier()
    return found


def keep(run: Path, found: dict[str, Any], samples: list[dict[str, Any]]) -> None:
    """Write an evaluation into the run's folder and its model card."""
    if samples:
        write_atomically(run / SAMPLES, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in samples))
    else:
        (run / SAMPLES).unlink(missing_ok=True)  # left by an earlier evaluation, whose numbers are replaced too
    write_atomically(run / "evaluation.json", json.dumps(found, indent=2) + "\n")
    add_evaluation(run / "model", found)


def build_from(run: Path, objects: Mapping[str, Any] = MappingProxyType({})) -> tuple[Any, Settings]:
    """The algorithm and settings of a run folder; `objects` replace what its configuration says, by key."""
    config = read_mapping(run / "config.yaml")
    refuse_flags(config, str(run / "config.yaml"))
    if is_in_memory(config.get("model")) and (run / BESIDE).is_dir():
        config["model"] = str(run / BESIDE)
    return build(algorithm_of(str(config.get("algorithm"))), config | dict(objects))


def data_for(run: Path, settings: Settings, data: Any) -> Any:
    """The data to evaluate on. Raises UserError where neither the user nor the run names any."""
    if data is not None and not isinstance(data, str):
        return data
    own = names.HELD_OUT if settings.holdout else "builtin" if settings.data == "builtin" else None
    data = data or settings.eval_data or own or names.held_out_tasks(settings.data)
    if data is None:
        raise UserError(
            f"{run} was trained on {settings.data} without --eval-data or --holdout: choose the evaluation data with "
            "--data, or train with --holdout 0.05"
        )
    if data == names.IN_MEMORY or (data == names.HELD_OUT and settings.data == names.IN_MEMORY):
        raise UserError(
            f"{run} was evaluated on data in memory, which no longer exist: choose the evaluation data with --data"
        )
    return data if data in (names.IN_MEMORY, names.HELD_OUT) else names.held_out_tasks(data) or data


def named(settings: Settings, data: Any) -> dict[str, Any]:
    """The data of an evaluation, for its record: their name, and the share where they were held out of it."""
    text = names.text_of(data) or names.IN_MEMORY
    return {"data": settings.data, "holdout": settings.holdout} if text == names.HELD_OUT else {"data": text}


def held_out_prefixes(count: int | None) -> list[str]:
    """The first built-in prefixes, 256 by default."""
    every = builtin.prefixes("held_out")["prompt"]
    if count is not None and count > len(every):
        raise UserError(f"--prefixes {count}: there are {len(every)} held-out prefixes")
    return list(every[: 256 if count is None else count])


def policies(run: Path, settings: Settings, device: str) -> tuple[LanguagePolicy, LanguagePolicy]:
    """The policy of a run, and the model that it began as. Raises UserError where that has changed since."""
    if is_in_memory(settings.model):
        raise UserError(
            f"{run} began as a model in memory, {settings.model.removeprefix(names.IN_MEMORY).strip()}: evaluate it in "
            f"Python, with burnish.evaluate({str(run)!r}, model=…, tokenizer=…)"
        )
    policy = load_policy(run / "model", device, loading=loading_of(settings).elsewhere())
    start = language(dataclasses.replace(settings, device=device, precision="float32"))
    if weights_hash(start.model) != read_mapping(run / "environment.json").get("model_sha256"):
        raise UserError(f"{settings.model} has other weights than when {run} started from it: restore them")
    return policy, start


def offline_findings(
    algorithm: Any,
    settings: Settings,
    policy: LanguagePolicy,
    start: LanguagePolicy,
    data: Any,
    world: World = ALONE,
) -> dict[str, Any]:
    """Loss and metrics on held-out rows, with the interval of a preference method's accuracy, or perplexity."""
    rows = tokenised(algorithm, settings, policy, data, "held_out")
    say(settings, rows.describe())
    models = Models(policy=policy, reference=start)
    found: dict[str, Any] = {"rows": len(rows)} | evaluator_of(algorithm, models, rows, world)()
    if AGREED in found:
        found["accuracy"] = agreement(found[AGREED], len(rows)).as_dict()
    elif rows.kind == "demonstrations":
        found["perplexity"] = float(np.exp(found["loss"]))
    return found


def own_texts(
    policy: LanguagePolicy,
    start: LanguagePolicy,
    data: Any,
    settings: Settings,
    seed: int,
    max_new_tokens: int,
    world: World = ALONE,
) -> dict[str, Any]:
    """Statistics of the policy's completions of the first prompts in the user's data (an empty prompt without any)."""
    longest = min(settings.max_length, policy.context or settings.max_length)
    room = max(1, longest - max_new_tokens)
    held = holdout_of(settings, held=True) if data == names.HELD_OUT else None
    if held:
        parts = [(one.name, sources.load(one)) for one in names.parts(settings.data)]
    else:
        parts = sources.load_parts(data, row_limit=PROMPTS)
    try:
        ids = read_all_prompts(parts, policy.tokenizer, room, held).ids[:PROMPTS]
    except UserError:
        try:
            count = min(PROMPTS, sum(len(dataset) for _, dataset in parts))
            ids = tokenise.prompts([""] * count, policy.tokenizer, room)
        except UserError:  # without a BOS there is nothing to begin with
            return {}
    found = sampled_statistics(policy, ids, seed, max_new_tokens, world=world)
    summary = {"texts": found.texts, "words": found.words, "distinct_2": found.distinct_2, "eos_rate": found.eos_rate}
    return summary | beside_start(found, start, ids, seed, max_new_tokens, world=world)


def agreement(share: float, pairs: int) -> Interval:
    """The interval of an accuracy over pairs that each count 0, ½ or 1, to which the share is rounded."""
    return proportion(round(2 * share * pairs) / 2, pairs)


def continuations(
    policy: LanguagePolicy, start: LanguagePolicy, prompts: list[str], seed: int, world: World = ALONE
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Gold score, KL and diversity of continuations of `prompts`, and one record per continuation."""
    measured = measure(policy, start, prompts, seed, world)
    found = {
        "prefixes": len(prompts),
        "temperature": 1.0,
        "max_new_tokens": MAX_NEW_TOKENS,
        "gold": bootstrap_interval(measured.gold).as_dict(),
        "kl": bootstrap_interval(measured.kl).as_dict(),
        "words": float(measured.words.mean()),
        "distinct_2": measured.distinct_2,
        "eos_rate": measured.eos_rate,
    }
    ids = tokenise.prompts(prompts[:PROMPTS], start.tokenizer, MAX_LENGTH)
    found |= beside_start(statistics_of(measured), start, ids, seed, MAX_NEW_TOKENS, world=world)
    return found, continuation_lines(measured)


def continuation_lines(measured: Measured) -> list[dict[str, Any]]:
    """One JSON record per continuation."""
    found = measured.continuations
    return [
        {
            "prompt": prompt,
            "response": text[len(prompt) :],
            "gold": round(float(gold), 4),
            "kl": round(float(kl), 4),
            "ended": ended,
        }
        for prompt, text, gold, kl, ended in zip(
            found.prompts, found.texts, measured.gold, measured.kl, found.ended, strict=True
        )
    ]
