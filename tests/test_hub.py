"""A run on the hub is the run: what is pushed loads elsewhere and says the same, and nothing else goes there."""

import json
import shutil
from pathlib import Path

import pytest

import vectalk as vt
from offline import FakeHub
from vectalk.errors import RunError
from vectalk.model.hub import bundle, push
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from worlds import call

QUESTION, BOUND = "Describe {island}.", {"island": "3"}


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    return FakeHub.put(monkeypatch, tmp_path / "hub")


def test_a_pushed_run_is_the_run_elsewhere(run: Run, hub: FakeHub) -> None:
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    assert elm.push_to_hub("me/islands", spaces=True) == "https://huggingface.co/me/islands"
    assert hub.private == {"me/islands": True}
    loaded = vt.ELM.from_pretrained("hf://me/islands", device="cpu")
    here = hub.place / "cache" / "me" / "islands"
    assert loaded.run.path == here
    assert loaded.spaces["island"].path == here / "spaces" / "island"
    assert loaded.ask(QUESTION, BOUND).text == elm.ask(QUESTION, BOUND).text
    assert loaded.ask(QUESTION, BOUND).neighbors == elm.ask(QUESTION, BOUND).neighbors


def test_spaces_stay_at_home_unless_asked_for(run: Run, hub: FakeHub) -> None:
    push(run, "hf://me/bare", private=False)
    assert hub.private == {"me/bare": False}
    folder = hub.place / "me" / "bare"
    assert not (folder / "spaces").exists()
    assert not list(folder.rglob("vectors*"))
    own = run.spaces()["island"].path
    loaded = vt.ELM.from_pretrained("hf://me/bare", device="cpu", spaces={"island": own})
    assert loaded.ask(QUESTION, BOUND).text == vt.ELM.from_pretrained(run.path, device="cpu").ask(QUESTION, BOUND).text


def test_only_the_files_of_a_run_are_fetched(run: Run, hub: FakeHub) -> None:
    push(run, "me/islands", spaces=True)
    there = hub.place / "me" / "islands"
    own = sorted(str(path.relative_to(there)) for path in there.rglob("*") if path.is_file())
    others = (
        *("pytorch_model.bin", "llm/pytorch_model.bin", "llm/modeling.py", "adapters/island/training_args.bin"),
        *("data.zip", "notes.txt", "lora/adapter_model.bin", "readback/a-1/encoder.json", "spaces/island/secret.pkl"),
        *("checkpoints/best-stage1.safetensors", "llm/notes.txt"),
    )
    for name in others:
        (there / name).parent.mkdir(parents=True, exist_ok=True)
        (there / name).write_text("not part of a run")
    Run.load("hf://me/islands")
    assert sorted(hub.fetched) == own


def test_a_space_is_fetched_by_its_address(run: Run, hub: FakeHub) -> None:
    own = run.spaces()["island"].path
    assert own is not None
    shutil.copytree(own, hub.place / "me" / "space")
    (hub.place / "me" / "space" / "notes.txt").write_text("not part of a space")
    assert len(VectorSpace.load("hf://me/space")) == len(run.spaces()["island"])
    assert set(hub.fetched) == {"space.json", "vectors.npy", "entities.parquet", "support.safetensors"}
    assert run.spaces({"island": "hf://me/space"})["island"].path == hub.place / "cache" / "me" / "space"


def test_nothing_of_this_machine_is_told(run: Run) -> None:
    with bundle(run, spaces=True) as folder:
        names = {path.name for path in folder.iterdir()}
        assert names == {"elm.json", "README.md", "adapters", "llm", "tasks.yaml", "config.yaml", "spaces"} | {
            "training.jsonl"
        }
        for name in ("elm.json", "README.md"):
            assert str(run.path.parent) not in (folder / name).read_text()
            assert "../" not in (folder / name).read_text()
    assert not folder.exists()


def test_the_card_tells_the_figures(run: Run, tmp_path: Path) -> None:
    rows = [
        {
            "space": "island",
            "task": "summary",
            "metric": m,
            "condition": c,
            "value": v,
            "low": v - 0.1,
            "high": v,
            "n": 60,
        }
        for m, c, v in (("sc", "elm", 0.61), ("sc", "shuffled", 0.02), ("self_bleu", "elm", 0.5))
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with bundle(run, evaluation=tmp_path) as folder:
        text = (folder / "README.md").read_text()
    assert text.startswith("---\nlibrary_name: vectalk\n")
    assert "| summary | semantic consistency | 0.61 (0.51 to 0.61) | 0.02 (-0.08 to 0.02) |  |  |  | 60 |" in text
    assert "self_bleu" not in text
    assert "vector gain" in text  # of training
    with pytest.raises(RunError, match="has no metrics"), bundle(run, evaluation=tmp_path / "no"):
        pass


def test_a_run_on_a_folder_of_this_machine_is_not_pushed(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    copied = tmp_path / "run"
    shutil.copytree(run.path, copied)
    card = json.loads((copied / "elm.json").read_text())
    card["llm"] |= {"trained": "lora", "name": str(tmp_path)}
    (copied / "elm.json").write_text(json.dumps(card))
    with pytest.raises(RunError, match="a folder that others do not have"):
        push(Run.load(copied), "me/islands")
    with pytest.raises(RunError, match="'islands' is not the name of a repository"):
        push(run, "islands")
    assert hub.private == {}


def test_a_run_on_a_folder_that_is_gone_is_not_pushed_either(run: Run, hub: FakeHub, tmp_path: Path) -> None:
    """Its relative path reads like an owner and a name, and is neither."""
    copied = Run.load(shutil.copytree(run.path, tmp_path / "run"))
    copied.card.llm.trained, copied.card.llm.name = "lora", "../llm"
    with pytest.raises(RunError, match="a folder that others do not have"):
        push(copied, "me/islands")
    assert hub.private == {}


def test_the_command_line(run: Run, hub: FakeHub, capsys) -> None:
    code, out, _ = call(["push", str(run.path), "me/islands", "--bundle", "--json"], capsys)
    assert code == 0
    assert json.loads(out)["url"] == "https://huggingface.co/me/islands"
    assert (hub.place / "me" / "islands" / "spaces" / "island" / "space.json").is_file()
