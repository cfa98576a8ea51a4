"""Settings of a training run: typed, checked when loaded, and saved with all defaults next to the run."""

from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vectalk.errors import TrainingError
from vectalk.llm.quantisation import LoadIn
from vectalk.model.adapter import Kind
from vectalk.reading.yaml_text import read_yaml
from vectalk.training.recipe import RECIPES, Recipe, RecipeName, merged
from vectalk.training.trackers import TRACKERS


class AdapterConfig(BaseModel):
    """Shape of the adapters.

    Attributes:
        kind: `linear`, `mlp` or `residual`.
        soft_tokens: number S of soft tokens per vector.
        width: hidden width of the MLP.
        dropout: dropout probability on the hidden layer of the MLP.
        shared: groups of spaces of the same dimension that share an adapter, e.g. `[[film, user]]` for the item and
            user vectors of one factorisation; each space has its own normaliser.
        start: `random`, or `words`: before training the adapters are solved in closed form, so that the soft tokens
            look like the words of the targets (see `word_start`).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Kind = "mlp"
    soft_tokens: int = Field(4, ge=1, le=64)
    width: int = Field(512, ge=1)
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    shared: list[list[str]] = Field(default_factory=list)
    start: Literal["random", "words"] = "random"

    @model_validator(mode="after")
    def _groups_are_disjoint(self) -> "AdapterConfig":
        names = [name for group in self.shared for name in group]
        repeated = [name for name in names if names.count(name) > 1]
        if repeated:
            raise ValueError(
                f"adapter.shared names the space {repeated[0]!r} more than once; a space can be in one group only"
            )
        if any(len(group) < 2 for group in self.shared):
            raise ValueError("each group of adapter.shared must name at least two spaces, e.g. [[film, user]]")
        return self


class StageConfig(BaseModel):
    """One stage of training.

    Attributes:
        steps: largest number of optimiser steps; 0 skips the stage.
        llm: which part of the LLM is trained: nothing (`frozen`), a low-rank update (`lora`), or all weights (`full`).
        lr_adapter: peak learning rate of the adapters.
        lr_llm: peak learning rate of the LLM's trained weights.
        warmup: share of the steps in which the learning rate rises linearly to its peak.
        schedule: after the warmup, `cosine` falls to `floor`, and `constant` stays at the peak.
        floor: learning rate at the end of `cosine`, as a share of the peak.
        patience: training stops after this number of evaluations without a better validation loss.
        keep: weights at the end of the stage: those with the `best` validation loss, or the `last`. Early in a
            curriculum, the loss may be above that of the untrained LLM while the vector gain grows; then use `last`.
        tasks: tasks of the corpus for training and validation in this stage, e.g. short ones first; all when omitted.
        balance: how evenly tasks are learned whose numbers of examples differ, 0 to 1. 0: all examples come equally
            often, so a task of few examples is learned little; 1: all tasks come equally often. The share of a task of
            n examples is proportional to n ** (1 - balance).
        objective: what the stage learns: `targets`, the target texts of the corpus, or `distill`: the LLM that reads
            facts in words teaches the LLM that reads the vector, on free questions (see `distillation`). The teacher
            never has a low-rank update.
        mix: for `distill`: share of the steps that learn target texts, 0 to 1.
        rare_tokens: exponent of the token weights: each token has the weight idf ** rare_tokens (inverse document
            frequency), so at 0 all weights are equal. In a long text, syntax makes up most of the loss, but the vector
            has no information about syntax. With weights, greedy answers also prefer specific words. Validation losses
            are never weighted.
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
    balance: float = Field(0.0, ge=0.0, le=1.0)
    objective: Literal["targets", "distill"] = "targets"
    mix: float = Field(0.0, ge=0.0, lt=1.0)
    rare_tokens: float = Field(0.0, ge=0.0, le=2.0)

    @model_validator(mode="after")
    def _distillation_keeps_the_teacher(self) -> "StageConfig":
        if self.objective == "distill" and self.llm == "full":
            raise ValueError(
                "objective is 'distill' and llm is 'full': the LLM that reads the facts would change with the LLM that "
                "learns from it; make llm 'frozen', or 'lora', which the teacher does not use"
            )
        if self.mix and self.objective != "distill":
            raise ValueError(f"mix is {self.mix} and objective is 'targets', which learns nothing else; leave out mix")
        return self


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


