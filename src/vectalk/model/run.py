"""A run: the folder that training leaves, and everything that is needed to talk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors.torch import load_file

from vectalk.errors import RunError
from vectalk.files import write_json
from vectalk.hub_address import HubAddress, local_folder
from vectalk.llm.fingerprint import fingerprint
from vectalk.llm.loading import LanguageModel, load_llm, pick_device
from vectalk.llm.location import locate_llm
from vectalk.llm.quiet import hushed
from vectalk.llm.weights import check_weights
from vectalk.model.adapter import ElmAdapter, open_adapter
from vectalk.model.elm_model import ElmModel
from vectalk.model.prompt import Frame, PromptFormat
from vectalk.model.run_files import RUN_FILES
from vectalk.reading.cards import read_card
from vectalk.reading.fields import FolderName, PathText
from vectalk.reading.yaml_text import read_yaml
from vectalk.space import VectorSpace
from vectalk.tasks.corpus.corpus import open_space
from vectalk.tasks.suite import Suite

FORMAT = 1


class LlmCard(BaseModel):
    """Which LLM a run was trained on, and what was trained of it: `frozen`, `lora` or `full`.

    `dtype` is the type of the base LLM's weights as they are saved, where that is known.
    """

    model_config = ConfigDict(extra="forbid")

    name: PathText
    revision: str | None = None
    trained: Literal["frozen", "lora", "full"] = "frozen"
    hidden_size: int = Field(ge=1)
    fingerprint: str | None = None
    dtype: str | None = None

    @field_validator("dtype")
    @classmethod
    def _is_a_type(cls, name: str | None) -> str | None:
        if name is not None and not isinstance(getattr(torch, name, None), torch.dtype):
            raise ValueError(f"{name!r} is no type of torch")
        return name


class SpaceCard(BaseModel):
    """Which space an adapter belongs to; the path is relative to the run's folder.

    `adapter` names the space under whose name the adapter is saved, where several share it.
    """

    model_config = ConfigDict(extra="forbid")

    path: PathText
    fingerprint: str
    split_hash: str
    dim: int = Field(ge=1)
    soft_tokens: int = Field(ge=1)
    adapter: FolderName | None = None


class FrameCard(BaseModel):
    """What the template wrote around question and answer (see `Frame`)."""

    model_config = ConfigDict(extra="forbid")

    before: str
    after: str
    end: str


class RunCard(BaseModel):
    """`elm.json`."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    llm: LlmCard
    spaces: dict[FolderName, SpaceCard] = Field(min_length=1)
    template: str
    template_hash: str
    frame: FrameCard
    corpus: PathText
    versions: dict[str, str]


