"""The read-back: a frozen map from text to vectors, fitted on reference texts of training entities."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict
from safetensors.numpy import save_file

from vectalk.errors import EvaluationError
from vectalk.files import atomic_file, write_json
from vectalk.readback.encoder import TextEncoder, TfidfEncoder, get_encoder, named_encoder
from vectalk.readback.ridge import FOLDS, fit_ridge
from vectalk.reading.arrays import read_tensors
from vectalk.reading.cards import read_card, stamp
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import evaluate as evaluate_expression
from vectalk.space.geometry import lerp
from vectalk.space.split import TRAIN
from vectalk.tasks.corpus.corpus import Example

FORMAT = 1
_LERP = re.compile(r"lerp\(\s*(?P<a>\w+)\s*,\s*(?P<b>\w+)\s*,\s*(?P<t>[0-9.]+)\s*\)")
MOST_TEXTS = 6_000  # a sentence encoder reads about 90 texts a second on one core, and a ridge needs no more texts


def about_vectors(examples: Sequence[Example], about: str | None, space: VectorSpace) -> np.ndarray:
    """Return the vectors [n, D] that examples are about.

    Args:
        examples: their slots all lie in `space`.
        about: expression over the slots; the only slot, when None.
        space: the space.

    Raises:
        EvaluationError: the slots lie in several spaces, or there is no single slot to take.
    """
    names = {name for example in examples for name, _ in example.slots.values()}
    if len(names) > 1:
        raise EvaluationError(f"the examples lie in several spaces ({', '.join(sorted(names))}), not in one")
    if not examples:
        return np.zeros((0, space.dim), np.float32)
    if about is None and len(examples[0].slots) > 1:
        raise EvaluationError(f"task {examples[0].task!r} has several slots and no `about`: there is no one vector")
    vectors = {
        slot: np.asarray(space.vectors[[example.slots[slot][1] for example in examples]], np.float32)
        for slot in examples[0].slots
    }
    about = about or next(iter(vectors))
    if about in vectors:  # the common cases, without the parser
        return vectors[about]
    blend = _LERP.fullmatch(about)
    if blend is not None and {blend["a"], blend["b"]} <= set(vectors):
        return lerp(vectors[blend["a"]], vectors[blend["b"]], float(blend["t"])).astype(np.float32)
    points = [{slot: space[row] for slot, (_, row) in example.slots.items()} for example in examples]
    return np.stack([evaluate_expression(about, space, names=slots).values for slots in points])


class ReadBack:
    """Ridge regression from a text's embedding to a vector of a space; make one with `fit`.

    A reference text of the fit is mapped by the ridge that was fitted without the fold of its entity: otherwise
    overfitting would favour copied texts. (A loaded read-back does not know these texts any more.)

    Attributes:
        space: the space.
        encoder: the frozen text encoder.
        about: the expression whose vector is predicted; None for the entity itself.
        centre: [D] mean that is subtracted before consistency is measured.
        strength: the ridge's strength, by cross-validation over entities.
        r2: share of the variance of validation entities that their reference texts explain; None without such
            texts.
    """

    def __init__(
        self,
        space: VectorSpace,
        encoder: TextEncoder,
        weight: np.ndarray,
        bias: np.ndarray,
        *,
        about: str | None = None,
        strength: float = 0.0,
        r2: float | None = None,
    ) -> None:
        self.space, self.encoder, self.about, self.strength, self.r2 = space, encoder, about, strength, r2
        self._weight, self._bias = weight, bias
        self._fold: dict[str, int] = {}  # of each reference text of the entities that it was fitted on
        self._without: list[tuple[np.ndarray, np.ndarray]] = []
        self.centre = space.normalizer.mean

    @classmethod
    def fit(
        cls,
        space: VectorSpace,
        examples: Sequence[Example],
        encoder: str | TextEncoder = "tfidf",
        *,
        about: str | None = None,
        validation: Sequence[Example] = (),
        most_texts: int = MOST_TEXTS,
        seed: int = 0,
    ) -> ReadBack:
        """Fit on reference texts of training entities, several texts an entity allowed.

        Args:
            space: the space to read back into.
            examples: training examples of a corpus: never generated texts, else generator and read-back
                could agree on a private code.
            encoder: an encoder or its name.
            about: the expression whose vector the texts describe.
            validation: examples of validation entities, for `r2`.
            most_texts: largest number of texts in the fit.
            seed: seed of the choice of texts and of the folds.

        Raises:
            EvaluationError: an example is not a training example, or there are too few.
        """
        _check_training(space, examples)
        all_examples, examples = examples, sampled(examples, most_texts, seed)
        texts = [example.target for example in examples]
        groups = np.array([_entity(example) for example in examples])
        entities = len(np.unique(groups))
        if entities < 2 * FOLDS:
            raise EvaluationError(f"reference texts of {entities} training entities are too few for a read-back")
        encoder = get_encoder(encoder) if isinstance(encoder, str) else encoder
        if isinstance(encoder, TfidfEncoder) and not encoder.fitted:
            encoder.fit(texts, seed=seed)
        vectors = about_vectors(examples, about, space) - space.normalizer.mean
        ridge = fit_ridge(encoder.encode(texts), vectors, groups, seed=seed, crossed=True)
        centre = space.normalizer.mean
        readback = cls(space, encoder, ridge.weight, ridge.bias + centre, about=about, strength=ridge.strength)
        fold = dict(zip(groups.tolist(), ridge.fold.tolist(), strict=True))
        for example in all_examples:
            if (entity := _entity(example)) in fold:
                readback._fold.setdefault(example.target, fold[entity])
        readback._without = [(weight, bias + centre) for weight, bias in ridge.without]
        readback.r2 = readback.score(validation) if validation else None
        return readback

    def score(self, examples: Sequence[Example]) -> float:
        """Return R2 on examples: the share of their variance that is predicted."""
        true = about_vectors(examples, self.about, self.space)
        error = np.square(self([example.target for example in examples]) - true).sum()
        return float(1.0 - error / max(float(np.square(true - true.mean(0)).sum()), 1e-12))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return the predicted vectors [N, D] of texts."""
        embedded = self.encoder.encode(texts)
        vectors = embedded @ self._weight + self._bias
        folds = np.array([self._fold.get(text, -1) for text in texts])
        for fold, (weight, bias) in enumerate(self._without):
            vectors[folds == fold] = embedded[folds == fold] @ weight + bias
        return vectors

    def point(self, text: str) -> Point:
        """Return the predicted point of a text."""
        return Point(self([text])[0], self.space, f"text({text!r})")

    def locate(self, text: str, k: int = 10) -> tuple[np.ndarray, np.ndarray]:
        """Return rows and similarities [k] of the entities nearest to the predicted point of a text."""
        return self.space.neighbors(self.point(text), k)

    def save(self, folder: str | Path) -> None:
        """Write the read-back, and a fitted encoder, into a folder."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(self.encoder, TfidfEncoder):
            self.encoder.save(folder)
        with atomic_file(folder / "readback.safetensors") as temporary:
            save_file({"weight": self._weight, "bias": self._bias}, temporary)
        write_json(
            folder / "readback.json",
            {
                **stamp(FORMAT),
                "encoder": self.encoder.name,
                "space": self.space.name,
                "fingerprint": self.space.fingerprint,
                "about": self.about,
                "strength": self.strength,
                "r2": self.r2,
            },
        )

    @classmethod
    def load(cls, folder: str | Path, space: VectorSpace, trust_encoder: bool = False) -> ReadBack:
        """Open a saved read-back.

        Args:
            folder: folder of the read-back.
            space: the space of the predicted vectors.
            trust_encoder: load the encoder that it names even if vectalk does not know it.

        Raises:
            EvaluationError: it was fitted on another space, is not whole, a newer version wrote it, or its encoder is
                not there or not known.
        """
        folder = Path(folder)
        card: _Card = read_card(folder / "readback.json", FORMAT, _Card, EvaluationError)
        if card.fingerprint != space.fingerprint:
            raise EvaluationError(
                f"{folder} reads back into space {card.space!r} of fingerprint {card.fingerprint[:12]}, "
                f"not into {space.name!r} of {space.fingerprint[:12]}; fit it again on this space"
            )
        shapes = {"weight": (None, space.dim), "bias": (space.dim,)}
        tensors = read_tensors(folder / "readback.safetensors", shapes, EvaluationError)
        encoder = (
            _own_encoder(folder, len(tensors["weight"]))
            if card.encoder == "tfidf"
            else named_encoder(card.encoder, f"read-back {folder}", trust_encoder)
        )
        weight, bias = tensors["weight"], tensors["bias"]
        return cls(space, encoder, weight, bias, about=card.about, strength=card.strength, r2=card.r2)


class SameEncoder:
    """The read-back of a space that the encoder made: the embedding itself, without a fit.

    Attributes: as of `ReadBack`; `centre` is zero, `r2` has no meaning and is None.
    """

    def __init__(self, space: VectorSpace, encoder: str | TextEncoder) -> None:
        self.space = space
        self.encoder = get_encoder(encoder) if isinstance(encoder, str) else encoder
        self.centre = np.zeros(space.dim, np.float32)
        self.strength, self.r2 = 0.0, None

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Return the embeddings [N, D] of texts."""
        embeddings = self.encoder.encode(texts)
        if embeddings.shape[1] != self.space.dim:
            raise EvaluationError(
                f"encoder {self.encoder.name!r} gives {embeddings.shape[1]} dimensions, space {self.space.name!r} "
                f"has {self.space.dim}: it did not make this space; omit --same-encoder"
            )
        return embeddings


