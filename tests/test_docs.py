"""The course: its pages are those that the templates make, and a reference that leads nowhere ends the build."""

import importlib
import json
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

build, excerpts, figures, references = map(importlib.import_module, ("build", "excerpts", "figures", "references"))
BrokenReferenceError = excerpts.BrokenReferenceError

EXERCISES = build.load_exercises()

SAMPLE = '''"""A module."""

import math
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Method:
    """What it is."""

    rate: float = field(default=0.1, metadata={"help": "how fast"})
    kind: str | None = field(
        default="plain", metadata={"help": "in 'which' way"}
    )
    """The kind."""
    weight: float = option(0.5, "how much", ge=0)

    def __post_init__(self) -> None:
        if self.rate < 0:
            raise ValueError("no")

    def loss(self, x: float) -> float:
        """Its loss."""
        assert x > 0
        # Why it is so.
        y = math.log(x)

        return -y


LIMIT = 3
'''

TRIMMED = """@dataclass(frozen=True)
class Method:
    rate: float = 0.1
    kind: str | None = "plain"
    weight: float = 0.5

    def loss(self, x: float) -> float:
        # Why it is so.
        y = math.log(x)

        return -y

LIMIT = 3"""


@pytest.fixture
def sample(tmp_path: Path) -> str:
    path = tmp_path / "sample.py"
    path.write_text(SAMPLE)
    return str(path)


def course(folder: Path, **templates: str) -> build.Course:
    """A course of these templates."""
    (folder / "src").mkdir(exist_ok=True)
    for name, text in templates.items():
        (folder / "src" / f"{name.strip('_').replace('_', '-')}.md.j2").write_text(text)
    return build.Course(folder)


def made_with(folder: Path, name: str, command: str) -> None:
    """A figure and its numbers, as if the command had made them."""
    (folder / "figures").mkdir()
    (folder / "figures" / f"{name}.svg").write_text("<svg/>")
    numbers = {"ppo": {"last_100": 481.25}}
    made = {name: {"command": command, "seconds": 41.7, "numbers": numbers}}
    (folder / "figures" / "made.json").write_text(json.dumps(made))


# The pages as they are committed -----------------------------------------------------------------------------------


def test_the_committed_pages_are_those_of_the_templates(capsys: pytest.CaptureFixture[str]) -> None:
    assert build.main(["--check"]) == 0, capsys.readouterr().err


def test_figures_are_small() -> None:
    found = sorted(build.COURSE.glob("figures/*.svg"), key=lambda path: figures.number_of(path.name))
    whole = build.Course()
    assert [figure.stem for figure in found] == [step for step in whole.steps if step in whole.made]
    assert all(figure.stat().st_size < 60_000 for figure in found)


def test_experiments_are_short() -> None:
    """As they were measured when the figures were made: two minutes, and on language four minutes of one core, which
    is CPU time because the machine did other things too."""
    for name, made in build.Course().made.items():
        assert made["seconds"] < 120 if figures.number_of(name) < 7 else made["cpu"] < 240, name


def test_pages_are_short() -> None:
    """At most 120 lines of a page's own text, as its template has them."""
    for path in (build.COURSE / "src").glob("*.md.j2"):
        assert len(path.read_text(encoding="utf-8").splitlines()) <= 120, path.name


def test_every_step_shows_what_changes_from_the_one_before() -> None:
    """All steps but the first, which has none before it."""
    steps = build.Course().steps[1:]
    assert len(steps) == 12
    for name in steps:
        template = (build.COURSE / "src" / f"{name}.md.j2").read_text(encoding="utf-8")
        step = template.split("## The step")[1].split("\n## ")[0]
        assert "{{ diff(" in step, name


# Listings ----------------------------------------------------------------------------------------------------------


def test_a_module_without_what_a_reader_can_do_without() -> None:
    assert "\n".join(excerpts.tidy(excerpts.trimmed(SAMPLE))) == TRIMMED


