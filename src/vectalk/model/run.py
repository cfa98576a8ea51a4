"""`Run`: the folder that training writes, with everything that the model needs to answer questions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, field_validator
from safetensors.torch import load_file

from vectalk.errors import RunError
from vectalk.files import read_json, write_json
from vectalk.hub_address import HubAddress, local_folder
from vectalk.llm.fingerprint import fingerprint
from vectalk.llm.loading import LanguageModel, load_llm, pick_device
from vectalk.llm.location import locate_llm
from vectalk.llm.quantisation import LoadIn
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
    """The base LLM of a run, and which part of the LLM was trained: `frozen`, `lora` or `full`.

    `dtype` is the dtype of the base LLM's saved weights, if it is known. `load_in` says how its weights are packed when
    it is loaded.
    """

    model_config = ConfigDict(extra="forbid")

    name: PathText
    revision: str | None = None
    trained: Literal["frozen", "lora", "full"] = "frozen"
    hidden_size: int = Field(ge=1)
    fingerprint: str | None = None
    dtype: str | None = None
    load_in: LoadIn | None = None

    @field_validator("dtype")
    @classmethod
    def _is_a_type(cls, name: str | None) -> str | None:
        if name is not None and not isinstance(getattr(torch, name, None), torch.dtype):
            raise ValueError(f"{name!r} is not a dtype of torch, such as 'float32' or 'bfloat16'")
        return name


class SpaceCard(BaseModel):
    """The space of an adapter; `path` is relative to the run's folder.

    `adapter` is the name of the adapter's folder, if several spaces share the adapter.
    """

    model_config = ConfigDict(extra="forbid")

    path: PathText
    fingerprint: str
    split_hash: str
    dim: int = Field(ge=1)
    soft_tokens: int = Field(ge=1)
    adapter: FolderName | None = None


class FrameCard(BaseModel):
    """Text that the template wrote around question and answer (see `Frame`)."""

    model_config = ConfigDict(extra="forbid")

    before: str
    after: str
    end: str


class RunCard(BaseModel):
    """The content of `elm.json`; `system` is the text of a system message before every question."""

    model_config = ConfigDict(extra="forbid")

    format: int = FORMAT
    llm: LlmCard
    spaces: dict[FolderName, SpaceCard] = Field(min_length=1)
    template: str
    template_hash: str
    frame: FrameCard
    system: str | None = None
    corpus: PathText
    versions: dict[str, str]


class Run:
    """A run folder.

    Args:
        path: the folder.
        card: content of its `elm.json`.
    """

    def __init__(self, path: Path, card: RunCard) -> None:
        self.path, self.card = path, card

    @classmethod
    def load(cls, path: str | Path, revision: str | None = None) -> Run:
        """Open a finished run.

        Args:
            path: folder of the run, or `hf://owner/name` on the hub, from which only the files of a run are downloaded.
            revision: branch, tag or commit of a run on the hub.

        Raises:
            RunError: the folder is not a run, training has not finished, a newer version of vectalk wrote the folder,
                or the download fails.
        """
        folder = local_folder(path, RUN_FILES, RunError, revision)
        if not (folder / "elm.json").is_file():
            if (folder / "checkpoints").is_dir():
                raise RunError(
                    f"{folder} is a run that has not finished; resume it with `vectalk train ... --out {folder} "
                    "--resume`"
                )
            reason = "no such folder" if not folder.exists() else "it has no elm.json"
            raise RunError(
                f"{folder} is not a run ({reason}); make one with `vectalk train`, or name one on the hub as "
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
            raise RunError(f"{path} is malformed: it must map settings to values, and `dtype` to the name of a dtype")
        return values

    @property
    def reads_history(self) -> bool:
        """Whether the LLM reads the earlier turns of a conversation, by default: as the run's setting `history` says.

        Without the setting, it does if a stage of training distilled; training on target texts knows questions alone.
        """
        config = self.config
        if isinstance(config.get("history"), bool):
            return bool(config["history"])
        stages = [config.get(name) for name in ("stage1", "stage2")]
        return any(isinstance(s, dict) and s.get("objective") == "distill" and bool(s.get("steps")) for s in stages)

    @property
    def corpus_path(self) -> Path:
        """The path of the corpus at training time."""
        return (self.path / self.card.corpus).resolve()

    def spaces(self, overrides: Mapping[str, str | Path] | None = None) -> dict[str, VectorSpace]:
        """Open the spaces.

        Args:
            overrides: space -> new folder, for spaces that were moved.

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
            space.name = name  # the run's name for the space, which its slots use, may differ from the space's own name
            opened[name] = space
        return opened

    def model(
        self,
        device: str = "auto",
        llm: str | None = None,
        *,
        stage: Literal[1] | None = None,
        merged: bool = False,
        load_in: LoadIn | Literal["none"] | None = None,
    ) -> tuple[ElmModel, PromptFormat]:
        """Load the LLM with its trained weights, and the adapters.

        Args:
            device: device of the model.
            llm: new place of the base LLM, if it was moved: a folder, or `owner/name` on the hub.
            stage: 1 for the model after stage 1: the untrained base LLM with the adapters of stage 1.
            merged: merge a low-rank update into the LLM's own weights, which are then not packed.
            load_in: pack the weights of the LLM in `4bit` or `8bit`, or not (`none`); None: as in training.

        Raises:
            RunError: the run has no weights of stage 1, or does not fit the LLM.
        """
        first = self._stage1_file() if stage == 1 else None
        trained = self.card.llm.trained if first is None else "frozen"
        if llm is not None and trained == "full":
            raise RunError(f"run {self.path} contains its own fully fine-tuned LLM; leave out --llm")
        card, dtype = self.card.llm, self.config.get("dtype", "auto")
        if trained == "full" and dtype == "auto" and card.dtype is not None and pick_device(device).type != "cpu":
            dtype = card.dtype  # a fully fine-tuned LLM is saved in float32, as it was trained
        base, revision = (str(self._part("llm")), None) if trained == "full" else self.base(llm)
        packed = None if merged or load_in == "none" else load_in or card.load_in
        language = load_llm(base, revision=revision, device=device, dtype=dtype, load_in=packed)
        if language.hidden_size != card.hidden_size:
            raise RunError(
                f"run {self.path} was trained on an LLM of width {card.hidden_size}, but {base} has width "
                f"{language.hidden_size}; name the run's own base LLM with --llm"
            )
        if trained != "full":
            self.check_llm(language)
        with hushed():
            if trained == "lora":
                from peft import PeftModel

                update = self._part("lora")
                check_weights(update, f"run {self.path}", RunError)
                # `from_pretrained` also inserts layers into `language.model`.
                peft: Any = PeftModel.from_pretrained(language.model, str(update))
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
        return model, PromptFormat(language.tokenizer, soft_tokens, self.card.template, frame, system=self.card.system)

    def _part(self, name: str) -> Path:
        """Return the path of a subfolder. A missing one is an error, since libraries would look for it on the hub."""
        folder = self.path / name
        if not folder.is_dir():
            raise RunError(
                f"run {self.path} is not complete: it has no folder {name}; train the run again, or fetch it again"
            )
        return folder

    def base(self, llm: str | None = None) -> tuple[str, str | None]:
        """Return the folder or hub name of the base LLM, and its commit if it is on the hub.

        Args:
            llm: new place of the base LLM, if it was moved.

        Raises:
            RunError: the base LLM is a local folder that does not exist.
        """
        card = self.card.llm
        if llm is not None:
            address = None if Path(llm).expanduser().exists() else HubAddress.of_model(llm)
            same = address is not None and address == HubAddress(card.name)
            return llm, card.revision if same else None  # the commit belongs to the original repository only
        if card.revision is not None:
            return card.name, card.revision
        folder = self.path / card.name
        if not folder.exists():
            raise RunError(
                f"run {self.path} looks for its base LLM at {folder}, which does not exist: the run or the LLM was "
                "moved; name the LLM's folder with --llm"
            )
        return str(folder), None

    def check_llm(self, language: LanguageModel) -> None:
        """Check that an LLM is the base LLM that the run was trained on; runs without a fingerprint are not checked.

        Raises:
            RunError: the weights of the LLM are different.
        """
        known = self.card.llm.fingerprint
        if known in (None, language.fingerprint):
            return
        place = locate_llm(language.name, language.revision).place
        if fingerprint(str(place), like=known) != known:
            raise RunError(
                f"the base LLM in {language.name} is not the one that run {self.path} was trained on: its weights "
                "changed, or it is another LLM; restore the old weights, name their folder with --llm, or train again"
            )

    def _check_adapter(self, name: str, adapter: ElmAdapter) -> None:
        """Raise a RunError when the shape of an adapter differs from the card."""
        card, shape = self.card.spaces[name], adapter.config
        expected = (card.dim, card.soft_tokens, self.card.llm.hidden_size)
        if name not in shape.spaces or expected != (shape.vector_dim, shape.soft_tokens, shape.llm_hidden_size):
            raise RunError(
                f"run {self.path}: the adapter of space {name!r} does not fit elm.json: dimension, soft tokens and "
                f"width of the LLM are {expected} in elm.json, and {shape.vector_dim}, {shape.soft_tokens}, "
                f"{shape.llm_hidden_size} in the adapter of {', '.join(shape.spaces)}; train the run again, or fetch "
                "it again"
            )

    def _stage1_file(self) -> Path:
        """Return the file with the adapters of stage 1."""
        saved = self.path / "checkpoints" / "best-stage1.safetensors"
        if self.card.llm.trained == "frozen":
            raise RunError(f"run {self.path} has no stage 2: its LLM was never trained, so the run itself is stage 1")
        if not saved.is_file():
            raise RunError(f"run {self.path} has no weights of stage 1: checkpoints/{saved.name} is missing")
        return saved


