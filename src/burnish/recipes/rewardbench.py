"""`burnish rewardbench MODEL`: scores a reward model, or a policy's implicit reward, on RewardBench's files."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from datasets import Dataset
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from burnish.batches import Preferences
from burnish.config import Settings
from burnish.data import sources, tokenise
from burnish.data.adapters import Reading
from burnish.data.columns import rows_of
from burnish.data.formats import Example, Messages
from burnish.data.walk import in_order
from burnish.evaluation.rewardbench import OTHER, TIES, Scored, Scores, implicit_scores, reward_scores, summarise
from burnish.policies.language.adapters import is_adapter
from burnish.policies.language.frozen import freeze
from burnish.policies.language.loading import Loading, explained, load_config
from burnish.policies.language.policy import LanguagePolicy, load_policy
from burnish.policies.language.reference import weights_hash
from burnish.policies.language.scorer import LanguageScorer, load_scorer
from burnish.recipes.assets import resolve_model
from burnish.recipes.together import together
from burnish.recipes.train.models import loading_of, pick_device, say
from burnish.recipes.train.prepare import prepare_torch
from burnish.recipes.train.rewards import is_scorer
from burnish.report.language.rewardbench import rewardbench_page, sentences
from burnish.report.wording import percent, range_of
from burnish.run import UserError, printable, read_mapping, results_folder, write_atomically
from burnish.run.world import World

T = TypeVar("T")

COLUMNS = ("prompt", "chosen", "rejected", "subset")
SPLITS = {"allenai/reward-bench": "filtered", "allenai/reward-bench-2": "test"}
"""The split of a hub name that the benchmark is scored on, where the user names none."""

LONGEST = 2048
"""Tokens of prompt and answer, where the model's own context is longer or unknown."""

ROWS_AT_ONCE = 16
FOUND, ROWS, PAGE = "rewardbench.json", "rewardbench_rows.jsonl", "rewardbench.html"


@dataclass(frozen=True)
class Question:
    """One row of the benchmark: a prompt, its right answers and its wrong ones; `key` is the `id` of a row of Ties."""

    row: int
    subset: str
    prompt: str | Messages
    chosen: tuple[str, ...]
    rejected: tuple[str, ...]
    key: str = ""


@dataclass(frozen=True)
class Judge:
    """A reward model, or a policy with its reference, that scores answers."""

    model: LanguageScorer | LanguagePolicy
    reference: LanguagePolicy | None = None
    reference_name: str | None = None

    def scores(self, batches: Iterator[Preferences], label: str, world: World) -> dict[int, Scores]:
        if isinstance(self.model, LanguageScorer):
            return reward_scores(self.model, batches, label, world)
        assert self.reference
        return implicit_scores(self.model, self.reference, batches, label, world)


def rewardbench(
    model: str, data: str, reference: str | None, out: Path | None, max_length: int | None, base: Settings
) -> dict[str, Any]:
    """Score `model` on `data`; with `out` also write `rewardbench.json`, `rewardbench_rows.jsonl` and a page there.

    `model` is a reward model, or a policy, which is scored by its implicit reward against `reference`: the model that
    it began as, where `model` is a run folder and no reference is given. What is returned is that of
    `evaluation.rewardbench.summarise`, with what was scored on what. Raises UserError where the input is at fault.
    """
    world, base = together(base)
    out = out if world.is_main else None
    with results_folder(out, (FOUND, ROWS, PAGE)):
        prepare_torch(base)
        questions, best_of = read_questions(sources.load(with_split(data)), data)
        judge = load_judge(model, reference, base)
        rows, counts = score(judge, questions, data, max_length, base, world)
        found: dict[str, Any] = {
            "model": model,
            "scored_by": "reward model" if judge.reference is None else "implicit reward",
            "reference": judge.reference_name,
            "data": data,
        }
        found |= summarise(rows, best_of) | {"tokens": counts}
        if out is not None:
            write(out, found, rows)
    return found


def with_split(data: str) -> str:
    """`data`, of a published benchmark with its scored split."""
    return data if Path(data).exists() or data not in SPLITS else f"{data}:{SPLITS[data]}"


def read_questions(dataset: Dataset, label: str) -> tuple[list[Question], bool]:
    """All rows, checked, and whether they are in RewardBench 2's format, where answers are lists.

    Raises UserError naming the file, and row and column where there is one, for what is not in the format.
    """
    if missing := [column for column in COLUMNS if column not in dataset.column_names]:
        raise UserError(
            f"{label} has no column `{missing[0]}`: RewardBench's format has `prompt`, `chosen`, `rejected` and "
            "`subset`"
        )
    plain = [dict(zip(dataset.column_names, cells, strict=True)) for cells in rows_of(dataset, dataset.column_names)]
    best_of = isinstance(plain[0]["chosen"], list)
    questions: list[Question] = []
    keys: dict[str, int] = {}
    for row, cells in enumerate(plain):
        question = read_row(row, cells, f"{label}, row {row}: column", best_of)
        if question.key and (other := keys.setdefault(question.key, row)) != row:
            raise UserError(
                f"{label}, row {row}: column `id` is {question.key!r}, as in row {other}: remove one of them"
            )
        questions.append(question)
    return questions, best_of


