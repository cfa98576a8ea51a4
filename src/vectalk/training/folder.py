"""The folder of a run during training: its identity, its log, its best weights."""

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
        corpus: the training corpus.
        config: settings.
        llm: hub name or folder of the base LLM.
        revision: branch, tag or commit of an LLM on the hub.
        start: hash of the run that training starts from (see `start.identity_of`); None without one.
        template: text of a chat template that replaces that of the LLM, or `none` for the plain format.
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
        self.seconds: tuple[float, float] | None = None  # longest time in steps until the end of each stage
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
        """Check that training may write into the folder.

        Args:
            resume: whether to resume the run in the folder.

        Raises:
            TrainingError: the folder is a finished run, is not empty, or was started with other settings.
        """
        if (self.path / "elm.json").is_file():
            raise TrainingError(f"{self.path} is a finished run; name another folder with --out, or delete this one")
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
                        f"{difference}; use the same one, or start again in another folder"
                    )
            return
        if self.path.exists() and (self.path.is_file() or any(self.path.iterdir())):
            raise TrainingError(f"{self.path} is not empty; resume with --resume, or name another folder with --out")

    def claim(self, frame: Frame, commit: str | None) -> None:
        """Write identity and settings; call it after all checks, so that a run that cannot start leaves no files.

        Args:
            frame: text of the template around question and answer.
            commit: commit of an LLM on the hub; None for a folder.
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
        """Return the commit of the hub LLM at the start of the run; resuming uses it even if the branch has moved."""
        return _identity(self.path).get("commit")

    def frame(self) -> Frame:
        """Return the frame that was written when the run started."""
        path = self.checkpoints / "frame.json"
        frame: Frame = checked(read_json(path, TrainingError), Frame, path, TrainingError)
        return frame

    def best(self, stage: int) -> Path:
        """Return the file of the best weights of a stage."""
        return self.checkpoints / f"best-stage{stage}.safetensors"

    def log(self, progress: Progress, **figures: float | dict[str, float]) -> None:
        """Append a line to training.jsonl."""
        row = {"stage": progress.stage, "step": progress.step, "total": progress.total, **figures}
        with self.log_path.open("a", encoding="utf-8") as log:
            log.write(json.dumps({**row, "seconds": round(progress.seconds, 2)}) + "\n")

    def evaluations(self, stage: int) -> list[dict[str, Any]]:
        """Return the log rows of the evaluations of a stage."""
        rows = whole_rows(self.log_path)
        evaluations = [row for row in rows if row.get("stage") == stage and "validation_loss" in row]
        return [{"task_losses": {}, **row} for row in evaluations]  # older versions did not log them

    def truncate_log(self, reached: Progress | None) -> None:
        """Delete log rows after the checkpoint that training resumes from; these steps will be logged again."""
        last = (reached.stage, reached.step) if reached is not None else (0, 0)
        if self.log_path.exists():
            rows = whole_rows(self.log_path)
            write_jsonl(self.log_path, [row for row in rows if (row["stage"], row["step"]) <= last])

    def clean(self, stages: list[StageConfig]) -> None:
        """Delete checkpoints and copies of the LLM; the best adapters of a stage with a frozen LLM stay."""
        for old in checkpoint.list_checkpoints(self.checkpoints):
            shutil.rmtree(old)
        for number, stage in enumerate(stages, start=1):
            if stage.llm != "frozen":
                self.best(number).unlink(missing_ok=True)


def base_of(path: Path, revision: str | None = None) -> tuple[str | None, str | None]:
    """Return base LLM and revision of an unfinished run; the LLM is None if the run itself started from another run.

    Args:
        path: folder of the run.
        revision: revision from the user, which takes precedence (`RunFolder.check` compares it later).
    """
    before = _identity(path)
    return (None if before["start"] else before["llm"]), revision or before["revision"]


class _Identity(BaseModel):
    """The fields of `identity.json` that are read before the comparison."""

    llm: str
    revision: str | None
    weights: str | None
    start: str | None
    template: str | None = None


def _identity(path: Path) -> dict[str, Any]:
    """Return the identity of the unfinished run in a folder."""
    file = path / "checkpoints" / "identity.json"
    if not file.is_file():
        raise TrainingError(f"{path} has no run to resume; leave out --resume to start one")
    identity = read_json(file, TrainingError)
    checked(identity, _Identity, file, TrainingError)
    return identity


def _difference(before: Any, now: Any) -> str:
    """Return a short text about the first difference between two identities."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *now]:
            if before.get(key) != now.get(key):
                inner = _difference(before.get(key), now.get(key))
                return f"{key}.{inner}" if isinstance(now.get(key), dict) else f"{key} {inner}"
    return f"was {before!r}, is {now!r}"
