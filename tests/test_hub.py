"""A run on the hub is the run: what is pushed loads elsewhere and says the same."""

import json
import shutil
from pathlib import Path

import pytest

import vectalk as vt
from vectalk.errors import RunError
from vectalk.model.hub import bundle, fetch, push
from vectalk.model.run import Run
from worlds import call

QUESTION, BOUND = "Describe {island}.", {"island": "3"}


class FakeHub:
    """Keeps what is uploaded in folders, as the hub's client would send it."""

    def __init__(self, place: Path) -> None:
        self.place, self.private = place, {}

    def create_repo(self, repository: str, *, private: bool, exist_ok: bool) -> None:
        self.private.setdefault(repository, private)

    def upload_folder(self, *, repo_id: str, folder_path: Path, commit_message: str) -> None:
        assert repo_id in self.private
        shutil.copytree(folder_path, self.place / repo_id, dirs_exist_ok=True)

    def snapshot_download(self, repo_id: str, *, revision: str | None = None) -> str:
        return str(self.place / repo_id)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    fake = FakeHub(tmp_path / "hub")
    monkeypatch.setattr("huggingface_hub.snapshot_download", fake.snapshot_download)
    monkeypatch.setattr("huggingface_hub.HfApi", lambda: fake)
    return fake


def test_a_pushed_run_is_the_run_elsewhere(run: Run, hub: FakeHub) -> None:
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    assert elm.push_to_hub("me/islands", spaces=True) == "https://huggingface.co/me/islands"
    assert hub.private == {"me/islands": True}
    loaded = vt.ELM.from_pretrained("me/islands", device="cpu")
    assert loaded.run.path == hub.place / "me" / "islands"
    assert loaded.spaces["island"].path == hub.place / "me" / "islands" / "spaces" / "island"
    assert loaded.ask(QUESTION, BOUND).text == elm.ask(QUESTION, BOUND).text
    assert loaded.ask(QUESTION, BOUND).neighbors == elm.ask(QUESTION, BOUND).neighbors


def test_spaces_stay_at_home_unless_asked_for(run: Run, hub: FakeHub) -> None:
    push(run, "me/bare", private=False)
    assert hub.private == {"me/bare": False}
    folder = hub.place / "me" / "bare"
    assert not (folder / "spaces").exists()
    assert not list(folder.rglob("vectors*"))
    own = run.spaces()["island"].path
    loaded = vt.ELM.from_pretrained("me/bare", device="cpu", spaces={"island": own})
    assert loaded.ask(QUESTION, BOUND).text == vt.ELM.from_pretrained(run.path, device="cpu").ask(QUESTION, BOUND).text


def test_nothing_of_this_machine_is_told(run: Run) -> None:
    with bundle(run, spaces=True) as folder:
        names = {path.name for path in folder.iterdir()}
        assert names >= {"elm.json", "README.md", "adapters", "llm", "tasks.yaml", "config.yaml", "spaces"}
        assert "checkpoints" not in names
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


def test_what_is_neither_a_folder_nor_on_the_hub_is_told(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nobody/nothing is no folder of a run .* the hub does not give it"):
        fetch("nobody/nothing")
    assert fetch(tmp_path) == tmp_path
    assert fetch("./some/where") == Path("./some/where")


def test_the_command_line(run: Run, hub: FakeHub, capsys) -> None:
    code, out, _ = call(["push", str(run.path), "me/islands", "--bundle", "--json"], capsys)
    assert code == 0
    assert json.loads(out)["url"] == "https://huggingface.co/me/islands"
    assert (hub.place / "me" / "islands" / "spaces" / "island" / "space.json").is_file()
