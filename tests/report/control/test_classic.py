"""The page of the classical path: what it says, from runs whose numbers are plain to see."""

import json
import re
from pathlib import Path

import pandas as pd
import pytest
import yaml
from reading import Page

from burnish.evaluation.returns import summarise
from burnish.report.control.classic import classic_page, command, result, settings, tally, title, updates
from burnish.run import UserError

RUNS = {
    "ppo": [400.0, 420, 410, 430, 440, 420],
    "trpo": [300.0, 320, 280, 310, 290, 300],
    "reinforce": [100.0, 90, 320, 40, 310, 100],
}


def make_folder(
    folder: Path,
    runs: dict[str, list[float]] = RUNS,
    episodes: int = 4,
    threshold: float | None = 475,
    env: str = "CartPole-v1",
    unfinished: dict[str, int] | None = None,
    late: dict[str, float] | None = None,
    **more: object,
) -> Path:
    """A folder as `burnish classic` leaves it, with runs whose return never changes but for what `late` says: how much
    lower the first five returns of an algorithm are."""
    rows = [
        {"algorithm": name, "run": run, "episode": e, "return": value, "length": 10, "steps": 10 * e}
        for name, values in runs.items()
        for run, value in enumerate(values)
        for e in range(1, episodes + 1)
    ]
    for row in rows:
        row["return"] -= (late or {}).get(row["algorithm"], 0) if row["episode"] <= 5 else 0
    for name, run in (unfinished or {}).items():
        rows.append({"algorithm": name, "run": run, "episode": 1, "return": 0.5, "length": 10, "steps": 10})
    folder.mkdir(parents=True)
    frame = pd.DataFrame(rows)
    frame.to_parquet(folder / "returns.parquet")
    seconds = {"ppo": 125.0} if "trpo" in runs else None
    found = summarise(frame, threshold, seconds=seconds) | more
    (folder / "summary.json").write_text(json.dumps(found, allow_nan=False))
    methods = {"ppo": {"clip": 0.2, "learning_rate": 0.0025}, "trpo": {"max_kl": 0.01, "learning_rate": 0.0007}}
    config: dict[str, object] = {"env": env, "runs": 6, "episodes": episodes, "out": "/x", "seed": 7, "quiet": False}
    config |= {"hidden": "64,64", "group": None, "env_options": {}, "algorithms": methods | {"reinforce": {}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
    (folder / "environment.json").write_text(json.dumps({"packages": {"torch": "2.13.0"}, "python": "3.11"}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One folder with its page, for all the tests that only read it: 105 episodes, at first 420 lower for PPO and 315
    lower for TRPO, whose means over all are therefore 20 and 15 below those of the last hundred."""
    late = {"ppo": 420.0, "trpo": 315.0}
    made = make_folder(tmp_path_factory.mktemp("runs") / "classic", episodes=105, threshold=415, late=late)
    assert classic_page(made) == made / "report.html"
    return made


@pytest.fixture(scope="module")
def page(folder: Path) -> Page:
    return Page(folder / "report.html")


def summary(runs: dict[str, list[float]]) -> dict:
    rows = [
        {"algorithm": name, "run": run, "episode": 1, "return": value, "length": 1, "steps": 1}
        for name, values in runs.items()
        for run, value in enumerate(values)
    ]
    return summarise(pd.DataFrame(rows))


ENDS = r"\S+ to \S+ "
SHARE = r"\S+ to \S+ % "


def test_the_page_says_what_was_found(page: Page) -> None:
    assert "PPO has the highest mean return on CartPole-v1" in page.text
    assert "PPO’s mean return over all 105 episodes and 6 runs is 400.0 (95 % interval " in page.text
    assert "TRPO’s 285.0: a difference of 115.0 (" in page.text
    assert "learns faster than REINFORCE" in page.text
    assert "holds The mean return over all episodes is 400.0 for PPO and 285.0 for TRPO" in page.text
    assert "holds The mean return over the last 100 episodes is 420.0 for PPO and 300.0 for TRPO" in page.text
    assert page.loads == []


def test_the_table(page: Page) -> None:
    """REINFORCE's runs 40, 90, 100, 100, 310, 320 have mean 160, middle 150 and variance 74,600 / 5; that of the others
    is 1,000 / 5. PPO's 400, 410, 420, 420, 430, 440 have averages of 100 that are 21 lower at episode 100 and catch up
    by 4.2 an episode: 415 is reached at 104, 104, 102 and 100, and by two never. Six runs have 105 · 10 steps."""
    row = f" REINFORCE 160.0 {ENDS}160.0 {ENDS}150.0 {ENDS}122.1 122.1 0 of 6 never 6,300 – – TRPO 285.0"
    assert re.search(row, page.text)
    assert re.search(f" TRPO 285.0 {ENDS}300.0 {ENDS}300.0 {ENDS}14.1 14.1 0 of 6 never 6,300 – – PPO 400.0", page.text)
    row = f" PPO 400.0 {ENDS}420.0 {ENDS}420.0 {ENDS}14.1 14.1 4 of 6 104 2 of 6 never 6,300 – 2 min 5 s"
    assert re.search(row, page.text)
    assert "Episodes to 415" in page.text


def test_the_probabilities(page: Page) -> None:
    """TRPO's 36 pairs with REINFORCE. Over all it loses those with 310 and 320: 24 of 36. In the last hundred it ties
    with 320 once, with 310 once and beats that once: 24 + ½ + 1½ of 36."""
    assert re.search(f"TRPO 66.7 % {SHARE}0.0 % {SHARE}PPO 100.0 % {SHARE}100.0 % ", page.text)
    assert re.search(f"TRPO 72.2 % {SHARE}0.0 % {SHARE}PPO 100.0 % {SHARE}100.0 % ", page.text)
    assert page.text.index("66.7 %") < page.text.index("Over the last 100 episodes") < page.text.index("72.2 %")
    assert re.search(f"REINFORCE 33.3 % {SHARE}0.0 %", page.text)
    beats = [value for _, attributes in page.tags if (value := attributes.get("data-label") or "").startswith("beats")]
    assert sorted(set(beats)) == ["beats PPO", "beats REINFORCE", "beats TRPO"]
    assert len(beats) == 2 * 6


def test_the_files_beside_it(folder: Path) -> None:
    made = {"report.html", "returns.png", "returns.svg", "returns_by_steps.png", "returns_by_steps.svg"}
    assert made <= {path.name for path in folder.iterdir()}
    svg = {stem: (folder / f"{stem}.svg").read_text() for stem in ("returns", "returns_by_steps")}
    assert ">episode</text>" in svg["returns"]
    assert ">environment steps</text>" in svg["returns_by_steps"]
    assert all(">REINFORCE</text>" in text and ">415</text>" in text for text in svg.values())


def test_the_figures_on_the_page(page: Page) -> None:
    """A panel and three small multiples, over episodes and over steps; each is there once."""
    places = [value for _, attributes in page.tags if (value := attributes.get("data-figure"))]
    expected = [f"{stem}{i}" for stem in ("returns", "returns_by_steps") for i in ("", "-0", "-1", "-2")]
    assert places == expected
    specs = json.loads(page.scripts[0])
    assert list(specs) == expected
    rows = next(iter(specs["returns-2"]["datasets"].values()))
    assert [row["mean"][-1] for row in rows] == RUNS["ppo"]
    assert [row["mean"][0] for row in rows] == [value - 420 for value in RUNS["ppo"]]
    assert specs["returns-2"]["title"] == "PPO"


def test_how_it_was_made(page: Page) -> None:
    said = "burnish classic --env CartPole-v1 --algorithms reinforce,trpo,ppo --runs 6 --episodes 105 --out DIR"
    assert said in page.text
    assert "max_kl – 0.01 –" in page.text
    assert "learning_rate – 0.0007 0.0025" in page.text
    assert "Versions torch 2.13.0 python 3.11" in page.text
    assert "Experiment env CartPole-v1 runs 6 episodes 105 seed 7 hidden 64,64 Versions" in page.text


def test_algorithms_that_cannot_be_told_apart_are_not_ranked() -> None:
    level = {"ppo": [300.0, 100, 200, 250, 150, 220], "trpo": [310.0, 110, 190, 240, 140, 220]}
    two = summary(level)
    assert title(two, "X-v1") == "On X-v1, PPO and TRPO cannot be told apart by their mean return"
    assert re.match(r"PPO’s mean .* is 203.3 \(.*\), TRPO’s 201.7: a difference of 1.7 \(−.* to .*\)\.", result(two))
    three = summary(level | {"reinforce": [1.0, 2, 3, 4, 5, 6]})
    assert title(three, "X-v1") == "PPO and TRPO have the highest mean returns on X-v1 and cannot be told apart"


def test_few_runs_are_not_ranked() -> None:
    few = summary({"ppo": [420.0], "trpo": [300.0]})
    assert title(few, "X-v1") == "TRPO and PPO on X-v1: too few runs to tell them apart"
    assert result(few) == "PPO’s mean return over all 1 episodes of one run is 420.0, TRPO’s 300.0."


def test_one_run_of_one_algorithm_and_nothing_else(tmp_path: Path) -> None:
    """Without a config and versions, too."""
    one = make_folder(tmp_path / "one", {"ppo": [420.0]})
    (one / "config.yaml").unlink()
    (one / "environment.json").unlink()
    found = Page(classic_page(one))
    assert "PPO on the environment: a mean return of 420.0 over 4 episodes" in found.text
    assert "PPO’s mean return over all 4 episodes of one run is 420.0." in found.text
    for absent in ("bootstrap", "Interquartile mean, last", "expected order", "Probability that", "runs per algorithm"):
        assert absent not in found.text
    for absent in ("Hyperparameters", "Experiment", "Versions", "Wall time"):
        assert absent not in found.text
    assert len(json.loads(found.scripts[0])) == 4
    assert "burnish classic --algorithms ppo --runs 1 --episodes 4 --out DIR" in found.text


def test_negative_returns_without_a_threshold_and_broken_runs(tmp_path: Path) -> None:
    """PPO's mean is 420 − 1500; a seventh run of it stopped at its first episode, as did the only one of another."""
    runs = {name: [value - 1500 for value in RUNS[name]] for name in ("trpo", "ppo")}
    left = {"ppo": 6, "actor_critic": 0}
    found = Page(classic_page(make_folder(tmp_path / "p", runs, threshold=None, env="Pendulum-v1", unfinished=left)))
    assert "PPO has the highest mean return on Pendulum-v1" in found.text
    assert " −1080.0 " in found.text
    assert "because they ended before episode 4: 1 run of actor_critic, 1 run of PPO." in found.text
    for absent in ("Episodes to", "Runs ending", "The dashed line"):
        assert absent not in found.text
    first, _ = json.loads(found.scripts[0])["returns-1"]["datasets"].values()
    assert len(first) == 6


def test_a_threshold_below_zero_has_a_minus_sign(tmp_path: Path) -> None:
    """As the numbers of the table and of the axes have it, not a hyphen."""
    runs = {name: [value - 500 for value in RUNS[name]] for name in ("trpo", "ppo")}
    folder = make_folder(tmp_path / "p", runs, threshold=-100.0, env="Acrobot-v1")
    found = Page(classic_page(folder))
    assert "The dashed line is at \u2212100." in found.text
    assert "-100" not in found.text
    for stem in ("returns", "returns_by_steps"):
        drawn = (folder / f"{stem}.svg").read_text()
        assert ">\u2212100</text>" in drawn
        assert ">-100</text>" not in drawn


def test_text_cannot_become_markup(tmp_path: Path) -> None:
    name, env = "<b>bold</b></script>", "<i>Env</i>"
    runs = {name: [1.0, 2], "ppo": [3.0, 4]}
    odd = make_folder(tmp_path / "odd", runs, env=env, command="burnish classic --config x.yaml")
    changed = json.loads((odd / "summary.json").read_text())
    changed["algorithms"]["ppo"] |= {"mean_std": 1.25, "last_100_std": 7.75}
    (odd / "summary.json").write_text(json.dumps(changed))
    found = Page(classic_page(odd))
    assert " 1.25 7.75 " in found.text
    assert env in found.text
    assert name in found.text
    assert not [tag for tag, _ in found.tags if tag == "i"]
    assert "Command: burnish classic --config x.yaml" in found.text
    assert "Of 3 claims, 3 are undecided." in found.text


def test_settings_without_hyperparameters() -> None:
    assert settings({"algorithms": ["ppo"]}, {"ppo": {}}) == []
    assert settings({}, {"ppo": {}}) == []
    nested = {"algorithms": {"ppo": {"policy": {"width": 64}}, "trpo": None}}
    assert settings(nested, {"ppo": {}, "trpo": {}}) == [
        {"key": "policy.width", "values": [64, None], "differs": False}
    ]


def test_updates_are_one_number_or_a_range() -> None:
    assert [updates({"updates_per_run": counts}) for counts in ([1200] * 2, [3, 1200, 7], [])] == [
        "1,200",
        "3 to 1,200",
        "–",
    ]


@pytest.mark.parametrize(("steps", "said"), [(None, "--episodes 9"), (5000, "--steps 5000")])
def test_a_command_without_a_config(steps: int | None, said: str) -> None:
    asked = command({}, {"ppo": {"runs": 3}, "trpo": {"runs": 5}}, {"episodes": 9, "steps": steps})
    assert asked == f"burnish classic --algorithms ppo,trpo --runs 5 {said} --out DIR"


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["holds"], "Of 1 claims, 1 holds."),
        (["holds", "cannot be told", "holds"], "Of 3 claims, 2 hold and 1 is undecided."),
        (
            ["holds", "does not hold", "does not hold", "cannot be told"],
            "Of 4 claims, 1 holds, 2 do not hold and 1 is undecided.",
        ),
        (["does not hold"] * 2 + ["cannot be told"] * 2, "Of 4 claims, 2 do not hold and 2 are undecided."),
    ],
)
def test_the_tally(verdicts: list[str], said: str) -> None:
    assert tally([{"verdict": verdict} for verdict in verdicts]) == said


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "classic")
    summary = (folder / "summary.json").read_text()
    (folder / "summary.json").write_text(json.dumps(json.loads(summary) | {"algorithms": {}}))
    with pytest.raises(UserError, match="has no `algorithms`"):
        classic_page(folder)
    (folder / "summary.json").write_text(json.dumps({k: v for k, v in json.loads(summary).items() if k != "leader"}))
    with pytest.raises(UserError, match="has no `leader`"):
        classic_page(folder)
    (folder / "summary.json").unlink()
    with pytest.raises(UserError, match=r"has no summary.json: give the folder"):
        classic_page(folder)
    (folder / "summary.json").write_text(summary)
    frame = pd.read_parquet(folder / "returns.parquet")
    frame[frame.algorithm != "trpo"].to_parquet(folder / "returns.parquet")
    with pytest.raises(UserError, match="no finished run of trpo"):
        classic_page(folder)
    frame.iloc[:0].to_parquet(folder / "returns.parquet")
    with pytest.raises(UserError, match="no finished run of reinforce"):
        classic_page(folder)
    frame.drop(columns=["episode", "run"]).to_parquet(folder / "returns.parquet")
    with pytest.raises(UserError, match="no column episode and run"):
        classic_page(folder)
    frame.drop(columns=["steps"]).to_parquet(folder / "returns.parquet")
    with pytest.raises(UserError, match="no column steps"):
        classic_page(folder)
    (folder / "returns.parquet").write_bytes(b"not a table")
    with pytest.raises(UserError, match=r"returns.parquet cannot be read"):
        classic_page(folder)
    (folder / "returns.parquet").unlink()
    with pytest.raises(UserError, match=r"has no returns.parquet: give the folder"):
        classic_page(folder)
    assert not (folder / "report.html").exists()
