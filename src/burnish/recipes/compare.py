"""`burnish compare A B`: two models answer the same prompts with the same seeds, and a judge decides."""

import json
import platform
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from burnish.config import Settings
from burnish.evaluation.collapse import TextStatistics, collapse_warnings
from burnish.evaluation.judge_server import JUDGE, ServerJudge, server_judge, spoken
from burnish.evaluation.judges import (
    FunctionJudge,
    Judge,
    RewardJudge,
    Verdict,
    counts,
    load_judge,
    position_bias,
    win_rate,
)
from burnish.evaluation.statistics import bootstrap_interval, paired_difference
from burnish.experience.language.sampling import Sampling
from burnish.policies.language.loading import PLAIN, Loading
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.sampler import check_knobs
from burnish.recipes.answers import answers, writer
from burnish.recipes.assets import location
from burnish.recipes.label.judge import LABELS, PEOPLE, PeopleJudge, check_people
from burnish.recipes.sample import prompts_of
from burnish.recipes.sampled import GOLD
from burnish.recipes.train.models import loading_of, pick_device, say
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.rewards import resolve_reward
from burnish.report.language import compare as words
from burnish.report.runs import short_names
from burnish.rewards.completed import Completed
from burnish.rewards.model import ModelReward, check_same_tokenizer
from burnish.run import UserError, printable, read_mapping, results_folder, write_atomically
from burnish.run.versions import versions
from burnish.run.web import address
from burnish.training.progress import Progress

PROMPTS = 128
LONGEST_TIMEOUT = 86_400
FOUND, ROWS, PAGE = "compare.json", "compare.jsonl", "compare.html"
POSSIBLE = "gold, lexicon, people, a reward model's folder, module:function, or a server's URL"


@dataclass(frozen=True)
class Comparison:
    """`found` has the totals, `rows` one record per prompt: see `burnish.report.language.compare`."""

    found: dict[str, Any]
    rows: list[dict[str, Any]]


def compare(
    a: str | Path,
    b: str | Path,
    data: Any = "builtin",
    judge: Any = None,
    prompts: int = PROMPTS,
    out: Path | None = None,
    *,
    judge_model: str | None = None,
    judge_timeout: float = 60.0,
    max_new_tokens: int = Sampling.max_new_tokens,
    temperature: float = 1.0,
    keep_special_tokens: bool = False,
    raters: Sequence[str] = (),
    port: int | None = None,
    base: Settings | None = None,
    command: str = "",
) -> Comparison:
    """Let both models answer the first `prompts` prompts of `data`, and `judge` say which answer is better.

    The judge is "gold", "lexicon", a reward model's folder, `module:function` or a function of (prompts, a, b), or the
    URL of a server that speaks OpenAI's protocol, whose model `judge_model` names and which has `judge_timeout` seconds
    for a reply; "people" are asked on a page, the `raters` by name at `port`; by default gold on the built-in data, and
    else nobody. Prompt i is answered from random stream i by both. `keep_special_tokens` keeps all special tokens of an
    answer but padding and its end. Writes numbers, rows and a page into `out`; the votes of people are kept there too,
    and the same call goes on with them. Raises UserError where the input or the judge is at fault.
    """
    base, began = base or Settings(), time.perf_counter()
    check(prompts, judge, judge_model)
    check_people(judge, out, raters, port)
    check_knobs(max_new_tokens, temperature, None, None)
    if not 0 < judge_timeout <= LONGEST_TIMEOUT:
        raise UserError(f"--judge-timeout must lie in (0, {LONGEST_TIMEOUT}] seconds, not {judge_timeout:g}")
    judge = GOLD if judge is None and isinstance(data, str) and data == "builtin" else judge
    with results_folder(out, (FOUND, ROWS, PAGE)):
        if out is not None and any(one.name != LABELS or judge != PEOPLE for one in out.iterdir()):
            raise UserError(f"{out} exists and is not empty: choose another --out")
        people = PeopleJudge(out / LABELS, raters, port, base) if judge == PEOPLE and out is not None else None
        prepare_torch(base)
        device, loading = pick_device(base.device), loading_of(base)
        policies = [load_policy(writer(name), device, base.precision, loading=loading) for name in (a, b)]
        asked = [prompts_of(data, prompts, policy, base.max_length, max_new_tokens) for policy in policies]
        judging: Judge | None = people
        if people is None and judge is not None:
            judging = resolve_judge(judge, policies, judge_model, judge_timeout, loading)
        say(base, asked[0].describe())
        names = short_names([Path(a), Path(b)])
        written = [
            answers(policy, rows, name, max_new_tokens, temperature, base, keep_special_tokens)
            for policy, rows, name in zip(policies, asked, names, strict=True)
        ]
        verdicts = judged(judging, written[0].completed, written[1].completed, base)
        found: dict[str, Any] = {
            "names": names,
            "models": [str(a), str(b)],
            "data": asked[0].name,
            "prompts": len(asked[0]),
            "sampling": {"seed": base.seed, "temperature": temperature, "max_new_tokens": max_new_tokens},
        }
        found |= text_findings([one.statistics() for one in written], names, began_as(a, b), temperature)
        found |= judge_findings(judging, verdicts)
        found["same_text"] = sum(x == y for x, y in zip(*(one.completed.responses for one in written), strict=True))
        used = versions("burnish", "torch", "transformers") | {"python": platform.python_version()}
        found |= {"command": command, "seconds": round(time.perf_counter() - began, 1), "versions": used}
        compared = Comparison(found, comparison_rows(written[0].completed, written[1].completed, verdicts))
        if out is not None:
            write(compared, out)
    return compared


