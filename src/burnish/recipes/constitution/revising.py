"""`burnish constitution --part supervised`: answers that a model revises by principles, as data for fine-tuning.

Source: Bai et al. (2022), "Constitutional AI: Harmlessness from AI Feedback", section 3. Differs: no examples come
before a question, and a principle may be a text, from which the requests for critique and revision are made.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.config import Settings
from burnish.evaluation.readings import Reading
from burnish.evaluation.served_model import found_at
from burnish.evaluation.writers import PolicyWriter, ServerWriter
from burnish.options import COLDEST
from burnish.recipes.constitution.asking import Asking, first_unread, spent, totals
from burnish.recipes.constitution.calls import ENDING, SUPERVISED, TEXT, CallFile
from burnish.recipes.constitution.chains import ANSWER, CRITIQUE, STOPS, Chain, once, prompts_in
from burnish.recipes.constitution.files import (
    CHAINS,
    begun,
    check_limits,
    check_rows,
    identity_of,
    loaded,
    write,
    write_rows,
)
from burnish.recipes.constitution.principles import principles_of
from burnish.recipes.remote import SERVER
from burnish.recipes.train.models import say
from burnish.run import UserError, companion, warn
from burnish.run.web import address

TOKENS = 512


@dataclass(frozen=True)
class Revised:
    """`rows` are the demonstrations, `chains` all that was said to each prompt, `found` what became of the prompts."""

    rows: list[dict[str, Any]]
    chains: list[dict[str, Any]]
    found: dict[str, Any]


def revise(
    data: Any,
    principles: str | Path | Sequence[Any],
    out: str | Path,
    *,
    model: str | Path | None = None,
    server: str | None = None,
    revisions: int = 1,
    max_new_tokens: int = TOKENS,
    temperature: float = 1.0,
    budget: int | None = None,
    budget_tokens: int | None = None,
    prompts: int | None = None,
    server_timeout: float = 60.0,
    base: Settings | None = None,
) -> Revised:
    """Let a model answer each prompt of `data`, then `revisions` times criticize its latest answer by a principle drawn
    at random and revise it; the last revisions are written to `out` as demonstrations.

    The model is in this process, or the one of that name at the URL `server`, or its only one. All that it says is
    appended to a file beside `out`, so that the same call goes on where a killed one ended. It is asked at most
    `budget` times in all, which counts what is in that file and requests that failed, and no more once a server has
    counted `budget_tokens`. Raises UserError for invalid input, and where the model does not answer.
    """
    base = base or Settings()
    check(model, server, revisions, max_new_tokens, temperature)
    check_limits(budget, budget_tokens, server_timeout, "--server-timeout")
    written = principles_of(principles, requests=True)
    path = begun(out, SUPERVISED, data, principles if isinstance(principles, str | Path) else None)
    knobs: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": temperature, "seed": base.seed}
    who: PolicyWriter | ServerWriter
    if server is not None:
        url, name = found_at(server, None if model is None else str(model), server_timeout, SERVER, "--model")
        who, chat, checksum = ServerWriter(url, name, server_timeout, peer=SERVER, **knobs), True, None
        read = prompts_in(data, prompts, chat)
        asked = once(read)
        if unread := sum(bool(one.options) for one in asked):
            warn(f"the server is not told the tools, documents or keywords for the template of {unread:,} rows")
    else:
        policy, name, checksum = loaded(str(model), base)
        which, chat = identity_of(policy, checksum), bool(policy.tokenizer.chat_template)
        who = PolicyWriter(name, policy, which, stops=STOPS, **knobs)
        read = prompts_in(data, prompts, chat, policy.tokenizer)
        asked = once(read)
    file = CallFile(companion(path, ENDING), {one.key for one in asked}, SUPERVISED)
    try:
        chains = [Chain.of(one, written, revisions, base.seed, who.identity) for one in asked]
        asking = Asking({TEXT: who}, file, budget, 1 + 2 * revisions, budget_tokens)
        asking.go_on(chains, who.at_once, "revising", base.quiet)
        readings, requests = dict(file.readings), file.requests
    finally:
        file.close()
    told = [chain_row(one, readings) for one in chains]
    rows = [demonstration(one, readings, who.name, checksum, chat) for one in chains if finished(one, readings)]
    found = {"model": who.name, "checksum": checksum, "revisions": revisions, "tokens": file.tokens} | knobs
    found |= {"repeated": len(read) - len(asked)} | summary(chains, told, readings, requests)
    for line in sentences(found):
        say(base, line)
    check_rows(rows, found, path)
    write_rows(told, companion(path, CHAINS))
    write(rows, found, path)
    return Revised(rows, told, found)


def check(
    model: str | Path | None,
    server: str | None,
    revisions: int,
    max_new_tokens: int,
    temperature: float,
) -> None:
    """Raise UserError for invalid arguments, before anything is loaded."""
    if model is None and server is None:
        raise UserError("--part supervised needs a --model that answers, or the URL of a --server")
    for name, value in (("revisions", revisions), ("max-new-tokens", max_new_tokens)):
        if value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}")
    if temperature != 0 and not COLDEST <= temperature < float("inf"):
        raise UserError(
            f"--temperature must be 0, for the likeliest tokens, or at least {COLDEST:g}, not {temperature}"
        )
    if server is not None:
        address(server, SERVER)


def finished(chain: Chain, readings: Mapping[str, Reading]) -> bool:
    """Whether the last revision is there."""
    said = [text for _, text in chain.steps(readings)]
    return len(said) == 1 + 2 * len(chain.principles) and bool(said[-1])


def chain_row(chain: Chain, readings: Mapping[str, Reading]) -> dict[str, Any]:
    """All that was said to a prompt; `problem` says why the chain ends early, where an answer cannot be used."""
    row: dict[str, Any] = {"source": chain.prompt.source, "row": chain.prompt.row, "prompt": chain.prompt.value}
    row |= {"answer": None, "revisions": []}
    problem = ""
    for step, text in chain.steps(readings):
        reading = readings.get(step.key)
        problem = reading.problem if reading is not None else ""
        if not text:
            break
        if step.kind == ANSWER:
            row["answer"] = text
        elif step.kind == CRITIQUE:
            row["revisions"].append({"principle": step.facts["principle"], "critique": text, "revision": None})
        else:
            row["revisions"][-1]["revision"] = text
    return row | {"problem": problem}


def demonstration(
    chain: Chain, readings: Mapping[str, Reading], name: str, checksum: str | None, chat: bool
) -> dict[str, Any]:
    """The prompt with its last revision, and where it comes from."""
    said = list(chain.steps(readings))
    final = said[-1][1]
    found: dict[str, Any] = {"prompt": chain.prompt.value}
    found["completion"] = [{"role": "assistant", "content": final}] if chat else final
    found |= {"principles": [one.text for one in chain.principles], "model": name, "checksum": checksum}
    found |= {"calls": [step.key for step, _ in said], "source": chain.prompt.source, "row": chain.prompt.row}
    return found | chain.prompt.columns()


def summary(
    chains: Sequence[Chain], told: Sequence[Mapping[str, Any]], readings: Mapping[str, Reading], requests: int
) -> dict[str, Any]:
    """What became of the prompts."""
    done = [row for one, row in zip(chains, told, strict=True) if finished(one, readings)]
    found: dict[str, Any] = {"part": SUPERVISED, "prompts": len(chains), "revised": len(done)}
    found |= totals(chains, len(done), readings, requests)
    if done:
        found["unchanged"] = sum(row["revisions"][-1]["revision"] == row["answer"] for row in done)
        found["echoes"] = sum(one["revision"] == one["critique"] for row in done for one in row["revisions"][-1:])
        lengths = [[len(row["answer"]), len(row["revisions"][-1]["revision"])] for row in done]
        found["characters"] = [sum(each) / len(done) for each in zip(*lengths, strict=True)]
        drawn = Counter(one["principle"] for row in done for one in row["revisions"])
        found["principles"] = dict(drawn.most_common())
    return found


def sentences(found: Mapping[str, Any]) -> list[str]:
    """The summary in words."""
    lines = [f"{found['revised']:,} of {found['prompts']:,} answers are revised ({spent(found)})"]
    if found.get("repeated"):
        lines.append(f"{found['repeated']:,} prompts of the data are left out: they are there more than once")
    if found["unread"]:
        lines.append(
            f"{found['unread']:,} prompts have an answer that cannot be used, and no row; {first_unread(found)}"
        )
    if found["not_asked"]:
        lines.append(f"{found['not_asked']:,} prompts are not finished yet: raise the budget to go on")
    if found["revised"]:
        before, after = found["characters"]
        lines.append(
            f"{found['unchanged']:,} last revisions are equal to the first answer, and {found['echoes']:,} to the "
            f"critique before them; the mean length goes from {before:,.0f} to {after:,.0f} characters"
        )
    return lines
