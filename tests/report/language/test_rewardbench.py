"""The page of an invented result, read as a reader's browser would."""

from pathlib import Path
from typing import Any

from reading import Page

from burnish.report import figures
from burnish.report.language.rewardbench import groups, rewardbench_page, sections_chart, sentences

from ..conftest import interval

TOKENS = {"max_length": 2048, "truncated_prompts": 0, "truncated_responses": 0, "dropped": 0}


def pairs(**changes: Any) -> dict[str, Any]:
    """A result as `burnish rewardbench` writes it: Chat whole, Safety with too few rows, two sections missing."""
    return {
        "model": "runs/<rm>",
        "scored_by": "reward model",
        "reference": None,
        "data": "rows.jsonl",
        "benchmark": "RewardBench",
        "rows": 370,
        "score": interval(0.7, 0.05),
        "sections": {
            "Chat": {"score": interval(0.8, 0.04), "rows": 358, "published_rows": 358},
            "Safety": {"score": interval(0.6, 0.1), "rows": 10, "published_rows": 740},
        },
        "missing_sections": ["Chat Hard", "Reasoning"],
        "subsets": {
            "mine": {"section": "other", "rows": 2, "score": interval(0.5, 0.4), "ties": 0},
            "donotanswer": {"section": "Safety", "rows": 10, "score": interval(0.6, 0.1), "ties": 3},
            "mt-bench-med": {"section": "Chat", "rows": 358, "score": interval(0.8, 0.04), "ties": 1},
        },
        "tokens": TOKENS,
    } | changes


def bests() -> dict[str, Any]:
    """RewardBench 2, with Ties alone beside Focus."""
    terms = {"ref_accuracy": 0.9, "tied_accuracy": 0.8, "preferred": 0.7, "preferred_hard": 0.6, "margin": -0.25}
    ties = {"section": "Ties", "rows": 5, "pairs": 2, "unpaired": 1, "score": interval(0.77, 0.1), "terms": terms}
    focus = {"section": "Focus", "rows": 495, "score": interval(0.5, 0.04), "ties": 0}
    return pairs(
        benchmark="RewardBench 2",
        scored_by="implicit reward",
        reference="gpt2",
        sections={
            "Focus": {"score": interval(0.5, 0.04), "rows": 495, "published_rows": 495},
            "Ties": {"score": interval(0.77, 0.1), "rows": 5, "published_rows": 102},
        },
        missing_sections=["Math"],
        subsets={"Focus": focus, "Ties": ties},
    )


def test_what_the_numbers_say() -> None:
    said = sentences(pairs())
    assert said[0] == "70.0 % is the mean of Chat and Safety (95 % interval 65.0 to 75.0 %)."
    assert said[1] == (
        "This is not the whole benchmark (Chat Hard and Reasoning are missing; Safety differs in the number "
        "of rows): do not compare it with published scores."
    )
    assert said[2] == "In no section, and not in the mean: mine."
    assert len(said) == 3


def test_a_whole_benchmark_has_no_warning() -> None:
    chat = {"Chat": {"score": interval(0.8, 0.04), "rows": 358, "published_rows": 358}}
    said = sentences(pairs(sections=chat, missing_sections=[], subsets={}))
    assert said == ["70.0 % in Chat (95 % interval 65.0 to 75.0 %)."]


def test_truncated_and_dropped_rows_are_reported() -> None:
    said = sentences(pairs(tokens=TOKENS | {"truncated_prompts": 1200, "dropped": 2}))
    assert said[-1] == "To fit 2,048 tokens: 1,200 prompts truncated on the left and 2 rows dropped."


def test_no_row_of_a_section(tmp_path: Path) -> None:
    found = pairs(score=None, sections={}, missing_sections=["Chat"])
    assert sentences(found)[0].startswith("No row belongs to a section")
    page = rewardbench_page(found, tmp_path / "page.html").read_text()
    assert "data-figure" not in page


def test_the_chart_has_a_point_a_section_their_mean_and_guessing() -> None:
    chart = sections_chart(pairs())
    assert chart.description == "RewardBench: Chat 80%, Safety 60%, mean of sections 70%; guessing gives 50%."
    spec = figures.to_spec(chart)
    assert {"at": 0.5, "label": "guessing"} in [row for rows in spec["datasets"].values() for row in rows]
    alone = pairs(sections={"Chat": pairs()["sections"]["Chat"]})
    assert "mean of sections" not in sections_chart(alone).description
    assert "guessing gives 25%" in sections_chart(bests()).description


def test_subsets_stand_under_their_sections() -> None:
    assert [(name, [key for key, _ in inside]) for name, _, inside in groups(pairs())] == [
        ("Chat", ["mt-bench-med"]),
        ("Safety", ["donotanswer"]),
        ("other", ["mine"]),
    ]


def test_the_page(tmp_path: Path) -> None:
    found = Page(rewardbench_page(pairs(), tmp_path / "folder" / "page.html"))
    assert "RewardBench: runs/<rm>" in found.text
    assert found.loads == []
    subsets = found.text[found.text.index("Section and subsets") :]
    order = ["Chat ", "mt-bench-med", "Safety ", "donotanswer", "mine (no section)"]
    assert sorted(order, key=subsets.index) == order
    assert "Safety 10 60.0 % 50.0 to 70.0 % donotanswer 10 60.0 % 50.0 to 70.0 % 3" in subsets
    assert "the chosen answer scores above the rejected one" in found.text
    assert "Lambert" in found.text
    assert "Malik" not in found.text


def test_the_page_of_the_second_benchmark(tmp_path: Path) -> None:
    found = Page(rewardbench_page(bests(), tmp_path / "page.html"))
    assert "the best chosen answer scores above every rejected one" in found.text
    assert "2 prompts have both of their rows; rows left out because their partner is missing: 1." in found.text
    words = found.text[found.text.index("Means over the prompts of Ties") :]
    order = ["90.0 %", "80.0 %", "70.0 %", "60.0 %", "−0.25"]
    assert sorted(order, key=words.index) == order
    assert "log-probability of the answer minus that under gpt2" in found.text
    assert found.text.count("Focus 495 50.0 %") == 1
    assert "Malik" in found.text