class DistillConfig(BaseModel):
    """What a stage with the objective `distill` learns from.

    Attributes:
        answers: number of answers that the LLM, told the facts in words, writes before the stage.
        answer_tokens: longest of these answers, in tokens.
        temperature: temperature at which they are sampled; 0 is greedy.
        validation: number of answers about validation entities, on which the stage is evaluated.
        questions: YAML file of questions (see `vectalk.tasks.questions`); the packaged training questions when omitted.
        anchor: weight of the distance between soft tokens and their start in closed form, relative to their size.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    answers: int = Field(6000, ge=1)
    answer_tokens: int = Field(48, ge=1)
    temperature: float = Field(0.7, ge=0.0, le=10.0)
    validation: int = Field(256, ge=2)
    questions: str | None = None
    anchor: float = Field(0.02, ge=0.0)


class TrainConfig(BaseModel):
    """All settings of a run, except its corpus and its base LLM.

    Attributes:
        recipe: set of defaults that these settings started from (see `recipe`).
        adapter: shape of the adapters.
        stage1: first stage; by default it trains the adapters with a frozen LLM.
        stage2: second stage; by default it trains the adapters and all weights of the LLM.
        lora: shape of the low-rank update, where a stage takes one.
        distill: what a stage with the objective `distill` learns from.
        batch_size: examples per optimiser step, over all processes and pieces.
        batch_tokens: largest number of tokens per batch, padding included; a batch then has fewer than `batch_size`
            examples if they are long. It saves memory when lengths differ much.
        grad_accumulation: number of pieces into which a batch is split. More pieces need less memory; the result is
            the same.
        gradient_checkpointing: discard the LLM's activations and compute them again in the backward pass; needs less
            memory and a third more time.
        keep_freed_memory: on a CPU, keep the memory that a step frees for the next step. Returning it to the system
            costs a tenth to a quarter of a small LLM's training time. The process then keeps the memory until it ends.
            The setting has no effect without glibc, or if environment variables already configure the allocator
            (`MALLOC_...`, `GLIBC_TUNABLES`).
        shard: split weights, gradients and the optimiser's moments among the processes (FSDP2); otherwise each process
            has a full copy. `accelerate launch` can also turn this on.
        weight_decay: weight decay of AdamW, on matrices only.
        clip: largest norm of the gradient; a larger gradient is scaled down.
        vector_noise: standard deviation of the noise added to training vectors, in units of the space's scale.
            Noise teaches that nearby points have the same text, which reduces overfitting on a small catalogue.
        eval_every: optimiser steps between evaluations on validation examples.
        eval_examples: largest number of validation examples per evaluation.
        eval_answers: number of validation questions that the model answers at each evaluation, with right and with
            shuffled vectors, to log semantic consistency; only for spaces of a text encoder. 0 turns it off.
        choose_decoding: after training, compare a few penalties on repetition on validation examples, and store the
            best as the default of the run (see `decoding_choice`). For pretrained LLMs, whose answers may loop.
        history: whether a chat with the run gives the earlier turns of the conversation to the LLM by default; when
            omitted, it does if a stage distills.
        save_every: optimiser steps between checkpoints.
        keep: number of checkpoints to keep; older ones are deleted.
        seed: seed of all random choices.
        dtype: dtype of the LLM's weights; `auto` is float32 on a CPU and the dtype of the saved weights elsewhere.
        autocast: dtype of matrix products, whatever the dtype of the weights; `auto` is bfloat16 on devices where it
            is faster (GPUs with bfloat16; CPUs with avx512_bf16 or amx, for LLMs of width 256 or more), else the dtype
            of the weights.
        load_in: pack the weights of the LLM in `4bit` or `8bit` when it is loaded (bitsandbytes, `vectalk[quantized]`);
            only where no stage trains all weights. The run loads its LLM in the same way.
        system_prompt: text of a system message before every question, for LLMs with a chat template. When omitted, what
            the template writes without one (or the text of the run that training starts from, with `--from`); `none`:
            no such text. The run stores it and uses it for every question.
        minutes: longest time of the whole training, in minutes. After loading, a few steps are measured, and the
            numbers of steps of both stages are lowered so that they fit (see `budget`).
        report_to: experiment trackers to which the figures of training.jsonl are sent too: `tensorboard`, `wandb`,
            `mlflow`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: RecipeName = "from scratch"
    adapter: AdapterConfig = AdapterConfig()
    stage1: StageConfig = StageConfig(steps=1000, llm="frozen", lr_adapter=6e-3)
    stage2: StageConfig = StageConfig(steps=3000, llm="full", lr_adapter=3e-3, lr_llm=5e-4)
    lora: LoraConfig = LoraConfig()
    distill: DistillConfig = DistillConfig()
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
    choose_decoding: bool = False
    history: bool | None = None
    save_every: int = Field(500, ge=1)
    keep: int = Field(2, ge=1)
    seed: int = Field(0, ge=0)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    autocast: Literal["auto", "none", "bfloat16"] = "auto"
    load_in: LoadIn | None = None
    system_prompt: str | None = Field(None, min_length=1)
    minutes: float | None = Field(None, gt=0)
    report_to: list[str] = Field(default_factory=list)

    @field_validator("report_to")
    @classmethod
    def _trackers_are_known(cls, names: list[str]) -> list[str]:
        for name in names:
            if name not in TRACKERS:
                raise ValueError(f"there is no tracker {name!r}; allowed are {', '.join(TRACKERS)}")
        return names

    @model_validator(mode="after")
    def _stages_agree(self) -> "TrainConfig":
        stages = [stage for stage in (self.stage1, self.stage2) if stage.steps]
        if not stages:
            raise ValueError("stage1.steps and stage2.steps are both 0, so nothing is trained; set one to at least 1")
        if self.dtype == "float16" and any(stage.llm == "full" for stage in stages):
            raise ValueError(
                "dtype is 'float16', and a stage trains all weights of the LLM (llm: full): small steps and moments "
                "underflow in float16; leave out dtype (float32 weights, bfloat16 products where these are faster), "
                "or train a low-rank update (llm: lora)"
            )
        if self.load_in is not None and any(stage.llm == "full" for stage in stages):
            raise ValueError(
                f"load_in is {self.load_in!r}, and a stage trains all weights of the LLM (llm: full), but packed "
                "weights cannot be trained; leave out load_in, or train a low-rank update (--lora) or the adapters "
                "alone (stage2.llm=frozen)"
            )
        if self.load_in is not None and self.shard:
            raise ValueError(
                f"load_in is {self.load_in!r} and shard is true, but packed weights cannot be split; "
                "leave out one of them"
            )
        if len({stage.llm for stage in stages} - {"frozen"}) > 1:
            raise ValueError(
                f"stage1.llm is {self.stage1.llm!r} and stage2.llm is {self.stage2.llm!r}: a run can train the LLM in "
                "one way only; make one of them 'frozen', or both the same"
            )
        return self

    @classmethod
    def load(
        cls, path: str | Path | None, overrides: dict[str, object] | None = None, recipe: Recipe | None = None
    ) -> "TrainConfig":
        """Read settings from a YAML file, and replace those that `overrides` (by dotted name) contains.

        Args:
            path: the file; without one, all settings that `overrides` lacks are the recipe's.
            overrides: setting -> value.
            recipe: gives the defaults, unless the file or `overrides` names a recipe.

        Raises:
            TrainingError: the file is missing, or a value is wrong; the message names file, setting and allowed values.
        """
        values: Any = {}
        if path is not None:
            if not Path(path).is_file():
                raise TrainingError(f"config file {path} does not exist; check the path")
            content = read_yaml(path, TrainingError)
            values = {} if content is None else content
        if not isinstance(values, dict):
            raise TrainingError(f"config {path}: it must map settings to values, not be a {type(values).__name__}")
        defaults = cls().model_dump()
        for name, value in (overrides or {}).items():
            *parents, last = name.split(".")
            place = values
            for parent in parents:
                place = place.setdefault(parent, {})
                if not isinstance(place, dict):
                    raise TrainingError(
                        f"setting {name}: {parent} is {place!r} in {path}; it must be a group of settings"
                    )
            place[last] = value
        if (name := values.setdefault("recipe", "from scratch" if recipe is None else recipe.name)) in RECIPES:
            values = merged(RECIPES[name], values)
        for stage in ("stage1", "stage2"):  # a file may contain only the settings that it changes
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


def _problem(kind: str, name: str, message: str, value: object) -> str:
    """Return a message about a wrong setting; for an unknown name the message suggests similar names."""
    if kind == "extra_forbidden":
        known = _names(TrainConfig().model_dump())
        last = name.rpartition(".")[2]
        near = [n for n in known if n.rpartition(".")[2] == last] or get_close_matches(name, known, 3, 0.6)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        return f"there is no setting {name}; {hint}"
    return f"{name}: {message} (given {value!r})" if name else message.removeprefix("Value error, ")


def _names(settings: dict[str, Any], before: str = "") -> list[str]:
    """Return the dotted names of all settings."""
    names = []
    for name, value in settings.items():
        names += _names(value, f"{before}{name}.") if isinstance(value, dict) else [before + name]
    return names
