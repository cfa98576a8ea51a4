"""What `push` uploads, file by file: no text, no title, no path of this machine; and what is there works elsewhere."""

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import vectalk as vt
from offline import FakeHub, cached, fake_transformers, hub_cache
from vectalk.concepts import Concept
from vectalk.concepts.shelf import keep
from vectalk.errors import EvaluationError, SpaceError
from vectalk.files import write_text
from vectalk.model.hub import bundle, push
from vectalk.model.run import Run
from vectalk.readback.encoder import MINILM
from vectalk.space import VectorSpace
from vectalk.tasks import Suite, build_corpus
from vectalk.tasks.teachers.texts import TextsTeacher
from vectalk.training import TrainConfig
from vectalk.training.trainer import train
from worlds import SHORT, call, save_llm

ROWS = 60
QUESTION = "Tell me of {film}."
SUITE = Suite.model_validate(
    {
        "name": "secret",
        "attributes": {"film": {}},
        "tasks": [{"name": "story", "slots": {"film": "film"}, "about": "film", "prompts": [QUESTION], "facts": []}],
    }
)


def invented(count: int) -> list[str]:
    """Return words that stand nowhere else."""
    draw = random.Random(7)
    return ["".join(draw.choice("bdfgklmnprstvz") + draw.choice("aeiou") for _ in range(5)) for _ in range(count)]


WORDS = invented(4 * ROWS)
TITLES = [f"{a.title()} {b.title()}" for a, b in zip(WORDS[:ROWS], WORDS[ROWS : 2 * ROWS], strict=True)]
TEXTS = [f"The {a} went to the {b}." for a, b in zip(WORDS[2 * ROWS : 3 * ROWS], WORDS[3 * ROWS :], strict=True)]


class Home:
    """A machine with a space, a corpus and two runs on it, whose read-backs were fitted by three encoders."""

    def __init__(self, place: Path, tokenizer) -> None:
        self.place = place
        self.own_encoder = place / "encoders" / "mine"
        write_text(self.own_encoder / "config.json", "{}")
        letters = np.array([[text.count(letter) for letter in "aeioubdfg"] for text in TEXTS], np.float32)
        table = {"id": WORDS[:ROWS], "title": TITLES, "plot": TEXTS}
        split = ["train"] * 44 + ["validation"] * 8 + ["test"] * 8
        space = VectorSpace.create("film", letters + 0.01, {**table, "split": split}).save(place / "spaces" / "film")
        keep(Concept.fit(space, positive=TITLES[:20], name="long"))
        teacher = TextsTeacher(SUITE, {"film": space}, {"": "plot"})
        self.corpus = build_corpus({"film": space}, SUITE, teacher, place / "corpora" / "films", variants=1)
        self.corpus.card["teacher"] = f"llm:{place}/models/teacher"
        for commit in ("a" * 40, "b" * 40):
            save_llm("llama", tokenizer, cached(place / "hub", "someone/tiny", commit))
        self.runs = {kind: self._run(kind) for kind in ("lora", "full")}

    def _run(self, kind: str) -> Run:
        settings = {**SHORT, "stage1.steps": 2, "stage2.steps": 2, "stage2.llm": kind, "eval_every": 2}
        out = self.place / "runs" / kind
        run = train(self.corpus, "someone/tiny", out, TrainConfig.load(None, settings), device="cpu")
        elm = vt.ELM.from_pretrained(run.path, device="cpu")
        for encoder in ("tfidf", "minilm", str(self.own_encoder)):
            elm.reranker(QUESTION, encoder)
        return run


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory, tokenizer) -> Iterator[Home]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        place = tmp_path_factory.mktemp("home-of-somebody")
        fake_transformers(monkeypatch)
        cached(hub_cache(monkeypatch, place / "hub"), MINILM, "e" * 40)
        yield Home(place, tokenizer)


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHub:
    return FakeHub.put(monkeypatch, tmp_path / "hub")