def _load_adapters(model: ElmModel, path: Path) -> None:
    """Load the adapter weights that a stage with a frozen LLM saved."""
    try:
        saved = load_file(path)
    except Exception as error:  # safetensors has errors of its own
        raise RunError(f"{path} cannot be read: {error!r}; fetch the run again") from None
    parameters = {name: p for name, p in model.named_parameters() if name.startswith("adapters.")}
    if {name: p.shape for name, p in saved.items()} != {name: p.shape for name, p in parameters.items()}:
        raise RunError(
            f"{path} contains other weights than those of the adapters; stage 1 of this run also trained the LLM"
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(saved[name])


def save_model(folder: Path, model: ElmModel, trained: str, peft_model: Any = None) -> None:
    """Write the adapters and the trained weights of the LLM into a run folder."""
    with hushed():
        for name in model.adapters:
            if model.adapter(name).config.space == name:  # an adapter that several spaces share is saved once
                model.adapter(name).save_pretrained(folder / "adapters" / name)
        if trained == "lora":
            peft_model.save_pretrained(folder / "lora")
        elif trained == "full":
            model.llm.save_pretrained(folder / "llm")
            model.language.save_recommended(folder / "llm")
            model.language.tokenizer.save_pretrained(folder / "llm")


def name_base(folder: Path, name: str) -> None:
    """Write the name of the base LLM into the card of the low-rank update of a run, if the run has one.

    Args:
        folder: a copy of a run for others, who do not have the folder that the update was trained with.
        name: hub name of the base LLM.
    """
    update = folder / "lora" / "adapter_config.json"
    if update.is_file():
        write_json(update, {**read_json(update), "base_model_name_or_path": name})


def write_card(folder: Path, card: RunCard) -> None:
    """Write elm.json. This file marks a folder as a finished run, so it is written last."""
    write_json(folder / "elm.json", card.model_dump())


__all__ = ["LanguageModel", "LlmCard", "Run", "RunCard", "SpaceCard", "save_model", "write_card"]