class Run:
    """A run folder. Attributes: `path`, `card`."""

    def __init__(self, path: Path, card: RunCard) -> None:
        self.path, self.card = path, card

    @classmethod
    def load(cls, path: str | Path, revision: str | None = None) -> Run:
        """Open a finished run.

        Args:
            path: its folder, or `hf://owner/name` on the hub, from where the files of a run are fetched and no others.
            revision: branch, tag or commit of a run on the hub.

        Raises:
            RunError: the folder is not a run, training has not finished, a newer version wrote it, or the hub does not
                give it.
        """
        folder = local_folder(path, RUN_FILES, RunError, revision)
        if not (folder / "elm.json").is_file():
            if (folder / "checkpoints").is_dir():
                raise RunError(
                    f"{folder} is a run that has not finished; go on with `vectalk train ... --out {folder} --resume`"
                )
            found = "no such folder" if not folder.exists() else "it has no elm.json"
            raise RunError(
                f"{folder} is not a run ({found}); make one with `vectalk train`, or name one on the hub as "
                "hf://owner/name"
            )
        return cls(folder, read_card(folder / "elm.json", FORMAT, RunCard, RunError))

    @property
    def suite(self) -> Suite:
        """The tasks that the run was trained on."""
        return Suite.load(self.path / "tasks.yaml")

    @property
    def config(self) -> dict[str, Any]:
        """The resolved settings of training."""
        path = self.path / "config.yaml"
        values = read_yaml(path, RunError)
        if not isinstance(values, dict) or not isinstance(values.get("dtype", "auto"), str):
            raise RunError(f"{path} is malformed: it must map settings to values, `dtype` to the name of a type")
        return values

    @property
    def corpus_path(self) -> Path:
        """Where the corpus was."""
        return (self.path / self.card.corpus).resolve()

    def spaces(self, overrides: Mapping[str, str | Path] | None = None) -> dict[str, VectorSpace]:
        """Open the spaces.

        Args:
            overrides: folders for spaces that moved, by name.

        Raises:
            RunError: a space is not the one that the run was trained on.
        """
        unknown = set(overrides or {}) - set(self.card.spaces)
        if unknown:
            raise RunError(f"run {self.path} has no space {unknown.pop()!r}; it has {', '.join(self.card.spaces)}")
        opened = {}
        for name, card in self.card.spaces.items():
            place = Path((overrides or {}).get(name) or self.path / card.path)
            space = open_space(
                name, place, card.fingerprint, card.split_hash, f"run {self.path}", dim=card.dim, error=RunError
            )
            space.name = name  # within the run a space is called as its slots are, whatever it was called when made
            opened[name] = space
        return opened

    def model(
        self, device: str = "auto", llm: str | None = None, *, stage: Literal[1] | None = None, merged: bool = False
    ) -> tuple[ElmModel, PromptFormat]:
        """Load the LLM with what was trained of it, and the adapters.

        Args:
            device: where they live.
            llm: another place of the base LLM, where it moved: a folder, or `owner/name` on the hub.
            stage: 1 for the model as the first stage left it: the untouched LLM with the adapters of that time.
            merged: add a low-rank update into the LLM's own weights.

        Raises:
            RunError: the run keeps no first stage, or does not fit the LLM.
        """
        first = self._first_stage() if stage == 1 else None
        trained = self.card.llm.trained if first is None else "frozen"
        if llm is not None and trained == "full":
            raise RunError(f"run {self.path} holds an LLM of its own, trained whole; leave --llm away")
        card, dtype = self.card.llm, self.config.get("dtype", "auto")
        if trained == "full" and dtype == "auto" and card.dtype is not None and pick_device(device).type != "cpu":
            dtype = card.dtype  # it was trained in float32, and is saved so
        base, revision = (str(self._part("llm")), None) if trained == "full" else self.base(llm)
        language = load_llm(base, revision=revision, device=device, dtype=dtype)
        if language.hidden_size != card.hidden_size:
            raise RunError(
                f"run {self.path} was trained on an LLM of width {card.hidden_size}, {base} has {language.hidden_size}"
            )
        if trained != "full":
            self.check_llm(language)
        with hushed():
            if trained == "lora":
                from peft import PeftModel

                update = self._part("lora")
                check_weights(update, f"run {self.path}", RunError)
                peft: Any = PeftModel.from_pretrained(language.model, str(update))  # its layers come into it
                if merged:
                    language.model = peft.merge_and_unload()
            owners = {name: space.adapter or name for name, space in self.card.spaces.items()}
            saved = {name: open_adapter(self.path / "adapters" / name) for name in set(owners.values())}
            adapters = {name: saved[owner] for name, owner in owners.items()}
        for name, adapter in adapters.items():
            self._check_adapter(name, adapter)
        model = ElmModel(language, adapters).eval()
        if first is not None:
            _load_adapters(model, first)
        soft_tokens = {name: space.soft_tokens for name, space in self.card.spaces.items()}
        frame = Frame(**self.card.frame.model_dump())
        return model, PromptFormat(language.tokenizer, soft_tokens, self.card.template, frame)

    def _part(self, name: str) -> Path:
        """Return a folder of the run; a library that is given one that is not there takes it for a name on the hub."""
        folder = self.path / name
        if not folder.is_dir():
            raise RunError(f"run {self.path} is not whole: it has no folder {name}; train it or fetch it again")
        return folder

    def base(self, llm: str | None = None) -> tuple[str, str | None]:
        """Return where the base LLM is, and which commit of it, where it is on the hub.

        Args:
            llm: another place that was given, where it moved.

        Raises:
            RunError: it is a folder of this machine, and not there.
        """
        card = self.card.llm
        if llm is not None:
            address = None if Path(llm).expanduser().exists() else HubAddress.of_model(llm)
            same = address is not None and address == HubAddress(card.name)
            return llm, card.revision if same else None  # a commit is one of its own repository alone
        if card.revision is not None:
            return card.name, card.revision
        folder = self.path / card.name
        if not folder.exists():
            raise RunError(
                f"run {self.path} looks for its base LLM at {folder}, where nothing is: one of the two moved; name the "
                "LLM's folder with --llm"
            )
        return str(folder), None

    def check_llm(self, language: LanguageModel) -> None:
        """Refuse another base LLM than the one that the run was trained on; old runs do not know which that was.

        Raises:
            RunError: its weights are others.
        """
        known = self.card.llm.fingerprint
        if known in (None, language.fingerprint):
            return
        place = locate_llm(language.name, language.revision).place
        if fingerprint(str(place), like=known) != known:
            raise RunError(
                f"the base LLM in {language.name} is not the one that run {self.path} was trained on: its weights "
                "changed, or it is another LLM; put the old ones back, name their place with --llm, or train again"
            )

    def _check_adapter(self, name: str, adapter: ElmAdapter) -> None:
        """Raise a RunError where an adapter is of another shape than the card says."""
        card, shape = self.card.spaces[name], adapter.config
        said = (card.dim, card.soft_tokens, self.card.llm.hidden_size)
        if name not in shape.spaces or said != (shape.vector_dim, shape.soft_tokens, shape.llm_hidden_size):
            raise RunError(
                f"run {self.path}: the adapter of space {name!r} is another than elm.json says: dimension, soft "
                f"tokens and width of the LLM are {said} there, and {shape.vector_dim}, {shape.soft_tokens}, "
                f"{shape.llm_hidden_size} in the adapter of {', '.join(shape.spaces)}"
            )

    def _first_stage(self) -> Path:
        """Return the file of the adapters that the first stage left."""
        saved = self.path / "checkpoints" / "best-stage1.safetensors"
        if self.card.llm.trained == "frozen":
            raise RunError(f"run {self.path} has no second stage: its LLM was never trained")
        if not saved.is_file():
            raise RunError(f"run {self.path} keeps no first stage: there is no checkpoints/{saved.name}")
        return saved