def test_excerpts_by_name(sample: str) -> None:
    """A method comes without its class's indentation; several come with a blank line between."""
    body = ["# Why it is so.", "y = math.log(x)", "", "return -y"]
    loss = ["def loss(self, x: float) -> float:", *(f"    {line}" if line else "" for line in body)]
    assert excerpts.excerpt(sample, "Method.loss") == loss
    assert excerpts.excerpt(sample, "LIMIT", "Method.loss") == ["LIMIT = 3", "", *loss]
    assert excerpts.excerpt(sample, "Method.loss", first="y = math", last="return") == body[1:]
    assert excerpts.excerpt(sample, "Method")[:3] == TRIMMED.split("\n")[:3]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ({"names": ["Method.lossy"]}, "has no Method.lossy"),
        ({"names": ["loss"]}, "has no loss"),
        ({"names": ["Method.loss"], "first": "nowhere"}, "no lines of .* hold 'nowhere'"),
        ({"names": ["Method"], "last": "y"}, "lines of .* hold 'y', where one should"),
    ],
)
def test_what_a_listing_cannot_find(sample: str, asked: dict[str, Any], told: str) -> None:
    names = asked.pop("names")
    with pytest.raises(BrokenReferenceError, match=told):
        excerpts.excerpt(sample, *names, **asked)


def test_no_such_module() -> None:
    with pytest.raises(BrokenReferenceError, match=r"no module burnish\.functional\.magic"):
        excerpts.excerpt("burnish.functional.magic", "gae")


def test_differences_of_two_modules(tmp_path: Path, sample: str) -> None:
    other = tmp_path / "other.py"
    other.write_text(SAMPLE.replace("return -y", "return y * y").replace("A module.", "Another."))
    changed = [line for line in excerpts.differences(sample, str(other)) if line[0] in "+-"]
    assert changed == ["-        return -y", "+        return y * y"]
    part = excerpts.differences(f"{sample}:Method.loss", f"{other}:Method.loss")
    assert part[0].strip() == "def loss(self, x: float) -> float:"
    assert len(part) == 6
    with pytest.raises(BrokenReferenceError, match="do not differ"):
        excerpts.differences(sample, str(other), ["loss"])
    some = (f"{file}:Method.loss[y = math … return]" for file in (sample, other))
    assert excerpts.differences(*some) == [" y = math.log(x)", " ", "-return -y", "+return y * y"]
    with pytest.raises(BrokenReferenceError, match=r"no lines of .* hold 'nowhere'"):
        excerpts.differences(f"{sample}:Method.loss[y = math … nowhere]", str(other))


# References --------------------------------------------------------------------------------------------------------


def check(text: str, path: Path = ROOT / "docs" / "page.md", **pages: str) -> None:
    references.check_page(path, text, {path.parent / f"{name}.md": page for name, page in pages.items()})


@pytest.mark.parametrize(
    "text",
    [
        "[log](log.md) ![shown](demo.png) [up](../README.md) [far](https://example.org/none) [folder](../src/burnish)",
        "# A heading: `this`, and that\n\n[up](#a-heading-this-and-that)",
        "[a page that is about to be written](new.md#its-one-heading)",
        "    burnish classic --algorithms reinforce,ppo --runs 2",
        "```\nburnish ppo --model gpt2 --data prompts.jsonl \\\n    --reward gold --out runs/x   # why\n```",
        "`burnish sample --n 16`, `burnish dpo`, `burnish dpo --help`, `burnish ppo --model …`, `burnish_none --x`",
        '`make docs` and `make demo ARGS="--quick"`',
        "`burnish.functional.gae`, `burnish.functional.gae(rewards)`, `burnish.run.UserError`, `burnish.classic`",
        "    .venv/bin/python docs/build.py --check",
    ],
)
def test_references_that_lead_somewhere(text: str) -> None:
    check(text, new="# Its one heading\n")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("see [there](nowhere.md)", r"there is no nowhere\.md"),
        ("| a |\n|---|\n| [there](nowhere.md) |", r"there is no nowhere\.md"),
        ("![shown](nothing.svg)", r"there is no nothing\.svg"),
        ("# One\n\n[up](#two)", "the page has no heading #two"),
        ("[up](new.md#two)", r"new\.md has no heading #two"),
        ("    burnish classic --episode 3", "No such option.*--episode"),
        ("```\nburnish ppo --out x \\\n  --rewards gold\n```", "--rewards"),
        ("`burnish clasic --runs 3`", "clasic"),
        ("    burnish classic --runs many", "many"),
        ("    burnish sample --n 16", "lacks something"),
        ("`burnish classic --algorithms reinforce,pop`", "names pop"),
        ("`make magic`", "no target magic"),
        ("`burnish.functional.gay`", r"no burnish\.functional\.gay"),
        ("`burnish.functionals.gae`", r"no burnish\.functionals\.gae"),
        ("    .venv/bin/python docs/bild.py", r"no docs/bild\.py"),
    ],
)
def test_references_that_lead_nowhere(text: str, told: str) -> None:
    with pytest.raises(BrokenReferenceError, match=told):
        check(text, new="# Its one heading\n")