def content(file: Path) -> str:
    """Return all that a file says; of parquet what its columns and its schema hold."""
    if file.suffix == ".parquet":
        table = pq.read_table(file)
        return f"{table.schema}{table.schema.metadata}{table.to_pylist()}"
    return file.read_bytes().decode("utf-8", errors="replace")


def files_of(folder: Path) -> dict[str, Path]:
    return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if file.is_file()}


def secrets_in(text: str, secrets: list[str]) -> list[str]:
    text = text.casefold()
    return [secret for secret in secrets if secret.casefold() in text]


@pytest.mark.parametrize("kind", ["lora", "full"])
def test_no_file_holds_a_text_a_title_or_a_path(home: Home, kind: str) -> None:
    paths = [str(home.place), home.place.name, str(Path.home()), str(Path.cwd()), "snapshots/"]
    with bundle(home.runs[kind]) as folder:
        files = files_of(folder)
        trained = {"lora": {"lora/adapter_config.json", "lora/adapter_model.safetensors"}, "full": set()}[kind]
        assert {name for name in files if not name.startswith(("llm/", "readback/"))} == {
            *{"README.md", "adapters/film/config.json", "adapters/film/model.safetensors", "config.yaml", "elm.json"},
            *{"tasks.yaml", "training.jsonl"},
            *trained,
        }
        for name, file in files.items():
            text = content(file)
            assert secrets_in(name + text, WORDS + TITLES + TEXTS) == [], name
            assert secrets_in(name + text, paths) == [], name
            if file.suffix != ".safetensors":
                assert "../" not in text, name
                assert "~/" not in text, name
        assert "llm:teacher" in files["README.md"].read_text()
        assert "vectalk ask hf://OWNER/NAME " in files["README.md"].read_text()
        if kind == "lora":
            named = json.loads(files["lora/adapter_config.json"].read_text())["base_model_name_or_path"]
            assert named == "someone/tiny"
            assert "Base LLM: `someone/tiny`" in files["README.md"].read_text()


def test_the_words_are_at_home_all_the_same(home: Home) -> None:
    """What the test above looks for can be seen where it is."""
    folder = home.runs["lora"].path
    written = {name for name, file in files_of(folder).items() if secrets_in(content(file), WORDS)}
    assert {name.rpartition("/")[2] for name in written} == {"encoder.json"}


def test_a_bundle_holds_titles_in_its_spaces_alone_and_no_path(home: Home) -> None:
    run = home.runs["lora"]
    with bundle(run, spaces=True) as folder:
        files = files_of(folder)
        assert {name for name, file in files.items() if secrets_in(content(file), WORDS)} == {
            "spaces/film/entities.parquet"
        }
        assert "spaces/film/concepts/long/direction.safetensors" in files
        for name, file in files.items():
            assert secrets_in(name + content(file), [str(home.place), str(Path.home())]) == [], name


def test_the_path_of_an_encoder_of_this_machine_stays_here(home: Home, tmp_path: Path, hub: FakeHub) -> None:
    run = Run.load(shutil.copytree(home.runs["full"].path, tmp_path / "run"))
    place = shutil.copytree(home.place / "spaces" / "film", tmp_path / "film")
    card = json.loads((place / "space.json").read_text())
    (place / "space.json").write_text(json.dumps({**card, "encoder": str(home.own_encoder)}))
    run.card.spaces["film"].path = "../film"
    with bundle(run, spaces=True) as folder:
        assert json.loads((folder / "spaces" / "film" / "space.json").read_text())["encoder"] == "folder:mine"
    assert json.loads((place / "space.json").read_text())["encoder"] == str(home.own_encoder)
    push(run, "me/films", spaces=True)
    elm = vt.ELM.from_pretrained("hf://me/films", device="cpu")
    with pytest.raises(EvaluationError, match=r"names the text encoder 'folder:mine'.*--trust-encoder"):
        elm.point("film", 'text("a story")')


