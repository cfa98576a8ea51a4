"""Corpora by an LLM from the command line, in processes of their own: killed, interrupted, misconfigured."""

import json
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from fake_endpoint import Answer, FakeEndpoint, serving
from films import TEXT, films_suite
from forked import Forked
from taught import KEY
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus
from worlds import call

pytest.importorskip("openai", reason="needs the extra [teacher]")
pytestmark = pytest.mark.usefixtures("openai_key")


def command(films: VectorSpace, fake: FakeEndpoint, folder: Path, *more: str) -> list[str]:
    suite = folder / "films.yaml"
    suite.write_text(films_suite("summary").dump())
    return [
        *("corpus", "build", "--space", f"film={films.path}", "--suite", str(suite), "--out", str(folder / "corpus")),
        *("--teacher", "openai:fake", "--base-url", fake.url, "--api-key-env", "OPENAI_API_KEY", "--variants", "1"),
        *("--cache", str(folder / "cache")),
        *more,
    ]


def until(true: Callable[[], bool], process: Forked) -> None:
    for _ in range(6000):
        if true():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    raise AssertionError("it never came about")


def kept(cache: Path) -> int:
    try:
        with closing(sqlite3.connect(f"file:{cache}?mode=ro", uri=True)) as db:
            return int(db.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
    except sqlite3.Error:
        return 0


def test_a_killed_build_goes_on_and_pays_nothing_twice(films: VectorSpace, tmp_path: Path) -> None:
    hang = threading.Event()

    def answer(request: dict[str, Any], number: int) -> Answer:
        text = Answer(f"{TEXT} Number {number}.", usage=(100, 20))
        if 10 <= number < 14:
            text.wait = hang
            text.missing = 1  # whoever asked is gone, so these are never answered whole
        return text

    with serving(answer) as fake:
        process = Forked(*command(films, fake, tmp_path, "--set", "concurrency=4"))
        until(lambda: len(fake.requests) == 14 and kept(tmp_path / "cache") == 10, process)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        hang.set()
        assert not (tmp_path / "corpus").exists()
        process = Forked(*command(films, fake, tmp_path, "--json", "--quiet"))
        out, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
        spending = json.loads(out)["provenance"]["spending"]
        assert (spending["requests"], spending["cached"]) == (26, 10)
        assert len(fake.requests) == 14 + 26
        assert (len(fake.paid), max(fake.paid.values())) == (36, 1)
    assert len(Corpus.load(tmp_path / "corpus")) == 36


def test_an_interrupted_build_keeps_what_is_on_its_way(films: VectorSpace, tmp_path: Path) -> None:
    slow = threading.Event()

    def answer(request: dict[str, Any], number: int) -> Answer:
        return Answer(f"{TEXT} Number {number}.", wait=slow if number >= 6 else None)

    with serving(answer) as fake:
        process = Forked(*command(films, fake, tmp_path, "--set", "concurrency=3"))
        until(lambda: len(fake.requests) == 9, process)
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
        slow.set()
        _, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
        assert "9 replies in" in err
        assert "Traceback" not in err
        assert (len(fake.requests), kept(tmp_path / "cache")) == (9, 9)
    # No half corpus, nor a folder that was to become one.
    assert {path.name for path in tmp_path.iterdir()} - {"cache-shm", "cache-wal"} == {"cache", "films.yaml"}


def test_the_command_line_end_to_end(films: VectorSpace, tmp_path: Path, capsys) -> None:
    with serving(Answer(TEXT, usage=(200, 40))) as fake:
        money = ["--set", "price_input=1", "--set", "price_output=2"]
        code, out, err = call(command(films, fake, tmp_path, "--dry-run", *money), capsys)
        assert code == 0, err
        assert "36 texts to write: 0 from the cache, 36 to request; about" in out
        assert "nothing was sent" in out
        assert "title (never to be written): Silver Lanterns (1960)" in out
        assert fake.requests == []
        assert not (tmp_path / "corpus").exists()
        code, out, _ = call(command(films, fake, tmp_path, "--dry-run", "--json", "--quiet"), capsys)
        assert json.loads(out)["estimate"]["requests"] == 36
        code, out, err = call(command(films, fake, tmp_path, "--max-cost", "0.004", *money), capsys)
        assert code == 2
        assert "note: the estimated cost is above --max-cost 0.004" in err
        assert "the budget does not allow another request" in err
        assert "Traceback" not in err
        code, out, err = call(command(films, fake, tmp_path, "--max-cost", "1", *money), capsys)
        assert code == 0, err
        assert out.strip() == "24 train, 4 validation, 8 test examples"
        assert max(fake.paid.values()) == 1
        code, _, err = call(command(films, fake, tmp_path), capsys)
        assert code == 2  # and nothing was asked for a folder that is in the way
        assert "exists already" in err
        assert len(fake.requests) == 36
    card = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert card["provenance"]["spending"]["cost"] == pytest.approx(36 * (200 * 1 + 40 * 2) / 1e6)


def test_the_key_is_nowhere_on_disk_nor_in_messages(films: VectorSpace, tmp_path: Path, capsys) -> None:
    def answer(request: dict[str, Any], number: int) -> Answer:
        return Answer(TEXT) if number < 30 else Answer(status=401, text=f"bad key {KEY}")

    with serving(answer) as fake:
        said = call(command(films, fake, tmp_path, "--set", "concurrency=1"), capsys)
        assert said[0] == 2
        assert "401" in said[2]
        said += call(command(films, fake, tmp_path, "--cached-only"), capsys)
        assert said[3] == 0, said
    assert all(key == f"Bearer {KEY}" for key in fake.keys)
    assert KEY not in "".join(map(str, said))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {"cache", "corpus.json"} <= {path.name for path in files}
    for path in files:
        assert KEY.encode() not in path.read_bytes(), path


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--teacher", "gpt"], "unknown teacher 'gpt'; use facts, texts:COLUMN, openai:MODEL or hf:FOLDER"),
        (["--teacher", "openai"], "names no model; give openai:MODEL"),
        (["--teacher", "hf"], "no model is named: give hf:FOLDER"),
        (
            ["--teacher", "facts", "--max-cost", "3"],
            "--max-cost does not work with --teacher facts; it works only with openai or hf",
        ),
        (["--teacher", "texts:title", "--dry-run"], "--dry-run does not work with"),
        (["--teacher", "openai:m", "--max-cost", "3"], "a budget in money needs prices"),
        (["--teacher", "openai:m", "--fact", "genre"], "no space has an attribute or column 'genre'; did you mean"),
        (["--teacher", "openai:m", "--api-key-env", "NO_SUCH", "--base-url", "https://x.org/v1"], "no key for x.org"),
        (["--teacher", "hf:m", "--base-url", "https://x.org/v1"], "--base-url does not work with --teacher hf:m"),
        (
            ["--teacher", "openai:m", "--column", "plot"],
            "--column does not work with --teacher openai:m; it works only with texts",
        ),
        (["--teacher", "openai:m", "--set", "x=[1,"], "--set x: '[1,' is not a valid YAML value"),
        (["--teacher", "openai:m", "--set", "concurency=3"], "concurency: "),
    ],
)
def test_wrong_options_are_named(
    options: list[str], said: str, films: VectorSpace, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VECTALK_CACHE", str(tmp_path / "cache"))
    with serving() as fake:
        arguments = command(films, fake, tmp_path)
        start = arguments.index("--teacher")
        code, out, err = call([*arguments[:start], *options], capsys)
        assert (code, out) == (2, "")
        assert said in " ".join(err.split())
        assert fake.requests == []