def check(prompts: int, judge: Any, judge_model: str | None) -> None:
    """Raise UserError for invalid arguments, before anything is loaded."""
    if prompts < 1:
        raise UserError(f"--prompts must be at least 1, not {prompts}")
    if judge_model is not None and not is_url(judge):
        raise UserError(f"--judge-model {judge_model} is for a judge at a URL: give --judge http://…, or leave it out")
    if is_url(judge):
        address(judge, JUDGE)


def is_url(judge: Any) -> bool:
    return isinstance(judge, str) and judge.startswith(("http://", "https://"))


def resolve_judge(
    judge: Any,
    policies: list[LanguagePolicy],
    model: str | None = None,
    timeout: float = 60.0,
    loading: Loading = PLAIN,
) -> Judge:
    """The judge for `--judge` or a Python function. Raises UserError for one that is unknown or does not fit."""
    if callable(judge):
        return FunctionJudge(str(getattr(judge, "__qualname__", type(judge).__name__)), judge)
    if is_url(judge):
        return server_judge(judge, model, timeout=timeout)
    if judge not in (GOLD, "lexicon") and not Path(judge).is_dir():
        if ":" in str(judge):
            return load_judge(str(judge))
        raise UserError(f"--judge {judge} is neither a folder nor a known judge: give {POSSIBLE}")
    try:
        reward = resolve_reward(judge, policies[0], loading)
    except UserError as error:
        raise UserError(str(error).replace("--reward", "--judge")) from error
    if isinstance(reward, ModelReward):
        check_same_tokenizer(policies[1].tokenizer, reward.scorer.tokenizer, reward.name)
    return RewardJudge(reward)


def judged(judge: Judge | None, a: Completed, b: Completed, base: Settings) -> list[Verdict]:
    """One verdict per pair; none without a judge."""
    if judge is None:
        return []
    with Progress("judging", len(a), quiet=base.quiet or not isinstance(judge, ServerJudge)) as progress:
        return (replace(judge, passing=progress.step) if isinstance(judge, ServerJudge) else judge)(a, b)


def began_as(a: str | Path, b: str | Path) -> int:
    """Which of the two the other is held against: 1, which is B, unless B was trained from A."""
    return 0 if location(a) in ancestors(b) and location(b) not in ancestors(a) else 1


