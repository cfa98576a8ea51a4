"""Long work is never silent: a line now and then where there is no terminal, and what the library logs on stderr."""

import json
import logging
import re
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from linear_world import SUITE, make_corpus, make_space
from vectalk.cli import common
from vectalk.cli.heartbeat import Heartbeat
from vectalk.cli.main import guarded
from vectalk.evaluation.probes.facts import Facts
from vectalk.model import PromptFormat
from vectalk.space import VectorSpace
from vectalk.tasks import FactsTeacher, Suite, build_corpus
from vectalk.training.tokens import Tokens
from worlds import SHORT, call, make_islands

PATIENCE = 60  # seconds after which a line that should come is given up


def until(true) -> None:
    """Wait until something is true."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A line every few milliseconds instead of every 15 seconds."""
    monkeypatch.setattr(common.heartbeat, "every", 0.005)


# ---- the heartbeat


def test_a_line_every_15_seconds() -> None:
    assert common.heartbeat.every == Heartbeat(print).every == 15.0


def test_one_long_step_is_not_silent() -> None:
    lines: list[str] = []
    heartbeat = Heartbeat(lines.append, every=0.005)
    heartbeat.begin("vectalk space verify")
    until(lambda: len(lines) > 2)
    with heartbeat.showing(lambda: "encoding: 3/9"):
        until(lambda: lines[-1] == "encoding: 3/9")
    heartbeat.end()
    assert lines[0].startswith("vectalk space verify: ")


def test_what_shows_itself_needs_no_lines() -> None:
    lines: list[str] = []
    heartbeat = Heartbeat(lines.append, every=0.001)
    with heartbeat.showing(None):
        heartbeat.begin("work")
        time.sleep(0.05)
        assert lines == []
    until(lambda: lines != [])
    heartbeat.end()


def test_it_ends_with_the_command() -> None:
    def beating() -> int:
        return sum(thread.name == "heartbeat" for thread in threading.enumerate())

    until(lambda: not beating())
    with common.logging_shown():
        common.heartbeat.begin("vectalk")
        assert beating() == 1
    until(lambda: not beating())


# ---- jobs


def test_a_job_without_a_step_is_told_again(quick, capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    with common.progress() as bar:
        bar.add_task("done", total=1, completed=1, note="")
        job = bar.add_task("fitting", total=5, note="")
        bar.update(job, completed=2, note="loss 1.5")
        until(lambda: said.append(capsys.readouterr().err) or "".join(said).count("fitting: 2/5, ") > 2)
    assert "loss 1.5" in "".join(said)
    assert "done" not in "".join(said)


def test_training_names_its_long_work(
    quick, tmp_path: Path, random_llm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = make_islands(tmp_path, rows=120)
    changes = {**SHORT, "adapter.start": "words"}
    sets = [part for name, value in changes.items() for part in ("--set", f"{name}={value}")]
    command = ["train", str(corpus.path), "--llm", str(random_llm), "--device", "cpu", *sets]
    code, out, err = call([*command, "--out", str(tmp_path / "run")], capsys)
    assert (code, out) == (0, "")
    for line in ("starting the adapters as words: ", "stage 1: ", "stage 2: ", "validation loss: ", "loading "):
        assert line in err, err
    assert "start of adapter island: the soft tokens explain" in err
    code, out, err = call([*command, "--out", str(tmp_path / "again"), "--quiet"], capsys)
    assert (code, out, err) == (0, "", "")


def test_tokenising_tells_how_far_it_is(tmp_path: Path, chat) -> None:
    corpus, seen = make_islands(tmp_path, rows=120), []
    prompts = PromptFormat(chat, {"island": 2})
    Tokens.of_corpus(corpus, "train", prompts, lambda done, total: seen.append((done, total)))
    count = corpus.card["counts"]["train"]
    assert seen[0] == (0, count)
    assert seen[-1] == (count, count)
    seen.clear()
    Tokens.of_corpus(corpus, "train", prompts, lambda done, total: seen.append((done, total)))
    assert seen == []  # they are there


def test_a_space_that_is_verified_tells_its_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    vectors = np.random.default_rng(0).standard_normal((250_000, 2)).astype(np.float32)
    ids = pa.array(range(len(vectors))).cast(pa.string())
    space = VectorSpace.create("item", vectors, pa.table({"id": ids})).save(tmp_path / "items")
    rows: list[tuple[int, int]] = []
    space.verify(lambda done, total: rows.append((done, total)))
    assert rows == [(100_000, 250_000), (200_000, 250_000), (250_000, 250_000)]
    code, out, err = call(["space", "verify", str(tmp_path / "items"), "--json", "--quiet"], capsys)
    assert (code, json.loads(out)["ok"], err) == (0, True, "")


def test_each_candidate_of_a_probe_is_told(tmp_path: Path) -> None:
    corpus, told = make_corpus(tmp_path), []
    Facts(corpus, 0, lambda what, done, total: told.append((what, done, total))).probe("film", "decade")
    assert told == [("probe of film/decade", done, 3) for done in range(4)]


def test_a_corpus_names_its_task_before_it_writes(tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    space, suite = make_space(60).save(tmp_path / "space"), Suite.parse(SUITE, "linear")

    class Waiting(FactsTeacher):
        """A teacher that looks whether its work was announced."""

        def write_many(self, assignments):
            assert told[-1][1] < told[-1][2]
            return super().write_many(assignments)

    teacher = Waiting(suite, {"film": space})
    build_corpus({"film": space}, suite, teacher, tmp_path / "corpus", progress=lambda *job: told.append(job))
    assert {what for what, done, total in told if done == total} >= {"summary (train)", "both (test)"}


# ---- logs


def test_what_the_library_logs_is_shown_unless_quiet(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    log = logging.getLogger("vectalk")

    def work() -> None:
        log.info("one example")
        log.warning("no gain")
        log.debug("nobody wants to know")

    guarded(work)
    output = capsys.readouterr()
    assert (output.out, output.err) == ("", "one example\nWARNING: no gain\n")
    assert common.logs not in log.handlers


def test_the_library_never_prints() -> None:
    source = Path(sys.modules["vectalk"].__file__ or "").parent
    files = [path for path in source.rglob("*.py") if path.relative_to(source).parts[0] != "cli"]
    assert len(files) > 100
    prints = re.compile(r"\bprint\(|sys\.std(out|err)")
    assert [str(path) for path in files if prints.search(path.read_text(encoding="utf-8"))] == []
