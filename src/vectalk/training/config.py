"""Settings of a training run: typed, checked once, saved resolved beside the result."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vectalk.errors import TrainingError
from vectalk.model.adapter import Kind
from vectalk.reading.yaml_text import read_yaml


class AdapterConfig(BaseModel):
    """Shape of the adapters.

    Attributes:
        kind: `linear`, `mlp` or `residual`.
        soft_tokens: S, positions that one vector becomes.
        width: hidden width of the MLP.
        dropout: on its hidden layer.
        shared: groups of spaces of one dimension that share an adapter, e.g. `[[film, user]]` for the item and user
            vectors of one factorisation; each space keeps a normaliser of its own.
        start: `random`, or `words`: before stage 1 the adapters learn, without the LLM, to make soft tokens that look
            like a sum of the embeddings of the target's words (see `words`).
        start_steps: steps of that, each of 128 texts.
        start_lr: its learning rate.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = "mlp"
    soft_tokens: int = Field(4, ge=1, le=64)
    width: int = Field(512, ge=1)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    shared: list[list[str]] = Field(default_factory=list)
    start: Literal["random", "words"] = "random"
    start_steps: int = Field(500, ge=1)
    start_lr: float = Field(2e-3, gt=0)

    @model_validator(mode="after")
    def _groups_are_apart(self) -> "AdapterConfig":
        names = [name for group in self.shared for name in group]
        again = [name for name in names if names.count(name) > 1]
        if again:
            raise ValueError(f"adapter.shared names the space {again[0]!r} more than once")
        if any(len(group) < 2 for group in self.shared):
            raise ValueError("each group of adapter.shared names at least two spaces, e.g. [[film, user]]")
        return self


class StageConfig(BaseModel):
    """One stage of training.

    Attributes:
        steps: most optimiser steps; 0 leaves the stage out.
        llm: what of the LLM is trained: nothing (`frozen`), a low-rank update (`lora`), or everything (`full`).
        lr_adapter: peak learning rate of the adapters.
        lr_llm: peak learning rate of the LLM's part.
        warmup: share of the steps over which the rate rises.
        schedule: `cosine` falls to `floor`, `constant` stays.
        floor: share of the peak rate that a falling schedule ends at.
        patience: stop after so many evaluations without a better validation loss.
        keep: which weights the stage hands on: those of the `best` validation loss, or the `last`. Early in a
            curriculum the loss may lie above that of the LLM as it came, while the vector gain grows: keep the last.
        tasks: tasks of the corpus that this stage learns and is judged by, e.g. short ones first; all when omitted.
        rare_tokens: how much more the loss counts rare tokens: each counts idf ** rare_tokens (inverse document
            frequency), so 0 counts all alike. Syntax is most of the loss of a long text, and the vector says nothing
            of it; greedy answers, too, come to prefer what is particular. Validation losses are never weighted.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    steps: int = Field(ge=0)
    llm: Literal["frozen", "lora", "full"] = "frozen"
    lr_adapter: float = Field(1e-3, gt=0)
    lr_llm: float = Field(5e-4, gt=0)
    warmup: float = Field(0.05, ge=0.0, lt=1.0)
    schedule: Literal["cosine", "constant"] = "cosine"
    floor: float = Field(0.0, ge=0.0, le=1.0)
    patience: int = Field(5, ge=1)
    keep: Literal["best", "last"] = "best"
    tasks: list[str] | None = Field(None, min_length=1)
    rare_tokens: float = Field(0.0, ge=0.0, le=2.0)


class LoraConfig(BaseModel):
    """A low-rank update of the LLM in standard PEFT form.

    Attributes:
        rank: r, the rank of the update.
        alpha: the update is multiplied by alpha / rank.
        dropout: dropout on the input of the update.
        targets: names of the linear modules that the update changes, such as `[q_proj, v_proj]`; the end of a name is
            enough. When omitted, all linear modules that it fits, without the head.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rank: int = Field(16, ge=1)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    targets: list[str] | None = Field(None, min_length=1)

    @field_validator("targets", mode="before")
    @classmethod
    def _targets_may_be_a_text(cls, value: object) -> object:
        if isinstance(value, str):
            return None if value == "all-linear" else [name.strip() for name in value.split(",") if name.strip()]
        return value