def read_row(row: int, cells: dict[str, Any], where: str, best_of: bool) -> Question:
    """One row; see `read_questions`. An empty answer is kept, because a benchmark must not be changed."""
    prompt, subset, key = cells["prompt"], cells["subset"], cells.get("id")
    if not isinstance(subset, str) or not subset:
        raise UserError(f"{where} `subset` is {kind(subset)}: give the name of the row's subset")
    if not isinstance(prompt, str) and not is_messages(prompt):
        raise UserError(f"{where} `prompt` is {kind(prompt)}: give a text, or a list of messages")
    sides = {name: answers(cells[name], f"{where} `{name}`", best_of) for name in ("chosen", "rejected")}
    named = ""
    if best_of and subset == TIES:
        part, _, number = str(key).partition(":")
        if part not in ("ref", "tied") or not number:
            raise UserError(
                f"{where} `id` is {key!r}: a row of {TIES} must be 'ref:N' or 'tied:N', with two rows per prompt"
            )
        named = str(key)
    return Question(row, subset, prompt, sides["chosen"], sides["rejected"], named)


def answers(value: Any, where: str, best_of: bool) -> tuple[str, ...]:
    """The answers of a cell, a list of texts where `best_of`, else one text."""
    needed = "a list of texts" if best_of else "a text"
    if isinstance(value, list) != best_of or not isinstance(value, list | str):
        raise UserError(f"{where} is {kind(value)}: give {needed}, as in row 0")
    if isinstance(value, str):
        return (value,)
    if not value:
        raise UserError(f"{where} is an empty list: give at least one text, or remove the row")
    if other := [one for one in value if not isinstance(one, str)]:
        raise UserError(f"{where} has an entry that is {kind(other[0])}: give {needed}")
    return tuple(value)


def kind(value: Any) -> str:
    """The type of a cell, in words."""
    names = {type(None): "empty", list: "a list", dict: "an object", str: "a text" if value else "an empty text"}
    return names.get(type(value), f"of type {type(value).__name__}")


def is_messages(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(one, dict) and isinstance(one.get("role"), str) and isinstance(one.get("content"), str)
        for one in value
    )


def load_judge(model: str, reference: str | None, base: Settings) -> Judge:
    """The model and its reference. Raises UserError for a missing, superfluous or incompatible reference."""
    device, path, loading = pick_device(base.device), resolve_model(model), loading_of(base)
    if is_reward_model(path, loading):
        if reference is not None:
            raise UserError(f"{model} is a reward model, which scores without a reference: leave --reference out")
        scorer = load_scorer(path, device, base.precision, option="MODEL", loading=loading)
        freeze(scorer, loading.dtype)
        return Judge(scorer)
    began = None if reference is not None else began_as(model)
    policy = named("MODEL", lambda: load_policy(path, device, base.precision, loading=loading))
    name = cast(str, reference or began)
    other = loading.elsewhere()
    held = named("--reference", lambda: load_policy(resolve_model(name), device, base.precision, loading=other))
    if began is not None:
        before = read_mapping(Path(model) / "environment.json").get("model_sha256")
        if weights_hash(held.model) != before:
            raise UserError(f"{began} has other weights than when {model} started from it: give --reference")
    if policy.tokenizer.get_vocab() != held.tokenizer.get_vocab():
        raise UserError(f"--reference {name} has another vocabulary than {model}: give the model that it started from")
    for each in (policy, held):
        freeze(each, loading.dtype)
    return Judge(policy, held, name)


def is_reward_model(path: str, loading: Loading) -> bool:
    """Whether a folder or a hub name is a sequence classifier, as `burnish reward` and transformers save it."""
    if Path(path, "config.json").exists() or is_adapter(path):
        return is_scorer(path)
    with explained("MODEL", path, "a model"):
        kinds = load_config(path, loading).architectures or []
    return any(str(one).endswith("ForSequenceClassification") for one in kinds)


def began_as(model: str) -> str:
    """The model that a run folder's policy started from. Raises UserError where `model` is not a run folder."""
    config = Path(model) / "config.yaml"
    if not (Path(model) / "model").exists() or not config.exists():
        raise UserError(
            f"{model} is a policy, not a reward model: give --reference, the model that it started from, to score it "
            "by its implicit reward"
        )
    return str(read_mapping(config)["model"])


