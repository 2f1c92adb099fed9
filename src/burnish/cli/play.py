"""`burnish play`: watch a trained policy of control."""

from pathlib import Path

import click

from burnish.cli.flags import common, settings_of
from burnish.run import printable


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--algorithm", help="whose policy  [default: the best, see --number]")
@click.option(
    "--number",
    type=click.IntRange(min=0),
    help="which of the seeded runs  [default: the one whose last 100 training episodes returned most]",
)
@click.option("--episodes", type=click.IntRange(min=1), default=10, show_default=True, help="episodes to play")
@click.option(
    "--deterministic/--sampled",
    default=True,
    show_default=True,
    help="choose the likeliest action, or draw one from the policy as in training",
)
@click.option("--out", type=click.Path(path_type=Path), help="a file .gif or .mp4  [default: a window]")
@click.option(
    "--recorded",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="episodes in the file, from the first on",
)
@click.option("--env-option", multiple=True, metavar="KEY=VALUE", help="an option of the environment; may be repeated")
@common("seed", "quiet", "debug")
def play(
    run: Path,
    algorithm: str | None,
    number: int | None,
    episodes: int,
    deterministic: bool,
    out: Path | None,
    recorded: int,
    env_option: tuple[str, ...],
    seed: int | None,
    quiet: bool | None,
    debug: bool | None,
) -> None:
    """Watch a trained policy of RUN, a folder of `burnish classic`: in a window, or as a film in a file."""
    from burnish.recipes.control.environment import options_of
    from burnish.recipes.control.load import load_policy
    from burnish.recipes.control.play import play as watch

    settings = settings_of({"seed": seed, "quiet": quiet})
    options = options_of(env_option)
    policy = load_policy(run, algorithm, number, settings.seed)

    def heard(episode: int, earned: float, length: int) -> None:
        if not quiet:
            click.echo(f"episode {episode}: return {earned:.6g}, {length} steps")

    if not quiet:
        click.echo(printable(f"{policy.algorithm}, run {policy.number}, {policy.environment['id']}"))
    how = {"episodes": episodes, "deterministic": deterministic, "out": out, "recorded": recorded}
    seeds = {"seed": settings.seed, "quiet": settings.quiet}
    found = watch(policy, **how, **seeds, env_options=options, heard=heard)  # type: ignore[arg-type]
    kind = "likeliest actions" if deterministic else "sampled actions"
    click.echo(f"{found}, {kind}")
    if out:
        click.echo(printable(out))