def test_what_an_older_version_uploaded_goes(home: Home, hub: FakeHub) -> None:
    old = hub.place / "me" / "films" / "readback" / "story-0123456789ab"
    write_text(old / "encoder.json", json.dumps(WORDS))
    push(home.runs["lora"], "me/films")
    assert not (old / "encoder.json").exists()
    assert len(list((hub.place / "me" / "films" / "readback").glob("*/readback.json"))) == 1


# ---- what is there works elsewhere


@pytest.fixture
def fetched(home: Home, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> vt.ELM:
    """The run on another machine: with its spaces, and without its corpus."""
    push(home.runs["full"], "me/films", spaces=True)
    return vt.ELM.from_pretrained("hf://me/films", device="cpu")


def test_candidates_are_compared_as_at_home(home: Home, fetched: vt.ELM) -> None:
    own = vt.ELM.from_pretrained(home.runs["full"].path, device="cpu")
    there, here = (elm.ask(QUESTION, {"film": TITLES[3]}, candidates=3, max_new_tokens=8) for elm in (fetched, own))
    assert (there.text, there.consistency) == (here.text, here.consistency)


def test_a_text_is_located(home: Home, fetched: vt.ELM) -> None:
    """Vectors count letters, and so does the encoder: a reference text lands near its own entity."""
    space = fetched.spaces["film"]
    assert space.encoder is None
    ranks = []
    for row in range(0, 40, 4):
        point = fetched.point("film", f"text({TEXTS[row]!r})")
        assert fetched.point("film", point.source).values == pytest.approx(point.values)
        rows, _ = space.neighbors(point, ROWS)
        ranks.append(rows.tolist().index(row))
    assert np.mean(ranks) < 6  # by chance 30
    readback = fetched.reranker(QUESTION).readback
    assert (
        readback.locate(TEXTS[0], 3)[0].tolist()
        == space.neighbors(fetched.point("film", f"text({TEXTS[0]!r})"), 3)[0].tolist()
    )


def test_what_is_missing_is_said(home: Home, fetched: vt.ELM, capsys) -> None:
    with pytest.raises(EvaluationError, match=r"none of task 'story' by the text encoder 'tfidf'.*one by 'minilm'"):
        fetched.ask(QUESTION, {"film": TITLES[3]}, candidates=2, encoder="tfidf")
    shutil.rmtree(Path(fetched.run.path) / "readback")
    bare = vt.ELM.from_pretrained(fetched.run.path, device="cpu")
    with pytest.raises(EvaluationError, match=r"corpus of run .* is not at .*/corpus, .*push the run again"):
        bare.ask(QUESTION, {"film": TITLES[3]}, candidates=2)
    with pytest.raises(SpaceError, match=r"keeps no read-back of it by a sentence encoder.*--encoder minilm"):
        bare.point("film", 'text("a story")')
    code, _, err = call(
        ["ask", str(bare.run.path), QUESTION, "--bind", f"film={TITLES[3]}", "--candidates", "2", "--device", "cpu"],
        capsys,
    )
    assert (code, "candidates cannot be compared" in err) == (2, True)


def test_a_ridge_without_its_tfidf_says_so(home: Home, tmp_path: Path) -> None:
    run = Run.load(shutil.copytree(home.runs["full"].path, tmp_path / "run"))
    for file in run.path.glob("readback/*/encoder.*"):
        file.unlink()
    moved = tmp_path / "corpus-elsewhere"
    run.card.corpus, run.card.spaces["film"].path = str(moved), str(home.place / "spaces" / "film")
    model, prompts = run.model("cpu")
    elm = vt.ELM(run, model, prompts, run.spaces())
    with pytest.raises(EvaluationError, match=r"lacks its TF-IDF encoder, which holds words of training texts"):
        elm.reranker(QUESTION, "tfidf")
