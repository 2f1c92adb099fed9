"""`burnish agreement LABELS`: how far those who labelled agree with themselves and with each other."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from burnish.data.labels import Tally, pair_key, tallies, votes_of
from burnish.evaluation.agreement import agreement as measured
from burnish.evaluation.agreement import split
from burnish.recipes.label.pairs import blocks
from burnish.report.language import agreement as words
from burnish.run import UserError, printable, read_jsonl, results_folder, write_atomically

FOUND, PAGE = "agreement.json", "agreement.html"
COLUMNS = ("prompt", "a", "b", "rater", "verdict")
SHOWN = 100


def agreement(labels: str | Path, out: Path | None = None) -> dict[str, Any]:
    """The agreement in a labels file; with `out` also as numbers and a page in that folder.

    Raises UserError for a file without labels.
    """
    path = Path(labels)
    with results_folder(out, (FOUND, PAGE)):
        records = read_jsonl(path)
        if not records:
            raise UserError(f"{path} has no labels: give a file that burnish label wrote")
        for number, record in enumerate(records):
            if missing := [column for column in COLUMNS if column not in record]:
                raise UserError(f"{path}, row {number}: has no `{missing[0]}`: give a file that burnish label wrote")
        found = tallies(votes_of(enumerate(records), str(path)))
        disputed = sorted((one for one in found if split(one) > 0), key=split, reverse=True)
        result = {"labels": str(path), "answers": len(records)} | measured(found)
        result |= {"disputed": len(disputed), "rows": [shown(one, records) for one in disputed[:SHOWN]]}
        if out is not None:
            write_atomically(out / FOUND, json.dumps(result, indent=1, ensure_ascii=False) + "\n")
            words.agreement_page(result, out / PAGE)
    return result


def shown(one: Tally, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """A pair on which people disagree: its texts, and who said what."""
    record = records[one.row]
    assert pair_key(*(record[key] for key in COLUMNS[:3])) == one.votes[0].pair
    votes = [
        {
            "rater": vote.rater,
            "verdict": vote.verdict,
            "showing": vote.showing,
            "note": records[vote.row].get("note", ""),
        }
        for vote in one.votes
    ]
    return {"row": record.get("row", one.row), "votes": votes, "unequal": split(one)} | {
        key: "\n\n".join(
            f"{part['role']}: {part['text']}" if part["role"] else part["text"] for part in blocks(record[key])
        )
        for key in COLUMNS[:3]
    }


def print_agreement(found: dict[str, Any]) -> None:
    """Print the sentences, and a table of the raters."""
    console = Console()
    table = Table("", *words.HEADS, box=box.SIMPLE, pad_edge=False, show_edge=False)
    for name, *cells in words.rater_rows(found):
        table.add_row(printable(name), *cells)
    console.print(table, markup=False)
    for sentence in words.sentences(found):
        console.print(printable(sentence), highlight=False, markup=False)
