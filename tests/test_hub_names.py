"""The hub is asked for what is named `hf://owner/name`, or for an LLM or encoder `owner/name`, and for nothing else."""

import shutil
from pathlib import Path

import pytest

import vectalk as vt
from offline import fake_transformers, forbid_network
from vectalk.errors import EvaluationError, LanguageModelError, RunError, SpaceError, TeacherError, VectalkError
from vectalk.hub_address import HubAddress
from vectalk.llm.client import transport_to
from vectalk.llm.loading import load_llm
from vectalk.llm.local import LocalModel
from vectalk.llm.tokenizer import load_config, load_tokenizer
from vectalk.model import ElmAdapter
from vectalk.model.run import Run
from vectalk.readback import SentenceEncoder
from vectalk.space import VectorSpace
from vectalk.talk.ray_narration import _absolute
from vectalk.tasks import Corpus
from worlds import call

# What looks like a path, and so is none of the hub's.
PATHS = [
    *("./x/y", "../x/y", "/x/y", "~/x/y", "x/y/z", "x", "gpt2", "x/y/", "x//y", "", ".", "..", "x/..", "../x"),
    *("runs/llm.gguf", "runs/model.safetensors", "runs/model.BIN", "data/films.parquet", "x/y.json", "a b/c", "x/y@z"),
    *("-x/y", "x/y-", ".x/y", "x--y/z", "C:\\x\\y"),
]


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """What was asked of a network that answers nothing, from an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return forbid_network(monkeypatch)


def test_the_forbidden_network_is_noticed(tried: list[str]) -> None:
    with pytest.raises(VectalkError, match=r"hf://someone/thing cannot be fetched from the Hugging Face hub"):
        HubAddress("someone/thing").download(["*.json"])
    assert tried


def test_addresses() -> None:
    assert HubAddress.read("hf://me/films") == HubAddress("me/films")
    assert HubAddress.read(Path("hf://me/films")) == HubAddress("me/films")  # pathlib drops a slash
    assert HubAddress.read("hf://me/Films-2.5_b@refs/pr/1") == HubAddress("me/Films-2.5_b", "refs/pr/1")
    assert str(HubAddress("me/films", "main")) == "hf://me/films@main"
    assert HubAddress.of_model("Qwen/Qwen2.5-0.5B") == HubAddress("Qwen/Qwen2.5-0.5B")
    assert HubAddress.of_model("hf://a/b@main") == HubAddress("a/b", "main")
    for path in PATHS:
        assert HubAddress.read(path) is None, path
        assert HubAddress.of_model(path) is None, path
    for wrong in ("hf://films", "hf://me/films/", "hf://me/a/b", "hf://../x", "hf://", "hf:///a/b", "hf://me/films@"):
        if not wrong.startswith("hf:///"):  # a path with a folder `hf:`, which nobody has
            with pytest.raises(VectalkError, match="is no address on the Hugging Face hub"):
                HubAddress.read(wrong)


RUN = "runs/items"


@pytest.mark.parametrize(
    "command",
    [
        ["ask", RUN, "Describe {island}."],
        ["chat", RUN],
        ["narrate", RUN, "island", "--out", "texts", "--question", "Describe {island}."],
        ["evaluate", RUN, "--out", "evaluation"],
        ["curves", RUN, "--out", "evaluation"],
        ["export", RUN, "--merged", "plain"],
        ["push", RUN, "me/items"],
        ["space", "info", RUN],
        ["space", "neighbors", RUN, "x"],
        ["concept", "list", RUN],
    ],
    ids=lambda command: "-".join(command[:2]).replace("/", "-"),
)
def test_a_path_from_the_wrong_folder_is_not_taken_to_the_hub(command: list[str], tried: list[str], capsys) -> None:
    code, _, err = call(command, capsys)
    assert code == 2
    assert "runs/items is not a" in err
    assert "no such folder" in err
    assert "hf://owner/name" in err
    assert tried == []


def test_neither_is_that_of_a_run_to_start_from(corpus: Corpus, tried: list[str], capsys) -> None:
    code, _, err = call(["train", str(corpus.path), "--from", RUN, "--out", "again"], capsys)
    assert (code, "runs/items is not a run (no such folder)" in err) == (2, True)
    code, _, err = call(["train", str(corpus.path), "--llm", "runs/a/llm", "--out", "again"], capsys)
    assert (code, "LLM folder runs/a/llm is not a model (no such folder)" in err) == (2, True)
    assert tried == []


def test_nor_is_a_space(run: Run, corpus: Corpus, tried: list[str]) -> None:
    with pytest.raises(SpaceError, match=r"\(no such folder\).* on the hub as hf://owner/name"):
        VectorSpace.load("spaces/film")
    with pytest.raises(RunError, match="but nothing is there"):
        run.spaces({"island": "spaces/film"})
    with pytest.raises(VectalkError, match="but nothing is there"):
        Corpus.load(corpus.path, {"island": "spaces/film"})
    assert tried == []


@pytest.mark.parametrize("path", PATHS)
def test_no_model_is_sought_by_a_path(path: str, tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_transformers(monkeypatch)
    if not Path(path).exists():
        with pytest.raises(EvaluationError, match="no such folder"):
            _ = SentenceEncoder(path).model
    for load in (load_llm, load_tokenizer, load_config):
        with pytest.raises(LanguageModelError, match=r"no such (folder|file)|no config\.json|name of the LLM is empty"):
            load(path)
    if path:
        with pytest.raises(TeacherError, match=r"no such (folder|file)|no config\.json"):
            transport_to(LocalModel(model=path))
    assert tried == []
    assert fake.loaded == []


@pytest.mark.parametrize("name", ["someone/model", "hf://someone/model", "hf://someone/model@v2"])
def test_a_model_by_its_name_is_sought_there(name: str, tried: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    fake = fake_transformers(monkeypatch)
    with pytest.raises(LanguageModelError, match=r"cannot be loaded: hf://someone/model.* cannot be fetched"):
        load_llm(name, device="cpu")
    assert tried
    tried.clear()
    with pytest.raises(EvaluationError, match=r"hf://someone/model.* cannot be fetched"):
        _ = SentenceEncoder(name).model
    assert tried
    assert fake.loaded == []


@pytest.mark.parametrize("part", ["llm", "adapters/island"])
def test_a_part_that_a_run_lacks_is_not_sought_on_the_hub(
    run: Run, part: str, tried: list[str], tmp_path: Path
) -> None:
    """From beside the run, `run/llm` reads like an owner and a name."""
    shutil.copytree(run.path, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / part)
    with pytest.raises(RunError, match=f"not complete.*{part}|run/{part} holds no adapter"):
        Run.load("run").model("cpu")
    with pytest.raises(RunError, match="there is no adapter at adapters/island"):
        ElmAdapter.from_pretrained("adapters/island")
    assert tried == []


def test_an_llm_folder_that_moved_is_not_sought_on_the_hub(run: Run, tried: list[str], tmp_path: Path) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    moved = Run.load("run")
    moved.card.llm.trained, moved.card.llm.name = "frozen", "models/llm"
    with pytest.raises(RunError, match=r"looks for its base LLM at run/models/llm, which does not exist.*--llm"):
        moved.model("cpu")
    assert tried == []


def test_a_revision_is_that_of_an_address(run: Run, tried: list[str]) -> None:
    with pytest.raises(RunError, match="revision 'v1' is not that of"):
        vt.ELM.from_pretrained(run.path, revision="v1", device="cpu")
    with pytest.raises(RunError, match="revision 'v1' is not that of hf://me/films@v2"):
        Run.load("hf://me/films@v2", "v1")
    assert tried == []
    with pytest.raises(RunError, match="hf://me/films@v1 cannot be fetched"):
        Run.load("hf://me/films", "v1")
    assert tried


def test_an_address_stays_one_for_actors() -> None:
    assert _absolute("hf://me/films") == "hf://me/films"