def ancestors(name: str | Path) -> list[str]:
    """The chain of models that a run started from, as far as run folders record it."""
    found: list[str] = []
    while (config := Path(name) / "config.yaml").exists():
        name = str(read_mapping(config).get("model", ""))
        if location(name) in found:
            break
        found.append(location(name))
    return found


def text_findings(statistics: list[TextStatistics], names: list[str], start: int, temperature: float) -> dict[str, Any]:
    """What the texts are like, and warnings of the one that is held against the other."""
    other = 1 - start
    warnings = collapse_warnings(statistics[other], statistics[start], names[other], names[start])
    warnings += collapse_warnings(statistics[start], None, names[start], plain=temperature == 1.0)
    return {"statistics": [one.as_dict() for one in statistics], "warnings": warnings}


def judge_findings(judge: Judge | None, verdicts: list[Verdict]) -> dict[str, Any]:
    """Win rate, counts, and the extra findings of the judge's type."""
    if judge is None:
        return {"judge": None}
    rate, bias = win_rate(verdicts), position_bias(verdicts)
    found: dict[str, Any] = {"judge": judge.name, "verdicts": counts(verdicts)}
    found["win_rate"] = rate and rate.as_dict()
    if isinstance(judge, ServerJudge):
        found["position_bias"] = bias and bias.as_dict()
    if pairs := [one.scores for one in verdicts if one.scores is not None]:
        first, second = np.array(pairs).T
        found["scores"] = [bootstrap_interval(first).as_dict(), bootstrap_interval(second).as_dict()]
        found["score_difference"] = paired_difference(first, second).as_dict()
    return found


def comparison_rows(a: Completed, b: Completed, verdicts: list[Verdict]) -> list[dict[str, Any]]:
    """One JSON record per prompt."""
    lines = []
    for i in range(len(a)):
        line: dict[str, Any] = {"row": a.rows[i], "prompt": spoken(a.prompts[i]), "a": a.responses[i]}
        line |= {"b": b.responses[i], "ended": [a.ended[i], b.ended[i]]}
        if verdicts:
            one = verdicts[i]
            line["winner"] = one.winner
            if one.scores is not None:
                line["scores"] = [round(score, 6) for score in one.scores]
            if one.orders is not None:
                line["orders"] = list(one.orders)
            if one.problem:
                line["problem"] = one.problem
        lines.append(line)
    return lines


def write(compared: Comparison, out: Path) -> None:
    """Write numbers, rows, and last the page."""
    write_atomically(out / FOUND, json.dumps(compared.found, indent=1, ensure_ascii=False) + "\n")
    write_atomically(out / ROWS, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in compared.rows))
    words.compare_page(compared.found, compared.rows, out / PAGE)


def print_comparison(compared: Comparison, shown: int = 4) -> None:
    """Print a few pairs side by side, the numbers of both models, and the conclusions."""
    found, console = compared.found, Console()
    names = [escape(printable(name)) for name in found["names"]]
    pairs = Table("prompt", *names, box=box.SIMPLE, pad_edge=False, show_edge=False, show_lines=True)
    for row in compared.rows[:shown]:
        won = {"A": 0, "B": 1}.get(str(row.get("winner")))
        texts = [Text(printable(row[key].strip()), style="bold" if won == i else "") for i, key in enumerate("ab")]
        pairs.add_row(Text(printable(row["prompt"]), style="dim"), *texts)
    table = Table("", *names, box=box.SIMPLE, pad_edge=False, show_edge=False)
    for label, *values in words.statistics_rows(found):
        table.add_row(label, *values)
    console.print(pairs)
    console.print(table)
    for sentence in words.sentences(found):
        console.print(printable(sentence), highlight=False, markup=False)
    for warning in found["warnings"]:
        console.print(Text(f"warning: {printable(warning)}", style="bold red"), highlight=False)
