"""What an evaluation measures, and the folder that it may write to."""

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
BESIDE = (*CURVES, "ratings.json")  # other verbs may write here too


@dataclass(frozen=True)
class Settings:
    """What is measured, and how.

    Attributes:
        tasks: names of tasks; all of the corpus when None.
        limit: test examples of each task at most.
        encoder: text encoder of the read-back: `tfidf`, `minilm`, or a sentence transformer. When None, the one that
            made the spaces, where one did, else `tfidf`.
        trust_encoder: take the one that made the spaces also where vectalk does not know it.
        same_encoder: the encoder made the spaces' vectors itself; consistency is then the plain cosine. When None, the
            spaces say so.
        conditions: what to compare with; `elm` and what normalised consistency is relative to always take part.
        ratings: where ratings are (see `find_ratings`); looked for beside the spaces when None.
        readback_texts: training references of a task that a read-back is fitted on at most.
        seed: decides samples, permutations, probes and resamples.
        max_new_tokens: longest answer.
        repetition_penalty: see `Decoding`; the default of the run when None.
        no_repeat_ngram_size: see `Decoding`; the default of the run when None.
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
            raise EvaluationError(f"unknown conditions {', '.join(unknown)}; there are {', '.join(ALL)}")
        if self.limit is not None and self.limit < 2:
            raise EvaluationError(f"the limit must be at least 2 test examples a task, not {self.limit}")
        if self.readback_texts < 50:
            raise EvaluationError(f"a read-back needs at least 50 texts, not {self.readback_texts}")

    @classmethod
    def make(cls, **given: Any) -> Settings:
        """Make settings of keyword arguments; lists do instead of tuples."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(given) - set(known))
        if unknown:
            raise EvaluationError(f"unknown setting {unknown[0]!r}; there are {', '.join(known)}")
        plain: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return cls(**plain)

    def encoded_by(self, spaces: Mapping[str, VectorSpace]) -> tuple[str, bool]:
        """Return the encoder of spaces, and whether it made their vectors.

        Raises:
            EvaluationError: the spaces name one that vectalk does not know, and nobody asked for it.
        """
        maker = made_by(spaces)
        if self.encoder is None and maker is not None:
            check_named(maker, f"the card of space {next(iter(spaces))!r}", self.trust_encoder)
        encoder = self.encoder or maker or "tfidf"
        same = full_name(encoder) == maker if self.same_encoder is None else self.same_encoder
        if same and encoder == "tfidf":
            raise EvaluationError(
                "`tfidf` is fitted to texts here, so it cannot have made a space; name the encoder that did"
            )
        return encoder, same

    @property
    def chosen(self) -> list[str]:
        """The conditions that take part, in their order."""
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
    """Make a folder ready for an evaluation, or for going on with an interrupted one of the same identity.

    What is replaced stays until the new evaluation is whole; until then, `started.json` says that one is under way.

    Args:
        out: the folder.
        identity: tells run and corpus from any other.
        overwrite: whether another evaluation there may be replaced.

    Raises:
        EvaluationError: something is in the way.
    """
    there = {path.name for path in out.iterdir()} - set(BESIDE) if out.is_dir() else set()
    there -= {name for name in there if name.startswith(".") and ".tmp" in name}  # left by a process that was killed
    if out.is_file() or not there <= set(FILES):
        odd = ", ".join(sorted(there - set(FILES))[:3]) or "a file"
        raise EvaluationError(f"{out} is not the folder of an evaluation (it holds {odd}); name another with --out")
    interrupted = STARTED in there
    if interrupted and read_json(out / STARTED) == identity and not overwrite:
        return
    if there and not overwrite:
        what = "an interrupted evaluation of another run or corpus" if interrupted else "an evaluation"
        raise EvaluationError(f"{out} holds {what}; name another folder with --out, or replace it with --overwrite")
    write_json(out / STARTED, dict(identity))
    (out / PARTIAL).unlink(missing_ok=True)  # answers of the other one
