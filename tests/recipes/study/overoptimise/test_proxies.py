"""Proxies: which labels each learns from, and how it orders pairs."""

import json
from pathlib import Path

from burnish.recipes.study.overoptimise.proxies import agreements, chosen_rows, labels_of, relabelled

from .worlds import TINY, Longer


def test_more_labels_have_the_fewer_among_them_and_seeds_differ() -> None:
    few, many = chosen_rows(3, 5, 20), chosen_rows(3, 15, 20)
    assert many[:5] == few
    assert len({*many}) == 15
    assert chosen_rows(4, 5, 20) != few


def test_seeds_share_pairs_and_have_labels_of_their_own(tmp_path: Path) -> None:
    """Of pairs whose scores say nothing; all of them are labelled, so that the pairs are the same."""
    (tmp_path / "start").mkdir()
    pairs = [{"prompt": f"Film {i}", "first": " bad.", "second": " good.", "gap": 0.0} for i in range(64)]
    (tmp_path / "start" / "pairs.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pairs))
    one, other = ({row["prompt"]: row["chosen"] for row in labels_of(seed, 64, TINY, tmp_path)} for seed in (0, 1))
    assert len(one) == 64
    assert one.keys() == other.keys()
    assert 12 < sum(one[prompt] != other[prompt] for prompt in one) < 52
    assert labels_of(0, 8, TINY, tmp_path) == labels_of(0, 64, TINY, tmp_path)[:8]


def test_pairs_are_ordered_as_their_labels_say() -> None:
    long, short = " a very long and good one.", " bad."
    pairs = [
        {"prompt": "The film is", "chosen": long, "rejected": short},
        {"prompt": "The film is", "chosen": short, "rejected": long},
        {"prompt": "The film is", "chosen": short, "rejected": " odd."},
    ]
    agrees, rows = agreements(Longer(), pairs, 32)
    assert (agrees.tolist(), rows) == ([1.0, 0.0, 0.5], [0, 1, 2])


def test_a_proxy_labels_pairs_itself() -> None:
    """The longer response is chosen, whatever the label was; a tie is left out."""
    long, short = " a very long and good one.", " bad."
    sides = [("A", long, short), ("B", short, long), ("C", short, " odd.")]
    pairs = [dict(zip(("prompt", "chosen", "rejected"), one, strict=True)) | {"right": True} for one in sides]
    assert relabelled(Longer(), pairs, 32) == [
        {"prompt": "A", "chosen": long, "rejected": short},
        {"prompt": "B", "chosen": long, "rejected": short},
    ]
