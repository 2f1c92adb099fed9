"""`burnish serve`: a model behind a server."""

from pathlib import Path
from typing import Any

import click

from burnish.cli.flags import common, settings_of
from burnish.cli.models import LOADING


@click.command()
@click.argument("model")
@click.option("--host", default="127.0.0.1", show_default=True, help="address to listen at; others need a token")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free one")
@click.option("--token", help="what requests have to bring; better in BURNISH_SERVER_TOKEN, which no other user sees")
@click.option("--token-file", type=click.Path(path_type=Path), help="file with the token")
@common(*LOADING, "precision", "device", "threads", "quiet", "debug")
def serve(model: str, host: str, port: int, token: str | None, token_file: Path | None, **flags: Any) -> None:
    """Serve MODEL in OpenAI's protocol, until Ctrl-C.

    For `burnish chat --server`, `burnish compare --judge`, and as the --sampler of training, evaluation and sampling.
    """
    from burnish.recipes.serve.run import serve as run_server

    run_server(model, host=host, port=port, token=token, token_file=token_file, base=settings_of(flags))
