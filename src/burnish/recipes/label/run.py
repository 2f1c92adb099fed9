"""`burnish label`: gather the pairs, open the port, and answer the page until everybody is finished or Ctrl-C."""

import getpass
import os
import re
import secrets
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from burnish.config import Settings
from burnish.data.files import ENDINGS, ending
from burnish.recipes.label.file import LabelFile
from burnish.recipes.label.pairs import Pair, checksum, different, pairs_in
from burnish.recipes.label.plan import Plan, rater_names
from burnish.recipes.label.selected import RANDOM, selecting
from burnish.recipes.label.session import Session
from burnish.recipes.web import opened, run_server, server_of, web_server
from burnish.run import UserError, first_line, printable, refuse_special, writable_file

PORT = 8010
HOST = "127.0.0.1"
LONGEST_GUIDELINE = 2**20
TOKEN = "BURNISH_LABEL_TOKEN"
"""The environment variable with the token of the address; without it each start has a new one."""


def label(
    models: Sequence[str | Path] = (),
    data: Any = None,
    out: str | Path | None = None,
    *,
    raters: Sequence[str] = (),
    shared: float = 0.2,
    repeat: float = 0.1,
    select: str = RANDOM,
    reward: str | Sequence[str | Path] | None = None,
    random_share: float | None = None,
    strengths: bool = False,
    guideline: str | Path | None = None,
    prompts: int | None = None,
    max_new_tokens: int = 64,
    temperature: float = 1.0,
    port: int = PORT,
    base: Settings | None = None,
) -> Path:
    """Let people label pairs of answers, and append what they answer to the file `out`.

    The pairs are of two `models` that answer the prompts of `data`, of one model that answers each twice, or of `data`
    itself, which then has both answers; a data file may also stand in the place of the models. Their order is random;
    with `select="disagreement"` those come first on which the reward models `reward` disagree most, but for a
    `random_share` (0.2). Raises UserError for invalid input.
    """
    base = base or Settings()
    if out is None:
        raise UserError("--out is missing: name the file for the labels")
    plan = plan_of(raters, shared, repeat, base.seed)
    text = guideline_of(guideline)
    token()
    models, data = places_of(models, data)
    web = web_server()
    with opened(HOST, port, f"--port {port}") as listening:
        path = writable_file(out)
        selector = selecting(select, reward, random_share, path)
        if models:
            from burnish.recipes.label.drawn import pairs_of_models

            pairs = pairs_of_models(models, data, path, prompts, max_new_tokens, temperature, base)
        else:
            pairs = pairs_in(data, prompts)
        if selector is not None and (shown := different(pairs)):
            plan = replace(plan, selection=selector.selection(shown, path, base))
        session = opened_session(pairs, plan, path, strengths)
        try:
            serve(web, session, listening, text, base)
        finally:
            session.file.close()
    return path


def plan_of(raters: Sequence[str], shared: float, repeat: float, seed: int) -> Plan:
    """The plan for these raters, by default the user of this process. Raises UserError for values out of range."""
    if not 0 <= shared <= 1:
        raise UserError(f"--shared must lie in [0, 1], not {shared:g}")
    if not 0 <= repeat <= 0.5:
        raise UserError(
            f"--repeat must lie in [0, 0.5], not {repeat:g}: a pair is shown again after half of the others"
        )
    return Plan(rater_names(raters or [own_name()]), seed, shared, repeat)


def token() -> str:
    """The token of the address: that of the environment variable, or a random one. Raises UserError for characters that
    an address cannot have as they are."""
    found = os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", found):
        raise UserError(f"{TOKEN} may have letters of English, digits, - and _ alone, as it is part of an address")
    return found


def own_name() -> str:
    """The name of the user, as a rater's name may be."""
    try:
        name = getpass.getuser()
    except (OSError, KeyError, ImportError):
        name = ""
    return "".join(one for one in name if one.isalnum() or one in "-_.").lstrip("-_.")[:40] or "me"


def places_of(models: Sequence[str | Path], data: Any) -> tuple[list[str], Any]:
    """The models and the data, where a file with the answers may stand in the place of the models."""
    names = [str(one) for one in models]
    files = [name for name in names if ending(Path(name)) in ENDINGS]
    if files and (len(names) > 1 or data is not None):
        raise UserError(f"{files[0]} is a data file: give it alone, or with --data and without models")
    if len(names) > 2:
        raise UserError(f"{len(names)} models are given, but two answers are compared: give one or two")
    if files:
        return [], files[0]
    if not names and data is None:
        raise UserError("there is nothing to label: give models and --data with prompts, or a file with the answers")
    return names, "builtin" if data is None else data


def guideline_of(file: str | Path | None) -> str:
    """The text that stands beside the pairs. Raises UserError for a file that cannot be read."""
    if file is None:
        return ""
    refuse_special(Path(file))
    try:
        if Path(file).stat().st_size > LONGEST_GUIDELINE:
            raise UserError(f"--guideline {file} has more than {LONGEST_GUIDELINE // 2**20} MiB: shorten it")
        return Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error)
        raise UserError(f"--guideline {file} cannot be read ({reason}): give a text file in UTF-8") from error


def opened_session(pairs: Sequence[Pair], plan: Plan, path: Path, strengths: bool) -> Session:
    """The pairs with the file of their labels, which may have some already.

    Raises UserError if no pair can be compared, if the file is of other data, and if its answers have strengths where
    these would have none, or the other way round: margins need one for each.
    """
    shown = different(pairs)
    if not shown:
        raise UserError(f"the two answers are the same in all {len(pairs):,} pairs: there is nothing to compare")
    file = LabelFile(path, checksum(shown))
    decided = [vote.strength is not None for vote in file.votes if vote.verdict in ("a", "b")]
    if decided and decided[-1] != strengths:
        file.close()
        begun, remedy = ("with", "give it again") if decided[-1] else ("without", "leave it out")
        raise UserError(f"{path} was begun {begun} --strength: {remedy}, or choose another --out")
    return Session(shown, plan, file, strengths)


def serve(web: Any, session: Session, listening: Any, guideline: str, base: Settings) -> None:
    """Serve the page until every rater is finished, or the process is interrupted. Says where, and the outcome."""
    from burnish.recipes.label.app import Pages

    pages = Pages(session, token(), guideline, debug=base.debug)
    server = server_of(web, pages.app())

    def end() -> None:
        server.should_exit = True

    pages.end = end
    address = f"http://{HOST}:{listening.getsockname()[1]}/{pages.token}/"
    for line in told(session, address):
        print(printable(line), flush=True)
    before = len(session.file.records)
    run_server(server, listening)
    if not base.quiet:
        total = len(session.file.records)
        print(f"{total - before:,} answers now, {total:,} in {printable(session.file.path)}", file=sys.stderr)


def told(session: Session, address: str) -> list[str]:
    """Who has how many comparisons, and the address for each; Ctrl-C ends it."""
    lines = []
    for rater in session.plan.raters:
        order, answered = session.orders[rater], session.answered(rater)
        again = sum(place.showing > 0 for place in order)
        done = sum(one in answered for one in order)
        twice = f", {again} of them for the second time" if again else ""
        begun = f", {done} answered" if done else ""
        where = address if len(session.plan.raters) == 1 else f"{address}?rater={quote(rater)}"
        lines.append(f"{rater}: {len(order)} comparisons{twice}{begun}: {where}")
    return [*lines, "Ctrl-C ends it; every answer is in the file at once"]
