"""The folder of a run while it is trained: whose it is, its log, its best weights."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from vectalk.errors import TrainingError
from vectalk.files import read_json, whole_rows, write_json, write_jsonl, write_text
from vectalk.llm.fingerprint import fingerprint
from vectalk.model.prompt import Frame
from vectalk.reading.cards import checked
from vectalk.tasks.corpus.corpus import Corpus
from vectalk.training import checkpoint
from vectalk.training.config import StageConfig, TrainConfig
from vectalk.training.stage import Progress


class RunFolder:
    """Paths and files of a run in progress.

    Args:
        path: the folder.
        corpus: what is trained on.
        config: settings.
        llm: hub name or folder of the base LLM.
        revision: of a hub model.
        start: what tells the run that is started from.
        template: text of a chat template that replaces the LLM's, or `none` for the plain format.
    """

    def __init__(
        self,
        path: Path,
        corpus: Corpus,
        config: TrainConfig,
        llm: str,
        revision: str | None,
        start: str | None,
        template: str | None = None,
    ) -> None:
        self.path, self.corpus, self.config = path, corpus, config
        self.checkpoints = path / "checkpoints"
        self.log_path = path / "training.jsonl"
        self.identity: dict[str, Any] = {
            "corpus": hashlib.sha256((corpus.path / "corpus.json").read_bytes()).hexdigest(),
            "llm": llm,
            "revision": revision,
            "weights": fingerprint(llm),
            "config": config.model_dump(),
            "start": start,
            "template": template,
        }

    def check(self, resume: bool) -> None:
        """Refuse a folder that is not ours to write into."""
        if (self.path / "elm.json").is_file():
            raise TrainingError(f"{self.path} is a finished run; name another folder with --out, or remove it")
        if resume:
            before = _identity(self.path)
            if self.template is None:  # the run keeps its own
                self.identity["template"] = before.get("template")
            now = {**self.identity, "weights": fingerprint(str(self.identity["llm"]), like=before["weights"])}
            for key, value in json.loads(json.dumps(now)).items():
                if before.get(key) != value:
                    what = {"weights": "base LLM (its files changed)", "template": "chat template"}.get(key, key)
                    difference = "its text differs" if key == "template" else _difference(before.get(key), value)
                    raise TrainingError(
                        f"{self.path} was started with another {what} and cannot be resumed with this one: "
                        f"{difference}; give the same, or start anew in another folder"
                    )
            return
        if self.path.exists() and (self.path.is_file() or any(self.path.iterdir())):
            raise TrainingError(f"{self.path} is not empty; go on with --resume, or name another folder with --out")

    def claim(self, frame: Frame, commit: str | None) -> None:
        """Write what makes the folder ours; last of all checks, so that a run that cannot start leaves nothing.

        Args:
            frame: what the template wrote.
            commit: of a hub LLM.
        """
        write_json(self.checkpoints / "frame.json", asdict(frame))
        write_json(self.checkpoints / "identity.json", {**self.identity, "commit": commit})
        write_text(self.path / "config.yaml", self.config.dump())
        write_text(self.path / "tasks.yaml", self.corpus.suite.dump())

    @property
    def template(self) -> str | None:
        """Text of the chat template that replaces the LLM's, `none` for the plain format, or None for the LLM's own."""
        text: str | None = self.identity["template"]
        return text

    def commit(self) -> str | None:
        """Return the commit of the hub LLM that the run was started with, to go on with though its branch moved."""
        return _identity(self.path).get("commit")

    def frame(self) -> Frame:
        """Return what the template wrote when the run was started."""
        path = self.checkpoints / "frame.json"
        frame: Frame = checked(read_json(path, TrainingError), Frame, path, TrainingError)
        return frame

    def best(self, stage: int) -> Path:
        """Where the best weights of a stage are."""
        return self.checkpoints / f"best-stage{stage}.safetensors"

    def log(self, progress: Progress, **figures: float | dict[str, float]) -> None:
        """Append a line to training.jsonl."""
        row = {"stage": progress.stage, "step": progress.step, "total": progress.total, **figures}
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({**row, "seconds": round(progress.seconds, 2)}) + "\n")

    def evaluations(self, stage: int) -> list[dict[str, Any]]:
        """Return what was logged at the evaluations of a stage."""
        rows = whole_rows(self.log_path)
        found = [row for row in rows if row.get("stage") == stage and "validation_loss" in row]
        return [{"task_losses": {}, **row} for row in found]  # runs begun by an older version lack them

    def truncate_log(self, reached: Progress | None) -> None:
        """Drop what was logged after the checkpoint that is gone on from; it will be logged again."""
        last = (reached.stage, reached.step) if reached is not None else (0, 0)
        if self.log_path.exists():
            rows = whole_rows(self.log_path)
            write_jsonl(self.log_path, [row for row in rows if (row["stage"], row["step"]) <= last])

    def clean(self, stages: list[StageConfig]) -> None:
        """Remove what only serves to resume, and copies of the LLM; the adapters of a frozen stage are kept."""
        for old in checkpoint.list_checkpoints(self.checkpoints):
            shutil.rmtree(old)
        for number, stage in enumerate(stages, start=1):
            if stage.llm != "frozen":
                self.best(number).unlink(missing_ok=True)


def base_of(path: Path, revision: str | None = None) -> tuple[str | None, str | None]:
    """Return the base LLM and its revision that an unfinished run was started with; no LLM where that began with a run.

    Args:
        path: folder of the run.
        revision: one that was given, which has its way (and is compared later).
    """
    before = _identity(path)
    return (None if before["start"] else before["llm"]), revision or before["revision"]


class _Identity(BaseModel):
    """`identity.json`, as far as it is read before it is compared."""

    llm: str
    revision: str | None
    weights: str | None
    start: str | None
    template: str | None = None


def _identity(path: Path) -> dict[str, Any]:
    """Return what tells the run that was begun in a folder."""
    known = path / "checkpoints" / "identity.json"
    if not known.is_file():
        raise TrainingError(f"{path} holds no run to resume; leave --resume out to start one")
    identity = read_json(known, TrainingError)
    checked(identity, _Identity, known, TrainingError)
    return identity


def _difference(before: Any, now: Any) -> str:
    """Say in a few words where two identities differ."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *now]:
            if before.get(key) != now.get(key):
                inner = _difference(before.get(key), now.get(key))
                return f"{key}.{inner}" if isinstance(now.get(key), dict) else f"{key} {inner}"
    return f"was {before!r}, is {now!r}"