def named(option: str, load: Callable[[], T]) -> T:
    """Call `load`, and name this command's option in its error."""
    try:
        return load()
    except UserError as error:
        raise UserError(str(error).replace("--model", option, 1)) from error


def score(
    judge: Judge, questions: Sequence[Question], label: str, max_length: int | None, base: Settings, world: World
) -> tuple[list[Scored], dict[str, int]]:
    """The scores of every row that fits, in order, and counts of cut and dropped rows.

    Where the tokenizer has a chat template, prompt and answer are turns of the user and the assistant; else the answer
    follows the prompt as it stands. Rows that are too long are cut as in training: the left of the prompt first.
    """
    tokenizer = judge.model.tokenizer
    if tokenizer.chat_template is None:
        say(base, "the model has no chat template: answers follow prompts directly")
    limit = max_length or LONGEST
    if judge.model.context:
        limit = min(limit, judge.model.context)
    sizes = sorted({len(one.chosen) + len(one.rejected) for one in questions})
    scores: dict[int, Scores] = {}
    counts = {"max_length": limit, "truncated_prompts": 0, "truncated_responses": 0, "dropped": 0}
    for size in sizes:  # a batch has one number of answers a row
        chosen = [one for one in questions if len(one.chosen) + len(one.rejected) == size]
        examples = (example(one, tokenizer.chat_template is not None) for one in chosen)
        reading = Reading("RewardBench", COLUMNS[:3], examples)
        rows = tokenise.tokenise(reading, "preferences", tokenizer, limit, label)
        scores |= judge.scores(cast(Iterator[Preferences], in_order(rows, ROWS_AT_ONCE)), label, world)
        counts |= {key: counts[key] + rows.counts[key] for key in list(counts)[1:]}
    if notes := [f"{counts[key]:,} {key.replace('_', ' ')}" for key in list(counts)[1:] if counts[key]]:
        say(base, f"{label}: at most {limit} tokens; {', '.join(notes)}")
    found = [
        Scored(one.row, one.subset, scores[one.row][: len(one.chosen)], scores[one.row][len(one.chosen) :], key=one.key)
        for one in questions
        if one.row in scores
    ]
    return found, counts


def example(question: Question, chat: bool) -> Example:
    """The row as an example of a data set: texts, or messages for a model with a chat template."""
    texts = (*question.chosen, *question.rejected)
    if not chat and isinstance(question.prompt, str):
        return Example(question.row, question.prompt, texts)
    prompt = [{"role": "user", "content": question.prompt}] if isinstance(question.prompt, str) else question.prompt
    return Example(question.row, prompt, tuple([{"role": "assistant", "content": text}] for text in texts))


def write(out: Path, found: dict[str, Any], rows: Sequence[Scored]) -> None:
    """The findings, every row's scores, and the page."""
    lines = [
        {"row": one.row, "subset": one.subset, "chosen": one.chosen.tolist(), "rejected": one.rejected.tolist()}
        for one in rows
    ]
    write_atomically(out / ROWS, "".join(json.dumps(line) + "\n" for line in lines))
    write_atomically(out / FOUND, json.dumps(found, indent=2) + "\n")
    rewardbench_page(found, out / PAGE)


def print_table(found: dict[str, Any]) -> None:
    """Print sections with their subsets, the score, and notes."""
    table = Table(
        box=box.SIMPLE_HEAD, title=f"{found['benchmark']}: {escape(printable(found['model']))}", title_justify="left"
    )
    table.add_column("section and subsets")
    for heading in ("rows", "score", "95 % interval", "lost by a tie"):
        table.add_column(heading, justify="right")
    for name in (*found["sections"], *found["missing_sections"], OTHER):
        inside = {key: one for key, one in found["subsets"].items() if one["section"] == name}
        alone = list(inside) == [name]
        if section := found["sections"].get(name):
            ties = str(inside[name].get("ties", "")) if alone else ""
            table.add_row(name, f"{section['rows']:,}", *shares(section["score"]), ties, style="bold")
        elif inside:
            table.add_row(f"{name}, in no mean", style="bold")
        for key, one in inside.items() if not (section and alone) else ():
            table.add_row(
                f"  {escape(printable(key))}", f"{one['rows']:,}", *shares(one["score"]), str(one.get("ties", ""))
            )
    if found["score"]:
        table.add_section()
        rows = sum(one["rows"] for one in found["sections"].values())
        table.add_row("mean of sections", f"{rows:,}", *shares(found["score"]), style="bold")
    console = Console()
    console.print(table)
    for line in sentences(found)[1:]:
        console.print(printable(line), markup=False, highlight=False)


def shares(score: dict[str, float] | None) -> tuple[str, str]:
    return ("–", "") if score is None else (percent(score["mean"], 1), range_of(score, 1, shares=True))