def _load_adapters(model: ElmModel, path: Path) -> None:
    """Put the adapters' weights back that a stage with a frozen LLM left."""
    try:
        saved = load_file(path)
    except Exception as error:  # safetensors has errors of its own
        raise RunError(f"{path} cannot be read: {error!r}") from None
    wanted = {name: p for name, p in model.named_parameters() if name.startswith("adapters.")}
    if {name: p.shape for name, p in saved.items()} != {name: p.shape for name, p in wanted.items()}:
        raise RunError(
            f"{path} holds other weights than those of the adapters; the first stage trained the LLM as well"
        )
    with torch.no_grad():
        for name, parameter in wanted.items():
            parameter.copy_(saved[name])


def save_model(folder: Path, model: ElmModel, trained: str, peft_model: Any = None) -> None:
    """Write adapters, and what was trained of the LLM, into a run folder."""
    with hushed():
        for name in model.adapters:
            if model.adapter(name).config.space == name:  # what several spaces share is saved once
                model.adapter(name).save_pretrained(folder / "adapters" / name)
        if trained == "lora":
            peft_model.save_pretrained(folder / "lora")
        elif trained == "full":
            model.llm.save_pretrained(folder / "llm")
            model.language.tokenizer.save_pretrained(folder / "llm")


def write_card(folder: Path, card: RunCard) -> None:
    """Write elm.json, which makes a folder a finished run; so it comes last."""
    write_json(folder / "elm.json", card.model_dump())


__all__ = ["LanguageModel", "LlmCard", "Run", "RunCard", "SpaceCard", "save_model", "write_card"]
