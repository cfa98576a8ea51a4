"""`vectalk evaluate`: measure a run on test entities, next to controls and baselines."""

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Group

from vectalk.cli import common, free_questions
from vectalk.cli.decoding_options import NoRepeatNgramSize, RepetitionPenalty
from vectalk.cli.jobs import Jobs
from vectalk.cli.llm_options import FORMS, LLMOptions, takes_llm
from vectalk.errors import EvaluationError

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
DETAILED = 3  # up to so many tasks have a table each; more share one table for each figure


@app.command(help="Measure a run on test entities, next to controls and baselines.")
@takes_llm
def evaluate(
    run: common.RunPlace,
    out: Annotated[
        Path, typer.Option("--out", help="Folder of the results. If the command was interrupted, repeat it to resume.")
    ],
    corpus: Annotated[
        Path | None, typer.Option("--corpus", help="Folder of the corpus; the run's own when omitted.")
    ] = None,
    space: Annotated[
        list[str] | None,
        typer.Option("--space", help="NAME=DIR: new folder of a space that was moved; may be repeated."),
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="Only this task; may be repeated. All tasks when omitted.")
    ] = None,
    llm: common.MovedLlm = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Largest number of test examples of each task; all when omitted.")
    ] = None,
    condition: Annotated[
        list[str] | None,
        typer.Option(
            "--condition",
            help="Control or baseline to measure: the name of a condition, `stage1`, or `default` for the usual ones; "
            "may be repeated. elm, shuffled and own_text are always measured.",
        ),
    ] = None,
    questions: Annotated[
        str | None,
        typer.Option(
            "--questions",
            help="Ask free questions in place of the tasks: a YAML file of questions, or `unseen` for the packaged "
            "questions about films. The figures are added to the evaluation in --out. --limit then limits the test "
            "entities (default 100).",
        ),
    ] = None,
    ratings: Annotated[
        str | None,
        typer.Option(
            "--ratings",
            help="Held-out ratings for behavioural consistency: a folder that `space factorize` wrote, a file, or "
            "SPACE=FILE. Default: searched in the folder above the spaces.",
        ),
    ] = None,
    text_llm: Annotated[
        str | None, typer.Option("--text-llm", help=f"Baseline: an LLM that gets the titles, not the vector: {FORMS}.")
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            "--encoder",
            help="Text encoder of the read-back: tfidf, minilm, or a sentence transformer. Default: the one that made "
            "the space, else tfidf.",
        ),
    ] = None,
    trust_encoder: common.TrustEncoder = False,
    same_encoder: Annotated[
        bool | None,
        typer.Option(
            "--same-encoder/--other-encoder",
            help="Whether this encoder made the space, so that SC is the plain cosine. Default: what the space says.",
        ),
    ] = None,
    readback_texts: Annotated[
        int, typer.Option("--readback-texts", help="Largest number of training texts of a task to fit its read-back.")
    ] = 6000,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest answer, in tokens.")] = 160,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram_size: NoRepeatNgramSize = None,
    overwrite: common.Overwrite = False,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    json: common.Json = False,
    quiet: common.Quiet = False,
    *,
    llm_options: LLMOptions,
) -> None:
    """Load a run and its corpus, evaluate, and print tables."""
    from vectalk.evaluation import CONDITIONS, ClientChat, evaluate_questions, table
    from vectalk.evaluation import evaluate as measure
    from vectalk.files import read_json
    from vectalk.talk import ELM
    from vectalk.tasks import Corpus

    llm_options.check(text_llm, "--text-llm")
    if questions is not None:
        useless = {"task": task, "condition": condition, "ratings": ratings, "encoder": encoder}
        free_questions.refuse(questions, **useless, trust_encoder=trust_encoder, same_encoder=same_encoder is not None)
    spaces = common.pairs(space or [], "--space")
    model = ELM.from_pretrained(run, spaces=spaces, llm=llm, device=device)
    place = corpus or getattr(model, "corpus_path", None)
    if place is None:
        raise EvaluationError(f"{run} has no path of its corpus; give --corpus DIR")
    conditions = [name for part in (condition or ["default"]) for name in (CONDITIONS if part == "default" else [part])]
    conditions += ["text_llm"] if text_llm else []
    penalties: dict[str, Any] = {"repetition_penalty": repetition_penalty, "no_repeat_ngram_size": no_repeat_ngram_size}
    opened = llm_options.open(text_llm, "--text-llm", greedy=True, quiet=quiet) if text_llm else nullcontext()
    with opened as client, common.progress(quiet) as bar:
        jobs = Jobs(bar)

        def advance(what: str, done: int, total: int) -> None:
            jobs.move(what, done, total, kept=what.endswith(": elm"))

        chat = None if client is None else ClientChat(client, advance)
        if questions is not None:
            rows = evaluate_questions(
                model,
                Corpus.load(place, spaces),
                out,
                questions,
                chat=chat,
                limit=limit,
                seed=seed,
                overwrite=overwrite,
                progress=advance,
                max_new_tokens=max_new_tokens,
                **{name: value for name, value in penalties.items() if value is not None},
            )
            free_questions.show(rows, out, json, quiet)
            return
        rows = measure(
            model,
            Corpus.load(place, spaces),
            out,
            stage1=lambda: ELM.from_pretrained(run, spaces=spaces, llm=llm, device=device, stage=1),
            chat=chat,
            overwrite=overwrite,
            progress=advance,
            tasks=task or None,
            limit=limit,
            conditions=conditions,
            ratings=ratings,
            encoder=encoder,
            trust_encoder=trust_encoder,
            same_encoder=same_encoder,
            readback_texts=readback_texts,
            seed=seed,
            max_new_tokens=max_new_tokens,
            **penalties,
        )
    card = read_json(out / "config.json")
    few = len(card["tasks"]) <= DETAILED
    common.emit(list(rows), Group(*(table.rich_tables(rows) if few else table.rich_summary(rows))), json)
    for name, reason in card["not_run"].items():
        common.note(f"{name}: not measured ({reason})", quiet)
    common.note(f"written to {out}; the report is {out / 'report.html'}", quiet)
    common.note("all figures are in metrics.jsonl; config.json lists what was left out", quiet)