# Pages -------------------------------------------------------------------------------------------------------------

COMMAND = "burnish classic --algorithms ppo --out runs/x"


def test_a_page_with_everything(tmp_path: Path) -> None:
    """Source, experiment, figure, its numbers, and the way to the neighbours."""
    made_with(tmp_path, "2-two", COMMAND)
    page = f'# Two\n\n{{{{ source("tests/test_docs.py", "COMMAND") }}}}\n\n{{{{ experiment("{COMMAND}") }}}}\n\n'
    page += '{{ figure("what it shows") }} {{ seconds() }} {{ result("ppo", "last_100", ".1f") }}\n'
    templates = {"_1_one": "# One\n", "_2_two": page, "README": "# All\n\n{{ steps[1][1] }}: {{ steps[1][0] }}\n"}
    found = course(tmp_path, **templates).render()
    assert "# All\n\nTwo: 2-two.md\n" in found[tmp_path / "README.md"]
    assert found[tmp_path / "1-one.md"].endswith("\n---\n\n[The course](README.md) · [Two →](2-two.md)\n")
    two = found[tmp_path / "2-two.md"]
    way = os.path.relpath(__file__, tmp_path)
    assert f'[tests/test_docs.py]({way}):\n\n```python\nCOMMAND = "{COMMAND}"\n```\n' in two
    assert f"\n    {COMMAND}\n" in two
    assert "![what it shows](figures/2-two.svg) 42 481.2\n" in two
    assert two.endswith("[← One](1-one.md) · [The course](README.md)\n")


def test_two_parts_of_one_file_are_named(tmp_path: Path) -> None:
    """Where the parts are of two files, their names are the files'."""
    parts = [f"burnish.functional.preference:{name}" for name in ("bradley_terry", "erring_bradley_terry")]
    page = f'# One\n\n{{{{ diff("{parts[0]}", "{parts[1]}") }}}}\n'
    text = str(course(tmp_path, _1_one=page, README="# All\n").page("1-one"))
    assert "functional/preference.py)" in text
    assert "), `bradley_terry` → `erring_bradley_terry`, " in text


def test_steps_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    found = course(tmp_path, _2_two="# Two\n", _10_ten="# Ten\n", README="# All\n")
    assert found.names == ["2-two", "10-ten", "README"]
    assert found.page("2-two").endswith("[The course](README.md) · [Ten →](10-ten.md)\n")


def test_what_a_page_says_of_its_figure_waits_for_it(tmp_path: Path) -> None:
    page = f'# One\n\n{{{{ experiment("{COMMAND}") }}}}\n\n'
    page += '{% if ready() %}\n{{ result("ppo", "last_100") }}\n{% endif %}\n'
    assert "481" not in course(tmp_path, _1_one=page).page("1-one")
    made_with(tmp_path, "1-one", COMMAND)
    assert f"    {COMMAND}\n\n481\n" in build.Course(tmp_path).page("1-one")


