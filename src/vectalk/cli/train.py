"""`vectalk train`."""

import os
from pathlib import Path
from typing import Annotated, Any, cast, get_args

import typer

from vectalk.cli.common import (
    ChatTemplateFile,
    Device,
    Json,
    LoadIn,
    Quiet,
    TrustEncoder,
    emit,
    heartbeat,
    note,
    pairs,
    progress,
)
from vectalk.cli.jobs import Jobs

app = typer.Typer(add_completion=False)


@app.command()
def train(
    corpus: Annotated[Path, typer.Argument(help="Folder of a corpus.")],
    out: Annotated[Path, typer.Option("--out", help="Folder to write: the run.")],
    llm: Annotated[
        str | None,
        typer.Option("--llm", help="Base LLM: a folder, a GGUF file, or owner/name on the hub."),
    ] = None,
    start: Annotated[
        str | None,
        typer.Option(
            "--from", help="Finished run to start from, with its LLM and adapters: a folder, or hf://owner/name."
        ),
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", help="YAML file of training settings.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A training setting, e.g. stage2.steps=500; may be repeated.")
    ] = None,
    objective: Annotated[
        str | None,
        typer.Option(
            "--objective",
            help="What to learn, without a config file: `targets` (the texts of the corpus), `distill` (to answer any "
            "question as the LLM would that knows the facts; see docs/training.md), or `both`. Default: targets.",
        ),
    ] = None,
    lora: Annotated[
        bool, typer.Option("--lora", help="Train a low-rank update (LoRA) in stage 2 instead of full fine-tuning.")
    ] = False,
    load_in: LoadIn = None,
    minutes: Annotated[
        float | None,
        typer.Option(
            "--minutes",
            min=0.1,
            help="Longest time of the whole training, in minutes. The numbers of steps are lowered to fit. No limit "
            "when omitted.",
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the interrupted run in --out from its last checkpoint.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option("--revision", help="Branch, tag or commit of an LLM on the hub.")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", help="NAME=DIR: new folder of a space that was moved; may be repeated."),
    ] = None,
    chat_template: ChatTemplateFile = None,
    trust_encoder: TrustEncoder = False,
    seed: Annotated[
        int | None, typer.Option("--seed", help="Seed of all random choices. Default: the setting `seed`.")
    ] = None,
    report_to: Annotated[
        list[str] | None,
        typer.Option(
            "--report-to", help="Send the figures of training to tensorboard, wandb or mlflow too; may be repeated."
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Train nothing: measure a few steps, and show parameters, tokens, memory and time."
        ),
    ] = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a run on a corpus: the adapter alone, or together with the LLM. A recipe chooses what suits the LLM."""
    from vectalk.errors import TrainingError
    from vectalk.model.run import Run
    from vectalk.reading.yaml_text import YamlError, parse_yaml
    from vectalk.tasks import Corpus
    from vectalk.training import TrainConfig, make_trainer
    from vectalk.training.budget import Budget, answer_tokens
    from vectalk.training.folder import base_of
    from vectalk.training.recipe import BY_OBJECTIVE, Objective, choose_recipe
    from vectalk.training.rehearsal import rehearse
    from vectalk.training.setup import Setup
    from vectalk.training.start import llm_of

    overrides: dict[str, Any] = {}
    for name, value in pairs(set_ or [], "--set").items():
        try:
            overrides[name] = parse_yaml(value)
        except YamlError:
            raise typer.BadParameter(f"--set {name}: {value!r} is not a valid YAML value") from None
    if objective is not None and objective not in get_args(Objective):
        raise typer.BadParameter(f"--objective is {objective!r}; allowed are {', '.join(get_args(Objective))}")
    if objective is not None and (resume or config is not None):
        raise typer.BadParameter(
            "--objective chooses a recipe, and the settings come from a file here; leave out --objective, and write "
            f"`recipe: {BY_OBJECTIVE.get(cast(Objective, objective), 'pretrained')}` in the file of a new run"
        )
    if lora and objective not in BY_OBJECTIVE:  # their recipes train a low-rank update in any case
        overrides["stage2.llm"] = "lora"
    if load_in is not None:
        overrides["load_in"] = None if load_in == "none" else load_in
    if minutes is not None:
        overrides["minutes"] = minutes
    if seed is not None:
        overrides["seed"] = seed
    if resume and config is None and (out / "config.yaml").is_file():
        config = out / "config.yaml"  # the settings that the run was started with
    before = None if start is None else Run.load(start)
    if resume and llm is None and before is None:
        llm, revision = base_of(out, revision)
    if (before is None) == (llm is None):
        raise TrainingError("give either --llm (the base LLM) or --from (a run to start from)")
    base = llm or llm_of(before)  # type: ignore[arg-type] # one of the two is given
    if report_to:
        overrides["report_to"] = report_to
    recipe = None if resume else choose_recipe(base, revision, cast(Objective, objective or "targets"))
    settings = TrainConfig.load(config, overrides, recipe)
    first = os.environ.get("RANK", "0") == "0"  # only the first process prints
    if not first:
        heartbeat.end()
    opened = Corpus.load(corpus, pairs(space or [], "--space"))
    options: dict[str, Any] = {
        "revision": revision,
        "device": device,
        "resume": resume,
        "start": before,
        "chat_template": chat_template,
    }
    with progress(quiet or not first) as bar:
        reporter = Jobs(bar)
        if dry_run:
            setup = Setup.make(opened, base, out, settings, claim=False, progress=reporter.work, **options)
            _report_recipe(setup, recipe)
            estimate = rehearse(setup, reporter)
            if settings.minutes is not None:
                budget = Budget.fit(estimate, settings, 60 * settings.minutes, answer_tokens(setup))
                note(f"in {settings.minutes:g} minutes, training would make at most {budget}", quiet)
        else:
            trainer = make_trainer(
                opened, base, out, settings, reporter=reporter, trust_encoder=trust_encoder, **options
            )
            _report_recipe(trainer.setup, recipe)
            run = trainer.run()
    if dry_run:
        emit({"config": settings.model_dump(), "estimate": estimate.to_dict()}, str(estimate), as_json)
        return
    note(f"run written to {run.path}; ask it with `vectalk ask {run.path} ...`", quiet or not first)
    if as_json and first:
        emit({"run": str(run.path), **run.card.model_dump()}, "", True)


def _report_recipe(setup: Any, recipe: Any) -> None:
    """Log the recipe, unless the settings name another one."""
    if recipe is not None and setup.config.recipe == recipe.name:
        setup.tell(str(recipe))
