"""Bulk narration over Ray: the same parts, whoever of the workers was killed."""

import json
import os
import signal
import sys
import threading
from pathlib import Path

import pyarrow as pa
import pytest

import vectalk as vt
from vectalk.errors import EngineError, PromptError
from vectalk.model.run import Run
from vectalk.talk import Decoding
from vectalk.talk.narrate import job, narrate, narration
from vectalk.talk.ray_narration import Elsewhere, narrate_with_ray
from worlds import call

WHAT = {"task": "summary", "rows": 16, "decoding": Decoding(max_new_tokens=32)}


@pytest.fixture(scope="module")
def whole(run: Run, tmp_path_factory: pytest.TempPathFactory) -> pa.Table:
    """A narration by one process."""
    folder = tmp_path_factory.mktemp("whole") / "out"
    narrate(job(vt.ELM.from_pretrained(run.path, device="cpu"), "island", folder, **WHAT))
    return pa.concat_tables(narration(folder))


@pytest.fixture(scope="module")
def cluster():
    """A local Ray of two workers."""
    ray = pytest.importorskip("ray", reason="needs the extra [ray]")
    pytest.importorskip("ray.data", reason="needs the extra [ray]")
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield ray
    ray.shutdown()


def actors() -> list[int]:
    """Return the processes of our Ray that narrate."""
    parents, found = {}, []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            status, words = (place / "stat").read_text(), (place / "cmdline").read_bytes()
        except OSError:  # it ended meanwhile
            continue
        parents[int(place.name)] = int(status.rpartition(")")[2].split()[1])
        if b"Narrator" in words:
            found.append(int(place.name))
    return [pid for pid in found if os.getpid() in ancestors(pid, parents)]


def ancestors(pid: int, parents: dict[int, int]) -> list[int]:
    """Return the processes that a process descends from."""
    above = parents.get(pid, 0)
    return [above, *ancestors(above, parents)] if above else []


@pytest.mark.skipif(not Path("/proc/self/stat").is_file(), reason="looks for processes in /proc")
def test_a_killed_worker_costs_no_row_and_repeats_none(cluster, run: Run, whole: pa.Table, tmp_path: Path) -> None:
    out, killed = tmp_path / "out", []
    made = threading.Event()

    def kill() -> None:
        """Kill one of the two while both write: it leaves a part unfinished."""
        made.wait()
        pids = actors()
        os.kill(pids[0], signal.SIGKILL)
        killed.append((len(pids), len(list(out.glob("part-*.parquet")))))

    thread = threading.Thread(target=kill)
    thread.start()
    seen: list[int] = []

    def progress(done: int, total: int) -> None:
        seen.append(done)
        if len(seen) == 4:
            made.set()

    report = narrate_with_ray(run.path, "island", out, workers=2, device="cpu", progress=progress, **WHAT)
    thread.join()
    assert killed[0][0] == 2
    assert killed[0][1] < 25
    assert seen[-1] == 400
    assert pa.concat_tables(narration(out)).equals(whole)
    assert (report["rows"] + 16 * report["skipped"], report["parts"] + report["skipped"]) == (400, 25)
    with pytest.raises(EngineError, match="the narration of something else: its decoding differ"):
        narrate_with_ray(run.path, "island", out, workers=1, device="cpu", **{**WHAT, "decoding": Decoding()})


def test_the_command_line(cluster, run: Run, whole: pa.Table, tmp_path: Path, capsys) -> None:
    out, command = tmp_path / "out", ["narrate", str(run.path), "island", "--task", "summary", "--device", "cpu"]
    command += ["--rows-per-part", "200", "--max-new-tokens", "32", "--out", str(out), "--json"]
    assert call([*command, "--shard", "2/2"], capsys)[0] == 0
    code, told, _ = call([*command, "--ray", "--workers", "2"], capsys)
    report = json.loads(told)
    assert (code, report["parts"], report["rows"], report["skipped"]) == (0, 1, 200, 1)
    assert pa.concat_tables(narration(out)).select(["row", "text"]).equals(whole.select(["row", "text"]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--workers", "2"], "--workers works only together with --ray"),
        (["--ray", "--shard", "1/2"], "--ray and --shard exclude each other, because Ray distributes the parts"),
        (["--ray", "--task", "sing"], "the run has no task 'sing'"),
    ],
)
def test_what_does_not_fit_is_refused(run: Run, tmp_path: Path, capsys, options: list[str], message: str) -> None:
    code, _, err = call(["narrate", str(run.path), "island", "--out", str(tmp_path / "out"), *options], capsys)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split())


def test_without_ray_the_extra_is_named(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(EngineError, match=r"pip install 'vectalk\[ray\]'"):
        narrate_with_ray(run.path, "island", tmp_path / "out", **WHAT)
    with pytest.raises(PromptError, match="workers is 0"):
        narrate_with_ray(run.path, "island", tmp_path / "out", workers=0, **WHAT)
    with pytest.raises(EngineError, match="this process writes no texts"):
        Elsewhere().generate(["Describe {island}."], [{}], Decoding())