def test_intervals_and_texts_of_an_experiment(tmp_path: Path) -> None:
    made_with(tmp_path, "1-one", COMMAND)
    made = build.Course(tmp_path).made
    made["1-one"]["numbers"]["ppo"] |= {"kl": 1.5, "kl_low": 1.25, "kl_high": 2.0}
    made["1-one"]["texts"] = {"ppo": ["make of it what you will", "`odd` <b>"]}
    (tmp_path / "figures" / "made.json").write_text(json.dumps(made))
    page = f'# One\n\n{{{{ experiment("{COMMAND}") }}}}\n\n{{{{ interval("ppo", "kl", ".1f") }}}}\n\n'
    page += '{{ texts("ppo") }}\n'
    text = course(tmp_path, _1_one=page).page("1-one")
    assert "\n1.5 [1.2, 2.0]\n" in text
    assert "```text\n1. make of it what you will\n2. `odd` <b>\n```\n" in text


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ source('burnish.functional.returns', 'gay') }}", "burnish.functional.returns has no gay"),
        ("{{ diff('burnish.algorithms.ppo', 'burnish.algorithms.popo') }}", "no module burnish.algorithms.popo"),
        ("{{ experiment('burnish classic --run 3') }}", "--run"),
        ("{{ experiment('burnish classic --runs 3 --out runs/x') }}{{ figure('x') }}", "make docs-figures"),
        (f"{{{{ experiment('{COMMAND}') }}}}{{{{ result('trpo', 'last_100') }}}}", "has no last_100 of trpo"),
        (f"{{{{ experiment('{COMMAND}') }}}}{{{{ result('ppo', 'first') }}}}", "has no first of ppo"),
        (f"{{{{ experiment('{COMMAND}') }}}}{{{{ interval('ppo', 'last_100') }}}}", "has no last_100_low of ppo"),
        (f"{{{{ experiment('{COMMAND}') }}}}{{{{ texts('ppo') }}}}", "has no texts of ppo"),
        ("{{ figure('x') }}", "has no experiment"),
        ("{{ exercise('sums') }}", "sums"),
        ("{{ nonsense }}", "nonsense"),
        ("[dead](dead.md)", "there is no dead.md"),
    ],
)
def test_a_broken_page_is_named(tmp_path: Path, text: str, told: str) -> None:
    made_with(tmp_path, "1-one", COMMAND)
    with pytest.raises(BrokenReferenceError, match=f"^1-one: .*{told}"):
        course(tmp_path, _1_one=f"# One\n\n{text}\n").render()