class TrainConfig(BaseModel):
    """Everything that decides a run, apart from its corpus and its base LLM.

    Attributes:
        adapter: shape of the adapters.
        stage1: adapters alone, LLM frozen.
        stage2: adapters together with the LLM, or a low-rank update of it.
        lora: shape of the low-rank update, where a stage takes one.
        batch_size: examples an optimiser step.
        batch_tokens: most tokens of a batch, padding included, where that is less than `batch_size` examples; spares
            memory where lengths differ much.
        grad_accumulation: pieces that a batch is worked through in. It changes memory, not the result; `batch_size` is
            always that of an optimiser step, over all processes and pieces.
        gradient_checkpointing: forget the LLM's activations and compute them again; less memory, a third more time.
        keep_freed_memory: on a CPU, keep the memory that a step frees for the next one instead of giving it back to the
            system, which takes a tenth to a quarter of a small LLM's time; it stays with the process from then on.
            Nothing happens without glibc, or where the environment settles it (`MALLOC_...`, `GLIBC_TUNABLES`).
        shard: spread weights, gradients and the optimiser's moments over the processes (FSDP2) instead of giving each a
            copy; also on where `accelerate launch` says so.
        weight_decay: of AdamW, on matrices only.
        clip: largest norm of the gradient.
        vector_noise: standard deviation of the noise added to training vectors, in units of the space's scale;
            neighbouring points share their texts, so this keeps a small catalogue from being learned by heart.
        eval_every: optimiser steps between evaluations on validation examples.
        eval_examples: how many validation examples at most.
        eval_answers: how many validation questions are answered at an evaluation, with right and with shuffled
            vectors, to log semantic consistency; only in spaces that a text encoder made. 0 leaves it out.
        save_every: optimiser steps between checkpoints.
        keep: how many of the last checkpoints stay.
        seed: of everything random.
        dtype: type of the LLM's weights; `auto` is float32 on a CPU and the checkpoint's own type elsewhere.
        autocast: type of the arithmetic, whatever the type of the weights; `auto` is bfloat16 where the device is
            quicker so (GPUs that know it; CPUs with avx512_bf16 or amx, for LLMs of width 256 or more), else the
            weights' own.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    adapter: AdapterConfig = AdapterConfig()
    stage1: StageConfig = StageConfig(steps=1000, llm="frozen", lr_adapter=6e-3)
    stage2: StageConfig = StageConfig(steps=3000, llm="full", lr_adapter=3e-3, lr_llm=5e-4)
    lora: LoraConfig = LoraConfig()
    batch_size: int = Field(32, ge=1)
    batch_tokens: int | None = Field(None, ge=1)
    grad_accumulation: int = Field(1, ge=1)
    gradient_checkpointing: bool = False
    keep_freed_memory: bool = True
    shard: bool = False
    weight_decay: float = Field(0.01, ge=0.0)
    clip: float = Field(1.0, gt=0)
    vector_noise: float = Field(0.0, ge=0.0)
    eval_every: int = Field(100, ge=1)
    eval_examples: int = Field(512, ge=2)
    eval_answers: int = Field(0, ge=0)
    save_every: int = Field(500, ge=1)
    keep: int = Field(2, ge=1)
    seed: int = Field(0, ge=0)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    autocast: Literal["auto", "none", "bfloat16"] = "auto"

    @model_validator(mode="after")
    def _stages_agree(self) -> "TrainConfig":
        stages = [stage for stage in (self.stage1, self.stage2) if stage.steps]
        if not stages:
            raise ValueError("stage1.steps and stage2.steps are both 0: nothing would be trained")
        if self.dtype == "float16" and any(stage.llm == "full" for stage in stages):
            raise ValueError(
                "dtype is 'float16', and a stage trains the whole LLM (llm: full): small steps and moments vanish in "
                "it; leave dtype out (float32 weights, products in bfloat16 where the device is quicker so), or train "
                "a low-rank update (llm: lora)"
            )
        if len({stage.llm for stage in stages} - {"frozen"}) > 1:
            raise ValueError(
                f"stage1.llm is {self.stage1.llm!r} and stage2.llm is {self.stage2.llm!r}: a run trains the LLM in one "
                "way; make one of them 'frozen', or both the same"
            )
        return self

    @classmethod
    def load(cls, path: str | Path | None, overrides: dict[str, object] | None = None) -> "TrainConfig":
        """Read a YAML file and put `overrides` (dotted names) on top.

        Raises:
            TrainingError: the file is missing or a field is wrong; names file, field and what is allowed.
        """
        values: Any = {}
        if path is not None:
            if not Path(path).is_file():
                raise TrainingError(f"config file {path} does not exist")
            found = read_yaml(path, TrainingError)
            values = {} if found is None else found
        if not isinstance(values, dict):
            raise TrainingError(f"config {path}: it must map settings to values, not be a {type(values).__name__}")
        defaults = cls().model_dump()
        for name, value in (overrides or {}).items():
            *parents, last = name.split(".")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})
                if not isinstance(place, dict):
                    raise TrainingError(f"setting {name}: {parent} is {place!r} in {path}, which has no parts")
            place[last] = value
        for stage in ("stage1", "stage2"):  # a file may name just what it changes
            if isinstance(values.get(stage), dict):
                values[stage] = {**defaults[stage], **values[stage]}
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            problems = [_problem(p["type"], ".".join(map(str, p["loc"])), p["msg"], p["input"]) for p in error.errors()]
            where = f"config {path}: " if path is not None else ""
            raise TrainingError(where + "; ".join(problems[:5])) from None

    def dump(self) -> str:
        """Return all settings as YAML."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


def _problem(kind: str, name: str, message: str, given: object) -> str:
    """Say what is wrong with a setting; of one that there is not, which ones it may have meant."""
    if kind == "extra_forbidden":
        known = _names(TrainConfig().model_dump())
        last = name.rpartition(".")[2]
        near = [n for n in known if n.rpartition(".")[2] == last] or get_close_matches(name, known, 3, 0.6)
        meant = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        return f"there is no setting {name}; {meant}"
    return f"{name}: {message} (given {given!r})" if name else message.removeprefix("Value error, ")


def _names(settings: dict[str, Any], before: str = "") -> list[str]:
    """Return the dotted names of all settings."""
    found = []
    for name, value in settings.items():
        found += _names(value, f"{before}{name}.") if isinstance(value, dict) else [before + name]
    return found
