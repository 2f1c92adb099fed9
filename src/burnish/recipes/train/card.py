"""The model card of a run: `README.md` beside the weights, with Hugging Face's front matter.

It depends only on the run's inputs and results, not on the day, the machine or the folder, so that a resumed run has
the same card to the byte.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from burnish.algorithms.interface import name_of
from burnish.algorithms.table import summary_of
from burnish.config import Settings, as_dict
from burnish.data import names
from burnish.ends import template_end
from burnish.policies.language.adapters import is_adapter
from burnish.policies.language.dtypes import dtype_in
from burnish.recipes.assets import NAMES
from burnish.report.wording import flatten, value
from burnish.run import read_jsonl, read_mapping, write_atomically
from burnish.run.folder import WATCH
from burnish.run.plain_yaml import write_yaml
from burnish.run.records import HARMLESS
from burnish.run.versions import version

CARD = "README.md"
BEGIN, END = "<!-- burnish evaluate: begin -->", "<!-- burnish evaluate: end -->"
NOT_YET = "None yet: `burnish evaluate` on the run's folder writes here what it finds, with intervals."
PATHS = ("model", "data", "eval_data", "watch_labels", "watch_rewards", "reward", "critic")
"""Settings that may name a file or folder."""

LIMITS = {
    "scorer": (
        "A score orders answers to one prompt; scores of different prompts, or of another model, are not comparable.",
        "A policy that is trained on the scores finds what they get wrong: beyond some distance from where it began, "
        "higher scores are no better texts. Hold it near its reference and let somebody else judge.",
    ),
    "demonstrations": ("It imitates its demonstrations, their mistakes included, and knows nothing that they lack.",),
    "prompts": (
        "It was trained to be rewarded: where the reward is wrong, so is it. Look at what it writes, not at its score.",
    ),
    "preferences": (
        "It prefers what the people, or the model, behind the comparisons preferred, and is unknown elsewhere.",
        "Its accuracy on comparisons says little of what it writes: look at samples.",
    ),
}
ALWAYS = (
    "One seed was run: how much its results vary over seeds is unknown.",
    "Nobody has examined it for use with people: what it says may be false, offensive or harmful.",
)
LIMITS_OF = {
    "builtin": "The built-in model is small and knows little but film reviews: it demonstrates methods and has no "
    "other use.",
    "smollm2": "It started from SmolLM2-135M-Instruct with weights rounded to about 5 bits: a small model, often wrong "
    "about facts and arithmetic.",
}
"""What is known of the models that Burnish names."""
ON_HUB = {"smollm2": "HuggingFaceTB/SmolLM2-135M-Instruct"}


def write_card(
    folder: Path, tokenizer: Any, algorithm: Any, settings: Settings, rows: Any, held: Any, metrics: Path
) -> None:
    """Write the card of a finished run into the model's `folder`.

    `rows` and `held` are the tokenised training and evaluation data (`held` may be None); `metrics` is the run's
    `metrics.jsonl`.
    """
    name = name_of(algorithm)
    scorer, adapter = "scorer" in algorithm.roles, is_adapter(folder)
    limits = [*LIMITS.get("scorer" if scorer else algorithm.data, LIMITS["preferences"]), *ALWAYS]
    end = template_end(tokenizer)
    data = (facts("training", settings.data, rows), facts("evaluation", settings.eval_data or settings.data, held))
    values = {
        "front": front_matter(name, settings, scorer, adapter),
        "burnish": version("burnish"),
        "versions": ", ".join(f"{one} {version(one)}" for one in ("torch", "transformers")),
        "method": name,
        "summary": summary_of(name),
        "model": shown(settings.model),
        "scorer": scorer,
        "adapter": adapter,
        "dtype": str(dtype_in(folder)).removeprefix("torch."),
        "chat": bool(tokenizer.chat_template),
        "end": end,
        "end_text": None if end is None else tokenizer.convert_ids_to_tokens(end),
        "adds_eos": tokenizer("a")["input_ids"][-1:] == [tokenizer.eos_token_id],
        "data": [part for part in data if part],
        "result": final(read_jsonl(metrics), best=settings.keeps_best),
        "best": settings.keeps_best,
        "warnings": watched(metrics.parent) if settings.watch else None,
        "config": configuration(algorithm, settings),
        "limits": [*limits, *([LIMITS_OF[settings.model]] if settings.model in NAMES else [])],
        "evaluation": marked(NOT_YET),
    }
    write_atomically(folder / CARD, _environment().get_template("card.md.j2").render(values))


def add_evaluation(folder: Path, found: Mapping[str, Any]) -> None:
    """Write an evaluation's results into the card of `folder`, replacing earlier ones.

    The rest of the card, edited or not, does not change; a card without the section gets it at its end. A folder
    without a card, from an older run, gets none.
    """
    card = folder / CARD
    if not card.exists():
        return
    text = card.read_bytes().decode("utf-8", "surrogateescape")  # whatever else it contains stays as it is
    section = marked(evaluated(found))
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        before, after = f"{text.rstrip()}\n\n## Evaluation\n\n", "\n"
    write_atomically(card, (before + section + after).encode("utf-8", "surrogateescape"))


def marked(text: str) -> str:
    return f"{BEGIN}\n{text}\n{END}"


def evaluated(found: Mapping[str, Any]) -> str:
    """An evaluation as Markdown: all numbers, with their intervals."""
    flat = {key: item for key, item in flatten(found).items() if key not in ("run", "data")}
    numbers = {key: item for key, item in flat.items() if isinstance(item, int | float | Mapping)}
    lines = [f"| {cell(key)} | {cell(value(item))} |" for key, item in numbers.items()]
    part = "the rows held out of " if "holdout" in found else ""
    head = f"On {part}{of(str(found['data']))}; ranges are 95 % intervals."
    return "\n".join([head, "", "| | |", "|---|---|", *lines])


def front_matter(name: str, settings: Settings, scorer: bool, adapter: bool) -> str:
    """The card's YAML. Unknown entries (such as the licence) and names that are not on the hub are left out."""
    front: dict[str, Any] = {
        "library_name": "peft" if adapter else "transformers",
        "pipeline_tag": "text-classification" if scorer else "text-generation",
    }
    if settings.model in ON_HUB or on_hub(settings.model):
        front["base_model"] = ON_HUB.get(settings.model, settings.model)
    parts = [part for text in (settings.data, settings.eval_data) if text for part in names.parts(text)]
    if datasets := [part.base for part in parts if on_hub(part.base, owner=True)]:
        front["datasets"] = list(dict.fromkeys(datasets))
    front["tags"] = ["burnish", name, *(["reward-model"] if scorer else [])]
    return write_yaml(front)


