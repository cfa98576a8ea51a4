"""`vectalk train`."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress, TaskID

from vectalk.cli.common import (
    ChatTemplateFile,
    Device,
    Json,
    Quiet,
    TrustEncoder,
    emit,
    heartbeat,
    note,
    pairs,
    progress,
)

app = typer.Typer(add_completion=False)


class BarReporter:
    """Shows the steps of each stage, and other long work, as progress bars."""

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.jobs: dict[str, TaskID] = {}

    def step(self, stage: int, done: int, steps: int, note: str) -> None:
        """Move the bar of a stage."""
        self.bar.update(self._job(f"stage {stage}", steps), completed=done, note=note)

    def work(self, what: str, done: int, total: int) -> None:
        """Move the bar of other work, and take it away once it is done."""
        self.bar.update(self._job(what, total), completed=done, total=total, visible=done < total)

    def _job(self, what: str, total: int) -> TaskID:
        if what not in self.jobs:
            self.jobs[what] = self.bar.add_task(what, total=total, note="")
        return self.jobs[what]


@app.command()
def train(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the run.")],
    llm: Annotated[
        str | None,
        typer.Option("--llm", help="Base LLM: a folder, a GGUF file, or owner/name on the hub."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Finished run whose LLM and adapters are started with: a folder, or hf://owner/name."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="One setting, e.g. stage2.steps=500; may be repeated.")
    ] = None,
    lora: Annotated[bool, typer.Option("--lora", help="Stage 2 trains a low-rank update instead of all.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
    revision: Annotated[str | None, typer.Option("--revision", help="Revision of a hub LLM.")] = None,
    chat_template: ChatTemplateFile = None,
    space: Annotated[list[str] | None, typer.Option("--space", help="NAME=DIR of a space that moved.")] = None,
    trust_encoder: TrustEncoder = False,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of everything random.")] = None,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train an adapter on a corpus, then the LLM with it."""
    from vectalk.errors import TrainingError
    from vectalk.model.run import Run
    from vectalk.reading.yaml_text import YamlError, parse_yaml
    from vectalk.tasks import Corpus
    from vectalk.training import TrainConfig, make_trainer
    from vectalk.training.folder import base_of
    from vectalk.training.start import llm_of

    overrides: dict[str, Any] = {}
    for name, value in pairs(set_ or [], "--set").items():
        try:
            overrides[name] = parse_yaml(value)
        except YamlError:
            raise typer.BadParameter(f"--set {name}: {value!r} is no value that YAML knows") from None
    if lora:
        overrides["stage2.llm"] = "lora"
    if seed is not None:
        overrides["seed"] = seed
    if resume and config is None and (out / "config.yaml").is_file():
        config = out / "config.yaml"  # the settings that the run was started with
    before = None if start is None else Run.load(start)
    if resume and llm is None and before is None:
        llm, revision = base_of(out, revision)
    if (before is None) == (llm is None):
        raise TrainingError("name the base LLM with --llm, or a run to start from with --from; one of the two")
    settings = TrainConfig.load(config, overrides)
    first = os.environ.get("RANK", "0") == "0"  # of several processes one talks
    if not first:
        heartbeat.end()
    opened = Corpus.load(corpus, pairs(space or [], "--space"))
    with progress(quiet or not first) as bar:
        trainer = make_trainer(
            opened,
            llm or llm_of(before),  # type: ignore[arg-type] # one of the two is there
            out,
            settings,
            revision=revision,
            device=device,
            resume=resume,
            start=before,
            trust_encoder=trust_encoder,
            chat_template=chat_template,
            reporter=BarReporter(bar),
        )
        run = trainer.run()
    note(f"run written to {run.path}; ask it with `vectalk ask {run.path} ...`", quiet or not first)
    if as_json and first:
        emit({"run": str(run.path), **run.card.model_dump()}, "", True)
