"""What many tests share: a world of islands whose truth is known, tiny LLMs, and one small trained run."""

import os

# One thread: results are then the same in every process, and small matrices are quickest so.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ["HF_HUB_OFFLINE"] = "1"

import tempfile
from collections.abc import Callable
from pathlib import Path

# Hypothesis keeps what it knows of characters and constants outside the checkout.
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(Path(tempfile.gettempdir()) / "vectalk-hypothesis")

import pytest
from filelock import FileLock

from films import save_films
from linear_world import make_corpus
from taught import KEY
from vectalk.demo.world import World
from vectalk.evaluation.probes.facts import Facts
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus
from vectalk.training import TrainConfig
from vectalk.training.base_llm import make_base_llm, texts_of, train_tokenizer
from vectalk.training.trainer import train
from worlds import CONFIG, SHORT, chat_tokenizer, make_islands, save_llm


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of everything shared, one for all workers of pytest-xdist; tests read it and leave it as it is."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    (folder / "shared").mkdir(exist_ok=True)
    return folder / "shared"


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """Return `folder`, which the first worker that needs it makes, while others wait."""
    done = folder.with_name(f"{folder.name}.done")
    with FileLock(folder.with_name(f"{folder.name}.lock")):
        if not done.exists():
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def world() -> World:
    return World.make()


@pytest.fixture(scope="session")
def corpus(shared: Path) -> Corpus:
    """400 islands and the questions about them."""
    return Corpus.load(once(shared / "islands", make_islands) / "corpus")


@pytest.fixture(scope="session")
def islands(corpus: Corpus) -> VectorSpace:
    return corpus.spaces["island"]


@pytest.fixture(scope="session")
def tokenizer(corpus: Corpus):
    """A byte-level BPE tokenizer with an end token and no chat template."""
    return train_tokenizer((f"{question or ''}\n{target}" for question, target in texts_of(corpus, "train")), 400)


@pytest.fixture(scope="session")
def chat(tokenizer):
    """The same with a chat template and the special tokens that it takes."""
    return chat_tokenizer(tokenizer)


@pytest.fixture(scope="session")
def random_llm(shared: Path, tokenizer) -> Path:
    """The folder of a two-layer Llama that has learned nothing."""
    return once(shared / "random-llama", lambda folder: save_llm("llama", tokenizer, folder))


@pytest.fixture(scope="session")
def base_llm(corpus: Corpus, shared: Path) -> Path:
    """The folder of a small Llama that has read about islands, but seen no vector."""
    size = {"hidden": 64, "layers": 2, "vocabulary": 512}
    return once(shared / "llm", lambda out: make_base_llm(corpus, out, **size, steps=200, batch_size=32, lr=4e-3))


@pytest.fixture(scope="session")
def run(corpus: Corpus, base_llm: Path, shared: Path) -> Run:
    """A small trained run: it reads its vectors, if not well."""
    settings = TrainConfig.load(None, dict(CONFIG))
    return Run.load(once(shared / "run", lambda out: train(corpus, str(base_llm), out, settings, device="cpu")))


@pytest.fixture(scope="session")
def short_run(corpus: Corpus, random_llm: Path, shared: Path) -> Run:
    """A run of a few steps on an LLM that has learned nothing: for tests that only need answers."""
    settings = TrainConfig.load(None, dict(SHORT))
    return Run.load(once(shared / "short-run", lambda out: train(corpus, str(random_llm), out, settings, device="cpu")))


@pytest.fixture(scope="session")
def linear_corpus(shared: Path) -> Corpus:
    """600 films whose attributes are linear in the vector."""
    return Corpus.load(once(shared / "linear", make_corpus) / "corpus")


@pytest.fixture(scope="session")
def linear_facts(linear_corpus: Corpus) -> Facts:
    """Their probes with seed 0: they depend on corpus and seed alone, so each is fitted once."""
    return Facts(linear_corpus, 0)


@pytest.fixture
def openai_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A key, no endpoint but the fake one, and no waiting before a second try."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    monkeypatch.setattr("vectalk.llm.http_transport.backoff", lambda attempt: 0.001)
    monkeypatch.setattr("vectalk.llm.http_transport.TOO_MANY", 0.001)


@pytest.fixture(scope="session")
def films(shared: Path) -> VectorSpace:
    """A few films with titles and texts."""
    return VectorSpace.load(once(shared / "films", lambda folder: save_films(folder / "space")) / "space")