class _Card(BaseModel):
    """`readback.json`."""

    model_config = ConfigDict(allow_inf_nan=False)

    encoder: str
    space: str
    fingerprint: str
    about: str | None
    strength: float
    r2: float | None


def _own_encoder(folder: Path, width: int) -> TfidfEncoder:
    """Open the encoder that was fitted with a read-back of so many inputs."""
    if not (folder / "encoder.json").is_file():
        raise EvaluationError(
            f"{folder} lacks its TF-IDF encoder, which holds words of training texts and is never shared; fit the "
            "read-back again, or take a sentence encoder such as `minilm`"
        )
    try:
        encoder = TfidfEncoder.load(folder)
        size = encoder.encode([""]).shape[1]
    except EvaluationError:
        raise
    except Exception as error:  # its files are read by several libraries
        raise EvaluationError(f"{folder} holds no whole encoder: {error!r}; fit the read-back again") from None
    if size != width:
        raise EvaluationError(f"{folder}: the encoder gives {size} numbers, the read-back takes {width}; fit it again")
    return encoder


def sampled(examples: Sequence[Example], most: int, seed: int) -> list[Example]:
    """Return at most so many examples, drawn at random and in their order."""
    if len(examples) <= most:
        return list(examples)
    return [examples[i] for i in np.sort(np.random.default_rng(seed).permutation(len(examples))[:most])]


def _entity(example: Example) -> int:
    """Return the row of the first entity of an example: its texts are left out together."""
    return next(iter(example.slots.values()))[1]


def _check_training(space: VectorSpace, examples: Sequence[Example]) -> None:
    train = set(space.rows(TRAIN).tolist())
    for example in examples:
        rows = [row for _, row in example.slots.values()]
        if example.split != TRAIN or not train.issuperset(rows):
            raise EvaluationError(
                f"a read-back is fitted on training examples only; one of task {example.task!r} about rows "
                f"{rows} of space {space.name!r} is of split {example.split!r}"
            )
