"""Small files and models to give commands, and a way to run one."""

from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from caches import cache_with_archive

from burnish.cli import main


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    tiny.save_model(folder / "model", "gpt2")
    tiny.write_rows(folder / "texts.jsonl", tiny.text_rows(8))
    tiny.write_rows(folder / "pairs.jsonl", tiny.pair_rows(8))
    tiny.write_rows(folder / "prompts.jsonl", tiny.prompt_rows(8))
    tiny.write_rows(folder / "strange.jsonl", [{"question": "a", "answer": "b"}])
    (folder / "empty.jsonl").write_text("")
    (folder / "torn.jsonl").write_text('{"text": "good"}\n{"text": \n')
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BURNISH_CACHE", cache_with_archive(tmp_path / "cache"))


@pytest.fixture
def burnish(capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Run a command: exit status, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capfd.readouterr()
        with pytest.raises(SystemExit) as caught:
            main([str(argument) for argument in arguments])
        assert isinstance(caught.value.code, int)
        return caught.value.code, *capfd.readouterr()

    return run
