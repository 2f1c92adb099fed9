"""Commands that do something with models that are there: measure them, sample from them, talk with them."""

import shlex
import sys
from pathlib import Path
from typing import Any

import click

from burnish.cli.flags import common, named, repeated, settings_of
from burnish.options import COLDEST
from burnish.run import printable, without_keys

KEEP_SPECIAL_TOKENS = "keep all special tokens in the text of completions but padding and the end"

TEMPERATURE = f"divides the logits, at least {COLDEST:g}"

ELSEWHERE = ("sampler", "sampler_timeout", "sampler_bound")

LOADING = ("revision", "trust_remote_code", "dtype", "load_in_4bit", "load_in_8bit")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@repeated(
    "--data",
    help="what to evaluate on; default: the run's eval_data, the rows that it held out, or the built-in held-out part",
)
@click.option(
    "--prefixes",
    type=click.IntRange(min=0),
    default=None,
    help="prompts to continue: built-in held-out prefixes, for ppo those of --data; default 256",
)
@click.option(
    "--max-new-tokens",
    type=click.IntRange(min=1),
    default=None,
    help="longest completion in tokens  [default: the run's own, or 64]",
)
@click.option(
    "--samples-per-prompt",
    type=click.IntRange(min=1),
    default=None,
    help="answers to each prompt, where they can be checked: pass@k for k up to this  [default: 64]",
)
@click.option("--episodes", type=click.IntRange(min=1), help="of control: episodes of each policy  [default: 100]")
@click.option("--env-option", multiple=True, metavar="KEY=VALUE", help="of control: an option of the environment")
@common("trust_remote_code", "seed", *ELSEWHERE, "device", "threads", "quiet", "debug")
def evaluate(
    run: Path,
    data: str | None,
    prefixes: int | None,
    max_new_tokens: int | None,
    samples_per_prompt: int | None,
    episodes: int | None,
    env_option: tuple[str, ...],
    **flags: Any,
) -> None:
    """Evaluate a finished RUN on held-out data. Several reward models with commas are one, as in --reward.

    A RUN of `burnish classic` is evaluated on new episodes: the returns of each policy, and of each algorithm.
    """
    import json

    from burnish.recipes.control.load import is_control, refuse_other

    of_language = {"data": data, "prefixes": prefixes, "max_new_tokens": max_new_tokens}
    of_language |= {"samples_per_prompt": samples_per_prompt}
    if is_control(run):
        from burnish.recipes.control.environment import options_of
        from burnish.recipes.control.evaluate import evaluate_control

        refuse_other(
            of_language | {name: flags[name] for name in ("trust_remote_code", "device", "threads")}, control=True
        )
        settings = settings_of(flags)
        returned = evaluate_control(run, episodes, options_of(env_option), settings.seed, settings.quiet)
        click.echo(json.dumps(returned, indent=2, default=str))
        return
    refuse_other({"episodes": episodes, "env_option": env_option or None}, control=False)
    from burnish.recipes.evaluate.ensemble import evaluate_named

    found = evaluate_named(
        run, data, prefixes, settings_of(flags), max_new_tokens, samples_per_prompt=samples_per_prompt
    )
    click.echo(json.dumps(found, indent=2))


@click.command()
@click.argument("model")
@repeated("--data", default="builtin", help="prompts: 'builtin' (held-out), a file, a folder …  [default: builtin]")
@click.option(
    "--n",
    "--num-samples",
    "--samples-per-prompt",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="completions of each prompt",
)
@click.option("--reward", default=None, help="keep the best by: a reward-model folder, gold, lexicon, module:function")
@click.option(
    "--keep", type=click.Choice(["best", "all"]), help="which of the n  [default: best with --reward, or all]"
)
@click.option("--out", type=click.Path(path_type=Path), default=None, help="JSONL file to write")
@click.option(
    "--format",
    type=click.Choice(["prompt-completion", "messages"]),
    default="prompt-completion",
    show_default=True,
    help="columns of the file: prompt and completion, or messages with the answer as the last",
)
@click.option("--max-new-tokens", type=int, default=64, show_default=True, help="longest completion in tokens")
@click.option("--temperature", type=float, default=1.0, show_default=True, help=TEMPERATURE)
@click.option("--top-k", type=int, help="draw from so many likeliest tokens alone")
@click.option("--top-p", type=float, help="draw from the likeliest tokens of this probability alone")
@click.option("--stop", multiple=True, help="a text that ends a completion and is not part of it; may be repeated")
@click.option("--limit", type=int, default=None, help="take the first so many prompts")
@click.option("--demonstrations", is_flag=True, help="pick only what `burnish sft` can imitate: words, and an end")
@click.option("--keep-special-tokens", is_flag=True, help=KEEP_SPECIAL_TOKENS)
@common(*LOADING, "seed", "max_length", "precision", *ELSEWHERE, "device", "threads", "quiet", "debug")
def sample(model: str, data: str, n: int, reward: str | None, out: Path | None, **flags: Any) -> None:
    """Sample completions of prompts from MODEL.

    With --reward the best of --n by that reward; its KL to the sampler is at most log n − (n − 1)/n. Each is printed,
    or written to --out, as soon as it is ready.
    """
    from burnish.recipes.sample import sample_model
    from burnish.recipes.sampled import shown

    knobs = ("max_new_tokens", "temperature", "top_k", "top_p", "stop", "keep", "format", "limit", "demonstrations")
    own = {name: flags.pop(name) for name in (*knobs, "keep_special_tokens")}
    show = None if out else lambda line: click.echo(printable(shown(line)))
    sample_model(model, data, n, reward, out, **own, base=settings_of(flags), show=show)
    if out:
        click.echo(printable(out))


