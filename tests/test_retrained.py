"""Models that were trained again in the same folder: nothing that they said before comes back."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from linear_world import make_corpus
from test_text_space import Counts, rows_of, write
from vectalk.evaluation import ClientChat
from vectalk.evaluation.answers import AnswerCache
from vectalk.evaluation.text_llm import TextLLM
from vectalk.llm import open_chat
from vectalk.readback import CachedEncoder, encode_space, get_encoder
from vectalk.readback.identity import encoder_identity
from worlds import save_llm


def train(folder: Path, name: str = "model.safetensors") -> None:
    """Change all weights a little, in place."""
    weights = load_file(folder / name)
    torch.manual_seed(1)
    save_file({key: value + 0.2 * torch.randn_like(value) for key, value in weights.items()}, folder / name)


# ---- LLMs


@pytest.fixture
def llm(chat, tmp_path: Path) -> Path:
    """A random LLM with a chat template."""
    return save_llm("llama", chat, tmp_path / "llm", max_position_embeddings=512)


def ask(llm: Path, cache: Path) -> tuple[str, int]:
    """Return what an LLM says, and how many replies came from the cache."""
    with open_chat(f"hf:{llm}", {"max_reply_tokens": 8, "device": "cpu"}, cache=cache) as client:
        (reply,) = client.map(client.chat, [[{"role": "user", "content": "Tell of the sea."}]])
        return reply.text, client.meter.spending.cached


def test_a_retrained_llm_is_asked_again(llm: Path, tmp_path: Path) -> None:
    before, _ = ask(llm, tmp_path / "cache")
    assert ask(llm, tmp_path / "cache") == (before, 1)
    train(llm)
    after, cached = ask(llm, tmp_path / "cache")
    assert cached == 0
    assert after == ask(llm, tmp_path / "fresh")[0] != before


@pytest.mark.parametrize("name", ["chat_template.jinja", "generation_config.json"])
def test_what_stands_beside_the_weights_counts_too(llm: Path, tmp_path: Path, name: str) -> None:
    ask(llm, tmp_path / "cache")
    text = (llm / name).read_text()
    (llm / name).write_text(text.replace("Be brief.", "Be long.") if "Be brief." in text else text + "\n")
    assert ask(llm, tmp_path / "cache")[1] == 0


def test_an_llm_that_moved_finds_its_replies(llm: Path, tmp_path: Path) -> None:
    before, _ = ask(llm, tmp_path / "cache")
    shutil.move(llm, tmp_path / "elsewhere")
    assert ask(tmp_path / "elsewhere", tmp_path / "cache") == (before, 1)


def test_an_interrupted_evaluation_does_not_mix_two_llms(llm: Path, tmp_path: Path) -> None:
    corpus = make_corpus(tmp_path / "world", rows=60)
    task = corpus.suite.task("improve")
    examples = list(corpus.examples("test", "improve"))[:2]
    texts = []
    for number in range(2):
        with open_chat(
            f"hf:{llm}", {"max_reply_tokens": 8, "device": "cpu"}, cache=tmp_path / f"cache{number}"
        ) as client:
            told = TextLLM(
                ClientChat(client), corpus, AnswerCache(tmp_path / "answers", lambda what, done, total: None)
            )
            texts.append(told(task, examples, []))
        train(llm)
    assert texts[0] != texts[1]


# ---- text encoders


class Directions:
    """An encoder of a folder: a text's letters, turned as its weights say; all texts with an `o` alike."""

    def __init__(self, folder: Path) -> None:
        self.name = str(folder)
        self.turn = load_file(folder / "sub" / "model.safetensors")["turn"].numpy()

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        rows = [np.eye(4)[0] if "o" in text else np.eye(4)[len(text) % 3 + 1] @ self.turn for text in texts]
        return np.array(rows, np.float32)


@pytest.fixture
def encoder(tmp_path: Path) -> Path:
    folder = tmp_path / "encoder"
    (folder / "sub").mkdir(parents=True)
    save_file({"turn": torch.eye(4)}, folder / "sub" / "model.safetensors")
    return folder


def retrain(encoder: Path) -> None:
    file = encoder / "sub" / "model.safetensors"
    save_file({"turn": torch.eye(4).roll(1, 0)}, file)
    os.utime(file, (file.stat().st_atime, file.stat().st_mtime + 1))  # no training takes less than a clock's tick


def test_a_retrained_encoder_finds_no_old_embeddings(encoder: Path, tmp_path: Path) -> None:
    texts = ["a sea", "war", "islands"]
    before = CachedEncoder(Directions(encoder), tmp_path / "kept").encode(texts)
    retrain(encoder)  # the sample by which encoders are told apart is encoded as before
    after = CachedEncoder(Directions(encoder), tmp_path / "kept").encode(texts)
    np.testing.assert_array_equal(after, Directions(encoder).encode(texts))
    assert not np.array_equal(after, before)


def test_a_retrained_encoder_is_opened_anew(encoder: Path) -> None:
    before = get_encoder(str(encoder))
    assert get_encoder(str(encoder)) is before
    retrain(encoder)
    assert get_encoder(str(encoder)) is not before
    assert encoder_identity("minilm") == "minilm"


def test_a_space_is_not_made_by_two_encoders(encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vectalk.readback.text_space.BLOCK", 16)
    counts = Counts()
    monkeypatch.setattr("vectalk.readback.text_space.get_encoder", lambda name: counts)
    source = write(tmp_path / "films.jsonl.gz", rows_of(50))
    counts.die_after = 2
    with pytest.raises(KeyboardInterrupt):
        encode_space(source, tmp_path / "films", name="film", encoder=str(encoder), text="plot")
    retrain(encoder)
    counts.die_after, counts.asked = 10**9, []
    encode_space(source, tmp_path / "films", name="film", encoder=str(encoder), text="plot")
    assert sum(map(len, counts.asked)) == 50