def on_hub(name: str, owner: bool = False) -> bool:
    """Whether a text can only be a name on the hub: `owner/name`, or for a model also one word."""
    word = r"[A-Za-z0-9][\w.-]*"
    pattern = rf"{word}/{word}" if owner else rf"({word}/)?{word}"
    return name not in NAMES and bool(re.fullmatch(pattern, name)) and not Path(name).exists()


def shown(name: str) -> str:
    """A model, file or folder without its path on this machine."""
    if on_hub(name) or on_hub(name, owner=True) or not ("/" in name or Path(name).exists()):
        return name
    return Path(name).resolve().name


def shown_data(text: str) -> str:
    """The data's names, each without its path on this machine."""
    written = zip(names.parts(text), names.split(text), strict=True)
    return ",".join(shown(part.base) + piece[len(part.base) :] for part, piece in written)


def of(data: str) -> str:
    return "built-in data, the held-out part" if data == "builtin" else code(shown_data(data))


def facts(part: str, name: str, rows: Any) -> dict[str, Any] | None:
    """A data set's name, counts and hash; None without data."""
    if rows is None:
        return None
    counts = {key.replace("_", " "): count for key, count in rows.counts.items() if count and key != "largest_group"}
    return {"part": part, "name": shown_data(name), "counts": counts, "sha256": rows.fingerprint}


def final(records: list[dict[str, Any]], best: bool) -> dict[str, Any]:
    """The metrics of the last step, or those of the evaluation whose weights were kept as the best."""
    held = [one for one in records if one.get("eval_loss") is not None]
    if best and held:
        return min(held, key=lambda one: one["eval_loss"])
    return records[-1] if records else {}


def watched(run: Path) -> list[str]:
    """What the monitor of a run has warned of, a sentence each."""
    return [str(one["sentence"]) for one in read_mapping(run / WATCH)["warnings"]]


def configuration(algorithm: Any, settings: Settings) -> str:
    """The configuration as YAML, without the keys that do not affect the result."""
    config = {key: item for key, item in as_dict(algorithm, settings).items() if key not in HARMLESS}
    for key in PATHS:
        if isinstance(config.get(key), str):
            if key == "watch_rewards":
                config[key] = ",".join(map(shown, config[key].split(",")))
            else:
                config[key] = shown_data(config[key]) if "data" in key or "labels" in key else shown(config[key])
    return write_yaml(config)


def cell(text: Any) -> str:
    """Text for a heading or a table cell: what Markdown or HTML would obey is escaped."""
    return re.sub(r"[\\`*<>|&]|\](?=[(\[:])", r"\\\g<0>", " ".join(str(text).split()))


def code(text: Any) -> str:
    """Text as a code span on one line, between more backticks than it has in a row."""
    plain = " ".join(str(text).split())
    fence = fence_of(plain, 1)
    space = " " if "`" in plain else ""
    return f"{fence}{space}{plain}{space}{fence}"


def fence_of(text: str, least: int = 3) -> str:
    """Backticks, more than the text has in a row, and at least so many."""
    return "`" * max(least, 1 + max(map(len, re.findall("`+", text)), default=0))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("burnish.recipes", "templates"),
        autoescape=False,  # Markdown
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"value": value, "cell": cell, "code": code, "fence": fence_of}
    return environment