def test_what_an_experiment_leaves_becomes_the_figure_of_its_page(tmp_path: Path) -> None:
    """Means and plain numbers are kept; curves are rounded to tenths, words beside them are not."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "returns.svg").write_text('<svg><path d="M1.2345,6L-7.891,0"/><text y="3.4567">0.123</text></svg>')
    own = {"label": "PPO", "last_100": {"mean": 481.23456, "low": 1.0}, "mean_std": 3, "final": None, "per_run": [1]}
    (out / "summary.json").write_text(json.dumps({"algorithms": {"ppo": own}}))
    made = course(tmp_path, _1_one=f'# One\n{{{{ experiment("{COMMAND}") }}}}\n')
    assert made.experiments() == {"1-one": COMMAND}
    figures.keep(made, "1-one", COMMAND, out, 12.34, 23.45)
    expected = '<svg><path d="M1.2,6L-7.8,0"/><text y="3.4567">0.123</text></svg>'
    assert (tmp_path / "figures" / "1-one.svg").read_text() == expected
    numbers = {"ppo": {"last_100": 481.235, "mean_std": 3}}
    assert build.Course(tmp_path).made == {
        "1-one": {"command": COMMAND, "seconds": 12.3, "cpu": 23.4, "numbers": numbers}
    }


def test_pages_of_html_lie_one_folder_further_down(tmp_path: Path) -> None:
    made = course(tmp_path, _1_one="# One\n", README="# All\n")
    text = (
        "# One\n\n[a](README.md#all) [b](../log.md) [c](#one) [d](https://x.org) ![e](figures/1-one.svg)\n\n`a < b`\n"
    )
    found = build.to_html(made, "1-one", text)
    for link in ("README.html#all", "../../log.md", "#one", "https://x.org"):
        assert f'href="{link}"' in found
    assert 'src="../figures/1-one.svg"' in found
    assert "<title>One</title>" in found
    assert "a &lt; b" in found


# Exercises ---------------------------------------------------------------------------------------------------------


def test_every_exercise_has_an_answer_and_a_place_in_the_course() -> None:
    build.check_answers()
    texts = "".join(path.read_text(encoding="utf-8") for path in (build.COURSE / "src").glob("*.md.j2"))
    assert [name for name in EXERCISES.CHECKS if texts.count(f'exercise("{name}")') != 1] == []
    steps = list((build.COURSE / "src").glob("*-*.md.j2"))
    assert len(steps) == len(build.Course().steps)
    assert all(path.read_text(encoding="utf-8").count("exercise(") == 2 for path in steps)


@pytest.mark.parametrize("name", EXERCISES.CHECKS)
def test_an_exercise_begins_unsolved(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert EXERCISES.main([name]) == 1
    assert capsys.readouterr().err == "not yet: your turn\n"


def wrong(name: str) -> Callable[..., Any]:
    """A mistake that somebody could make."""
    answers: dict[str, Any] = {}
    exec((build.COURSE / "answers.py").read_text(encoding="utf-8"), answers)
    right = answers[name]
    mistakes: dict[str, Callable[..., Any]] = {
        "returns": lambda r, g: [sum(r[t:]) for t in range(len(r))],
        "exact_gradient": lambda p, r: [a * b for a, b in zip(p, r, strict=True)],
        "gradient_variance": lambda p, r, b: right(p, r, 0.0),
        "best_baseline": lambda p, r: sum(a * b for a, b in zip(p, r, strict=True)),
        "advantages": lambda r, v, g, lam: right(r, [*v[:-1], 0.0], g, lam),
        "weights": lambda n, lam: [(1 - lam) * lam**i for i in range(n)],
        "fisher_times": lambda p, v: [a * b for a, b in zip(p, v, strict=True)],
        "natural_step": lambda g, f, d: right(g, [1.0] * len(g), d),
        "still_pulls": lambda ratio, a, c: 1 - c < ratio < 1 + c,
        "most_to_gain": lambda a, c: c * max(sum(a), 0.0) / len(a),
        "probability_of_label": lambda a, b, e: right(a, b, 0.0),
        "pull": lambda z, e: right(z, 0.0),
        "imitation_loss": lambda p, m: sum(right([a], [b]) for a, b in zip(p, m, strict=True)) / len(p),
        "above_the_least": lambda s, p: -sum(a * math.log(b) for a, b in zip(s, p, strict=True)),
        "best_accuracy": lambda p: sum(p) / len(p),
        "worth_gradient": lambda w, labels: [-x for x in right(w, labels)],
        "shaped_returns": lambda s, a, b, beta: [s - beta * (x - y) for x, y in zip(a, b, strict=True)],
        "best_policy": lambda p, r, b: right(p, r, 1.0),
        "implied_rewards": lambda p, q, b: [b * math.log(x / y) for x, y in zip(p, q, strict=True)],
        "dpo_pull": lambda c, r, b: right(c, r, 1.0),
        "optimum": lambda p, r, b: right(p, r, b)[::-1],
        "best_of_n": lambda p, r, n: p,
        "gold_of_best": lambda a, b, n: right(b, b, n),
        "peak": lambda a, b: (a / (2 * b), a / (2 * b) * (a - b * math.log(a / (2 * b)))),
        "settles_at": lambda p, b, t: (right(p, b, t)[0], 1 / (2 * t)),
        "kto_pull": lambda x, good, kl, b: right(x, True, kl, b),
    }
    return mistakes[name]


@pytest.mark.parametrize("name", EXERCISES.CHECKS)
def test_a_wrong_answer_is_found(name: str) -> None:
    with pytest.raises(AssertionError):
        EXERCISES.CHECKS[name](wrong(name))


def test_asking_for_no_exercise_lists_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert EXERCISES.main(["sums"]) == 2
    assert "name one exercise: returns, exact_gradient" in capsys.readouterr().err


def test_lists_in_pages_are_those_of_the_code() -> None:
    """A new method fails here until `make docs` has written it into README.md and docs/papers.md, and so does another
    threshold of the monitor until docs/watch.md has it."""
    import lists

    for path, text in lists.pages().items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name} is not up to date: run make docs"
    for name in lists.LANGUAGE:
        assert f"| `burnish {name}` |" in lists.readme()
        assert f"| {name} |" in lists.papers()


def test_the_page_of_the_monitor_has_its_numbers() -> None:
    import lists

    from burnish.recipes.train.monitor import PREFIX, WATCHED
    from burnish.training.resume import EVALUATED

    assert list(lists.WATCHES) == list(lists.SIGNALS)
    rows = [line for line in lists.watch().splitlines() if line.startswith(f"| `{EVALUATED}{PREFIX}")]
    assert len(rows) == len(lists.SIGNALS) == 7
    assert rows[0].endswith(" | below 0.67 or above 1.50 |")
    text = (ROOT / "docs" / "watch.md").read_text(encoding="utf-8")
    assert f"at most {WATCHED} held-out prompts" in text
    assert f"at most {WATCHED} held-out pairs" in text
