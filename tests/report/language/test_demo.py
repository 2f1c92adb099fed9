import copy
import json
import re

import pytest
from reading import Page

from burnish.report import theme
from burnish.report.language import demo
from burnish.run import UserError

from ..conftest import interval, make_summary

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> {{ 7 * 7 }} & \" ' \u2028"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Page:
    return Page(demo.demo_page(make_summary(), tmp_path_factory.mktemp("demo") / "report.html"))


def test_the_page_stands_alone(page):
    assert page.loads == []
    assert not any("url(" in style or "@import" in style for style in page.styles)
    policy = next(a["content"] for t, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert not re.search(r"(src|href)\s*=\s*[\"']?\s*(https?:)?//", page.source.replace(page.scripts[1], ""))


def test_the_page_reads_as_a_document(page):
    tags = [tag for tag, _ in page.tags]
    assert tags.count("h1") == tags.count("main") == 1
    assert next(attrs for tag, attrs in page.tags if tag == "html")["lang"] == "en"
    assert any(attrs.get("name") == "viewport" for tag, attrs in page.tags if tag == "meta")
    plots = [attrs for _, attrs in page.tags if "data-figure" in attrs]
    assert all(attrs["aria-label"] for attrs in plots)
    identifiers = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(set(identifiers)) == len(identifiers)
    assert all(a["aria-labelledby"] in identifiers for _, a in page.tags if "aria-labelledby" in a)


def test_the_result_comes_first(page):
    assert page.text.index("more positively than SFT") < page.text.index("Gold score against KL to SFT")
    assert "0.76 points higher" in page.text
    assert "95 % interval +0.67 to +0.85" in page.text
    assert "on the 512 held-out prefixes" in page.text


@pytest.mark.parametrize(
    ("difference", "claim"),
    [
        (interval(0.5, 0.1), "more positively"),
        (interval(-0.5, 0.1), "less positively"),
        (interval(0.05, 0.1), "cannot be told apart"),
    ],
)
def test_the_result_says_what_the_interval_allows(difference, claim):
    assert claim in demo.result(make_summary(difference))


def test_every_number_of_the_table_is_there(page):
    """The fixture's numbers, rounded by hand."""
    table = page.text[page.text.index("Ends with EOS") :]
    base = "base +0.02 −0.04 to +0.09 −0.19 −0.27 to −0.11 41 % 37 to 45 % 9.37 8.85 to 9.89 24.3 0.613 87 %"
    sft = "SFT +0.21 +0.14 to +0.28 – – 0.00 0.00 to 0.00 19.8 0.684 96 %"
    dpo = "DPO +0.97 +0.91 to +1.03 +0.76 +0.67 to +0.85 78 % 74 to 82 % 12.61 12.09 to 13.13 26.7 0.547 91 %"
    assert f"{base} {sft} {dpo}" in table


def test_accuracy_beside_the_ceiling(page):
    assert "On 702 held-out pairs" in page.text
    assert "74.1 % of cases (70.9 to 77.3 %)" in page.text
    assert "88.4 % of cases (87.2 to 89.6 %)" in page.text
    assert "on held-out reviews is 0.64 (0.61 to 0.67)" in page.text


def test_figures_in_order(page):
    specs = json.loads(page.scripts[0])
    assert list(specs)[:3] == ["main", "accuracy", "gold"]
    assert [key for key in specs if key.startswith("curve")] == [
        "curve-0-loss",
        "curve-1-loss",
        "curve-1-rewards-accuracies",
        "curve-1-rewards-margins",
        "curve-1-rewards-chosen",
        "curve-1-rewards-rejected",
    ]
    drawn = [attrs["data-figure"] for _, attrs in page.tags if "data-figure" in attrs]
    assert drawn == list(specs)


def test_a_model_keeps_its_colour(page):
    """SFT and DPO have the colours 1 and 2 in table, figures, curves and samples alike."""
    specs = json.loads(page.scripts[0])
    for key, name, number in (("main", "SFT", 1), ("gold", "DPO", 2), ("curve-0-loss", "SFT", 1), ("main", "DPO", 2)):
        layers = [layer["encoding"] for layer in specs[key]["layer"]]
        scale = next(encoding["color"]["scale"] for encoding in layers if "color" in encoding)
        assert scale["range"][scale["domain"].index(name)].startswith(f"var(--series-{number},")
    tints = [attrs["style"] for _, attrs in page.tags if attrs.get("class") == "side"]
    assert tints[:3] == [f"--tint:{theme.colour(f'series-{i}')}" for i in range(3)]


def test_ten_prefixes_with_the_prefix_once(page):
    articles = [attrs for tag, attrs in page.tags if tag == "article"]
    assert len(articles) == 10
    assert page.text.count("this is one of those movies that …") == 1
    assert page.text.count("this is one of those movies that") == 1
    assert "the film is … base −0.31 a lot of the time" in page.text


def test_how_it_was_made(page):
    for fact in ("burnish demo --out runs/demo", "5 min 12 s", "1,843 MB", "comparisons 5,631", "torch 2.13.0"):
        assert fact in page.text
    assert "C. J. Hutto and E. Gilbert (2014)" in page.text
    assert "Continuations are sampled at temperature 1, one a prefix." in page.text


def test_hostile_text_stays_text(tmp_path):
    found = make_summary()
    found["title"] = found["command"] = found["notes"][0] = HOSTILE
    found["climb"] = [
        {"run": HOSTILE, "step": i} | dict.fromkeys(("proxy", "gold"), interval(i, 0.1)) for i in range(3)
    ]
    found["samples"][0] = {"prefix": HOSTILE, "base": HOSTILE + HOSTILE, "SFT": HOSTILE, "DPO": "", "gold": {}}
    found["models"][0]["name"] = name = "base" + HOSTILE
    found["samples"][1][name] = HOSTILE
    found["data"][HOSTILE] = HOSTILE
    page = Page(demo.demo_page(found, tmp_path / "report.html"))
    assert not any(tag == "img" or "onerror" in attrs for tag, attrs in page.tags)
    assert [tag for tag, _ in page.tags].count("script") == 3
    assert not any(script.lstrip().startswith("alert") for script in page.scripts)
    assert page.text.count("<img src=x onerror=alert(2)> {{ 7 * 7 }}") >= 8
    drawings = re.findall(r"<noscript>(.*?)</noscript>", page.source, re.S)
    assert len(drawings) == 11
    assert not any("<script" in drawing or "<img" in drawing for drawing in drawings)


def test_sections_without_numbers_are_left_out(tmp_path):
    found = {"title": "Small", "models": [{"name": "base", "gold": interval(0.1, 0.2)}]}
    page = Page(demo.demo_page(found, tmp_path / "report.html"))
    assert "+0.10 −0.10 to +0.30" in page.text
    for heading in (
        "against KL",
        "Training",
        "judge during",
        "Reward model’s score",
        "≤",
        "Schulman",
        "Samples",
        "Distribution of gold scores",
        "Agreement with human preferences",
    ):
        assert heading not in page.text


def test_the_number_of_runs_is_reported(tmp_path):
    found = copy.deepcopy(make_summary())
    found |= {"runs": 2, "prefixes": 256, "samples": [], "training": {}}
    page = Page(demo.demo_page(found, tmp_path / "report.html"))
    assert "256 held-out prefixes in 2 runs" in page.text
    assert "the 2 seeded runs" in page.text
    assert demo.prefix_count(make_summary()) == 512
    assert demo.prefix_count({"models": make_summary()["models"], "runs": 2}) == 256


def test_a_bad_summary_writes_nothing(tmp_path):
    with pytest.raises(UserError, match="no `models`"):
        demo.demo_page({"title": "t"}, tmp_path / "report.html")
    assert not (tmp_path / "report.html").exists()


STAGES = {"SFT": "loss", "DPO": "rewards/margins", "reward model": "loss", "PPO": "objective/scores"}


def full_summary() -> dict:
    """All seven models of the demo, a reward model and PPO's climb, in numbers made up for the eye."""
    found = make_summary()
    base, sft, dpo = found["models"]
    sft["proxy"], dpo["proxy"], base["proxy"] = interval(0.1, 0.05), interval(0.9, 0.05), interval(-0.2, 0.05)
    others = {"PPO": (0.55, 5.2, 1.31), "DPO on samples": (0.22, 6.4, 0.9), "best of 4": (0.4, 0.636, 0.5)}
    for name, (gold, kl, proxy) in (others | {"best of 16": (0.5, 1.84, 0.85)}).items():
        bound = name.startswith("best")
        one = {"name": name, "gold": interval(gold, 0.06), "gold_vs_sft": interval(gold - 0.21, 0.09)}
        one |= {"kl": interval(kl, 0.0 if bound else 0.4), "kl_is_bound": bound, "proxy": interval(proxy, 0.05)}
        found["models"].append(dpo | one)
    names = [model["name"] for model in found["models"]]
    for sample in found["samples"]:
        sample |= {name: f"{sample['prefix']} as {name} has it" for name in names}
    found["reward_accuracy"] = {**interval(0.722, 0.03), "n": 702}
    found["climb"] = [
        {"run": "seed-0", "step": 4 * i, "proxy": interval(i, 0.1), "gold": interval(i / 2, 0.1)}
        | {"kl": interval(i / 5, 0.1)}
        for i in range(6)
    ]
    found["training"] = {
        name: [{"step": step, "loss": 1.0, key: 0.5 * step} for step in range(1, 5)] for name, key in STAGES.items()
    }
    return found


@pytest.fixture(scope="module")
def full(tmp_path_factory) -> Page:
    return Page(demo.demo_page(full_summary(), tmp_path_factory.mktemp("full") / "report.html"))


def test_the_first_sentence_names_the_trained_models(full):
    """DPO 0.76 and PPO 0.34 ± 0.09 are clear, DPO on samples 0.01 ± 0.09 is not; base and best of n do not count."""
    first = demo.result(full_summary())
    assert first in full.text
    assert "DPO (+0.76, +0.67 to +0.85) and PPO (+0.34, +0.25 to +0.43) continue reviews more positively" in first
    assert "DPO on samples (+0.01, −0.08 to +0.10) cannot be told apart from SFT" in first
    assert "base" not in first
    assert "best of" not in first


def test_a_result_without_a_trained_model():
    found = full_summary()
    found["models"] = [model for model in found["models"] if model["name"] in ("base", "SFT", "best of 4")]
    assert demo.result(found).startswith("best of 4 continues reviews more positively than SFT")
    found["models"] = found["models"][1:2]
    assert demo.result(found) == ""


def test_a_bound_is_written_as_one(full):
    assert (
        "best of 16 +0.50 +0.44 to +0.56 +0.29 +0.20 to +0.38 78 % 74 to 82 % +0.85 +0.80 to +0.90 ≤ 1.84" in full.text
    )
    assert (
        "PPO +0.55 +0.49 to +0.61 +0.34 +0.25 to +0.43 78 % 74 to 82 % +1.31 +1.26 to +1.36 5.20 4.80 to 5.60"
        in full.text
    )
    assert "their KL is only known to be at most log n − (n − 1)/n" in full.text
    spec = json.loads(full.scripts[0])["main"]
    assert "best of 16: gold 0.50 at a KL of at most 1.8" in spec["description"]
    assert "PPO: gold 0.55 at a KL of 5.20 nats" in spec["description"]
    titles = {str(layer["encoding"]["x"]["title"]) for layer in spec["layer"]}
    assert titles == {str(["KL to SFT (nats per continuation)", demo.BOUND])}


def test_the_reward_model_beside_dpo_and_one_rater(full):
    assert "74.1 % of cases (70.9 to 77.3 %), the reward model in 72.2 % (69.2 to 75.2 %)." in full.text
    accuracy = json.loads(full.scripts[0])["accuracy"]
    assert "DPO’s reward 74%, reward model 72%, one rater 88%" in accuracy["description"]
    scale = next(layer["encoding"]["color"]["scale"] for layer in accuracy["layer"] if "color" in layer["encoding"])
    tints = dict(zip(scale["domain"], scale["range"], strict=True))
    assert tints["DPO’s reward"].startswith("var(--series-2,")
    assert tints["reward model"].startswith("var(--series-7,")


def test_the_climb_has_its_section(full):
    assert "Reward model and judge during PPO’s training" in full.text
    assert "Both rise together" in full.text
    drawn = [attrs["data-figure"] for _, attrs in full.tags if "data-figure" in attrs]
    assert [key for key in drawn if key.startswith("climb")] == ["climb-proxy", "climb-gold", "climb-kl"]


def test_every_stage_has_the_curves_that_tell(full):
    """PPO's loss tells nothing; SFT's and the reward model's do."""
    text = full.text[full.text.index("Faint dots are single steps") :]
    assert [name for name in STAGES if f"{name} " in text] == list(STAGES)
    drawn = [attrs["data-figure"] for _, attrs in full.tags if "data-figure" in attrs]
    assert {"curve-0-loss", "curve-1-rewards-margins", "curve-2-loss", "curve-3-objective-scores"} <= set(drawn)
    assert "curve-3-loss" not in drawn


def test_samples_of_every_model_but_the_lesser_best_of_n(full):
    names = [model["name"] for model in full_summary()["models"]]
    shown = [name for name in names if f"as {name} has it" in full.text]
    assert shown == [name for name in names if name != "best of 4"]


def test_papers_are_cited(full):
    for paper in ("J. Schulman et al. (2017)", "L. Ouyang et al. (2022)", "L. Gao et al. (2022)"):
        assert paper in full.text


def test_a_collapsed_model_has_a_warning_and_its_statistics(tmp_path, page):
    found = make_summary() | {"warnings": ["DPO may have collapsed: 90 % of its texts are <nearly> the same"]}
    for model in found["models"]:
        model |= {"distinct_2_nearby": 0.123, "repetition": 0.456, "same": 0.9, "entropy": None}
    text = Page(demo.demo_page(found, tmp_path / "report.html")).text
    assert "Warning DPO may have collapsed: 90 % of its texts are <nearly> the same." in text
    assert "12 % 45.6 % 90 %" in text
    assert "Warning" not in page.text
    assert "Repeated trigrams" not in page.text  # a summary of before has no signs
