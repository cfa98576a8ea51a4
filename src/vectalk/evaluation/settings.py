"""The settings of an evaluation, and the folder that the evaluation writes to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from vectalk.errors import EvaluationError
from vectalk.evaluation.conditions import ALL, CONDITIONS, REQUIRED
from vectalk.files import read_json, write_json
from vectalk.readback import made_by
from vectalk.readback.encoder import check_named, full_name
from vectalk.readback.readback import MOST_TEXTS
from vectalk.space import VectorSpace

STARTED, PARTIAL = "started.json", "answers.partial.jsonl"
RESULTS = ("metrics.jsonl", "answers.jsonl", "config.json", "map.json", "report.html")
FILES = (*RESULTS, STARTED, PARTIAL, "questions.partial.jsonl")
CURVES = ("curves.jsonl", "curves.json", "curves.html", "curves.partial.jsonl", "curves_answers.jsonl")
BESIDE = (*CURVES, "ratings.json")  # other verbs also write to this folder


@dataclass(frozen=True)
class Settings:
    """What an evaluation measures, and how.

    Attributes:
        tasks: names of the tasks; None means all tasks of the corpus.
        limit: most test examples of each task; None means all.
        encoder: text encoder of the read-back: `tfidf`, `minilm`, or a sentence transformer. None means the encoder
            that created the vectors of the spaces if a text encoder did, else `tfidf`.
        trust_encoder: also load the encoder that the spaces name if vectalk does not know that encoder.
        same_encoder: True if the encoder itself created the vectors of the spaces. Consistency is then the plain
            cosine, without a read-back map. None means that the cards of the spaces decide.
        conditions: the controls and baselines; `elm`, `shuffled` and `own_text` always take part, because normalised
            consistency needs them.
        ratings: path of the ratings (see `find_ratings`); None means the folder of the spaces.
        readback_texts: most training references of a task for the fit of a read-back.
        seed: seed of samples, permutations, probes and resamples.
        max_new_tokens: longest answer, in tokens.
        repetition_penalty: see `Decoding`; None means the default of the run.
        no_repeat_ngram_size: see `Decoding`; None means the default of the run.
    """

    tasks: tuple[str, ...] | None = None
    limit: int | None = None
    encoder: str | None = None
    trust_encoder: bool = False
    same_encoder: bool | None = None
    conditions: tuple[str, ...] = CONDITIONS
    ratings: str | None = None
    readback_texts: int = MOST_TEXTS
    seed: int = 0
    max_new_tokens: int = 160
    repetition_penalty: float | None = None
    no_repeat_ngram_size: int | None = None

    def __post_init__(self) -> None:
        unknown = sorted(set(self.conditions) - set(ALL))
        if unknown:
            raise EvaluationError(f"unknown conditions {', '.join(unknown)}; allowed are {', '.join(ALL)}")
        if self.limit is not None and self.limit < 2:
            raise EvaluationError(f"the limit must be at least 2 test examples of each task, not {self.limit}")
        if self.readback_texts < 50:
            raise EvaluationError(f"readback_texts is {self.readback_texts}; a read-back needs at least 50 texts")

    @classmethod
    def make(cls, **options: Any) -> Settings:
        """Create settings from keyword arguments; lists are converted to tuples.

        Raises:
            EvaluationError: a setting is unknown, or its value is not allowed.
        """
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(options) - set(known))
        if unknown:
            raise EvaluationError(f"unknown setting {unknown[0]!r}; allowed are {', '.join(known)}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
        return cls(**plain)

    def encoded_by(self, spaces: Mapping[str, VectorSpace]) -> tuple[str, bool]:
        """Return the encoder to use for some spaces, and whether this encoder created the vectors of the spaces.

        Raises:
            EvaluationError: the spaces name an encoder that vectalk does not know, and the settings neither name an
                encoder nor trust that one; or `tfidf` cannot have created the vectors.
        """
        maker = made_by(spaces)
        if self.encoder is None and maker is not None:
            check_named(maker, f"the card of space {next(iter(spaces))!r}", self.trust_encoder)
        encoder = self.encoder or maker or "tfidf"
        same = full_name(encoder) == maker if self.same_encoder is None else self.same_encoder
        if same and encoder == "tfidf":
            raise EvaluationError(
                "`tfidf` is fitted to the texts of this corpus, so it cannot have created the vectors of a space; "
                "name the encoder that did"
            )
        return encoder, same

    @property
    def chosen(self) -> list[str]:
        """The conditions that take part, with the required ones, in their fixed order."""
        return [name for name in ALL if name in {*self.conditions, *REQUIRED}]

    @property
    def decoding(self) -> dict[str, Any]:
        """The settings of decoding, without those that are left to the run."""
        names = ("max_new_tokens", "repetition_penalty", "no_repeat_ngram_size")
        return {name: value for name in names if (value := getattr(self, name)) is not None}

    def plain(self) -> dict[str, Any]:
        """Return the settings for JSON."""
        return {**asdict(self), "conditions": self.chosen}


def claim(out: Path, identity: Mapping[str, str], overwrite: bool) -> None:
    """Prepare a folder for a new evaluation, or for resuming an interrupted one of the same run and corpus.

    The files of an older evaluation stay until the new one is complete. Until then, `started.json` marks the folder
    as unfinished.

    Args:
        out: the folder.
        identity: strings that identify the run and the corpus.
        overwrite: whether another evaluation in the folder may be replaced.

    Raises:
        EvaluationError: the folder already holds another evaluation, or something else.
    """
    there = {path.name for path in out.iterdir()} - set(BESIDE) if out.is_dir() else set()
    there -= {name for name in there if name.startswith(".") and ".tmp" in name}  # left by a process that was killed
    if out.is_file() or not there <= set(FILES):
        odd = ", ".join(sorted(there - set(FILES))[:3]) or "a file"
        raise EvaluationError(
            f"{out} is not the folder of an evaluation (it holds {odd}); name another folder with --out"
        )
    interrupted = STARTED in there
    if interrupted and read_json(out / STARTED) == identity and not overwrite:
        return
    if there and not overwrite:
        what = "an interrupted evaluation of another run or corpus" if interrupted else "an evaluation"
        raise EvaluationError(f"{out} holds {what}; name another folder with --out, or replace it with --overwrite")
    write_json(out / STARTED, dict(identity))
    (out / PARTIAL).unlink(missing_ok=True)  # these answers belong to the other evaluation