@click.command()
@click.argument("model")
@repeated("--data", required=True, help="a file, a folder or a Hugging Face name, as allenai/reward-bench-2")
@click.option("--reference", help="of a policy: the model that it began as  [default: the run's own]")
@click.option("--out", type=click.Path(path_type=Path), help="folder for the numbers and a page")
@click.option("--max-length", type=click.IntRange(min=2), help="tokens of a row  [default: the context, at most 2048]")
@common(*LOADING, "precision", "device", "threads", "quiet", "debug")
def rewardbench(
    model: str, data: str, reference: str | None, out: Path | None, max_length: int | None, **flags: Any
) -> None:
    """Score MODEL on data in RewardBench's format: a reward model, or a policy by its implicit reward."""
    from burnish.recipes import rewardbench as recipe

    recipe.print_table(recipe.rewardbench(model, data, reference, out, max_length, settings_of(flags)))
    if out:
        click.echo(printable(out / recipe.PAGE))


@click.command()
@click.argument("adapter")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="folder to write")
@common("revision", "trust_remote_code", "threads", "quiet", "debug")
def merge(adapter: str, out: Path, **flags: Any) -> None:
    """Make a plain model of an ADAPTER and its base.

    What a run with --lora-rank leaves, or what peft saves, becomes a folder that transformers loads without peft.
    """
    from burnish.recipes.merge import merge as run_merge

    click.echo(printable(run_merge(adapter, out, settings_of(flags))))


@click.command()
@click.argument("a")
@click.argument("b")
@repeated("--data", default="builtin", help="prompts: 'builtin' (held-out), a file, a folder …  [default: builtin]")
@click.option(
    "--judge",
    help="gold, lexicon, people, a reward model's folder, module:function, or http://…/v1  [default: gold on built-in "
    "data]",
)
@click.option("--judge-model", help="of a judge at a URL: the model to ask; the key is in BURNISH_JUDGE_KEY")
@click.option("--judge-timeout", type=float, default=60.0, show_default=True, help="seconds for a reply of the judge's")
@click.option("--raters", callback=named, help="of --judge people: their names, with commas  [default: your user name]")
@click.option("--port", type=click.IntRange(0, 65535), help="of --judge people: 0 is any free one  [default: 8010]")
@click.option("--prompts", type=int, default=128, show_default=True, help="take the first so many prompts")
@click.option("--out", type=click.Path(path_type=Path), help="folder for numbers, answers and a page")
@click.option("--max-new-tokens", type=int, default=64, show_default=True, help="longest answer in tokens")
@click.option("--temperature", type=float, default=1.0, show_default=True, help=TEMPERATURE)
@click.option("--keep-special-tokens", is_flag=True, help=KEEP_SPECIAL_TOKENS)
@common(*LOADING[1:], "seed", "max_length", "precision", "device", "threads", "quiet", "debug")
def compare(a: str, b: str, data: str, judge: str | None, prompts: int, out: Path | None, **flags: Any) -> None:
    """Let the models A and B answer the same prompts, and a judge say who wrote better."""
    from burnish.recipes import compare as recipe

    names = ("judge_model", "judge_timeout", "raters", "port", "max_new_tokens", "temperature", "keep_special_tokens")
    own = {name: flags.pop(name) for name in names}
    said = without_keys(shlex.join(["burnish", *sys.argv[1:]]))
    base = settings_of(flags)
    recipe.print_comparison(recipe.compare(a, b, data, judge, prompts, out, **own, base=base, command=said))
    if out:
        click.echo(printable(out / recipe.PAGE))


@click.command()
@click.argument("models", metavar="[MODEL]", nargs=-1)
@click.option("--against", help="another model that answers too")
@click.option("--server", help="URL of a server that has MODEL, as http://127.0.0.1:8000 of `burnish serve`")
@click.option("--system", help="a message that the conversation begins with")
@click.option("--max-new-tokens", type=int, help="longest answer in tokens  [default: 256, or half the context]")
@click.option("--temperature", type=float, default=1.0, show_default=True, help=TEMPERATURE)
@click.option("--top-p", type=float, help="draw from the likeliest tokens of this probability alone")
@common(*LOADING, "seed", "precision", "device", "threads", "debug")
def chat(models: tuple[str, ...], against: str | None, server: str | None, **flags: Any) -> None:
    """Talk with MODEL in the terminal; smollm2 is a small chat model."""
    if len(models) > 1:
        raise click.UsageError("Give one model, or two with --against: burnish chat A --against B")
    if not models and server is None:
        raise click.UsageError("Missing argument 'MODEL': give one, or the URL of a --server")
    here = next((name for name in (*LOADING, "precision", "device", "threads") if flags[name] is not None), None)
    if server is not None and here is not None:
        raise click.UsageError(f"--{here.replace('_', '-')} is for a model in this process: leave it out, or --server")
    from burnish.recipes.chat import chat as run_chat

    own = {name: flags.pop(name) for name in ("system", "max_new_tokens", "temperature", "top_p")}
    run_chat(models[0] if models else None, against, server=server, **own, base=settings_of(flags))


@click.command()
@click.argument("runs", type=click.Path(path_type=Path), nargs=-1, required=True)
@click.option(
    "--out", type=click.Path(path_type=Path), default=None, help="page to write; default: report.html in the first RUN"
)
@common("debug")
def report(runs: tuple[Path, ...], out: Path | None, **flags: Any) -> None:
    """Draw one or more RUNs in one page.

    Curves, settings, and what `burnish evaluate` found and sampled, side by side.
    """
    from burnish.report.language.training import training_page

    click.echo(printable(training_page(list(runs), out or runs[0] / "report.html")))
