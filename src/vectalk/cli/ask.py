"""`vectalk ask`."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import (
    Bind,
    Device,
    Json,
    MaxNewTokens,
    MovedLlm,
    MovedSpaces,
    Quiet,
    Seed,
    Temperature,
    TopP,
    emit,
    err,
    heartbeat,
    pairs,
)

if TYPE_CHECKING:
    from vectalk.talk import ELM, Answer

app = typer.Typer(add_completion=False)


@app.command()
def ask(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    question: Annotated[str, typer.Argument(help='Text with slots, e.g. "Summarise {film}."')],
    bind: Bind = None,
    space: MovedSpaces = None,
    llm: MovedLlm = None,
    max_new_tokens: MaxNewTokens = 128,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    beams: Annotated[int, typer.Option("--beams", help="Width of beam search.")] = 1,
    neighbors: Annotated[int, typer.Option("--neighbors", "-k", help="Nearest entities to name.")] = 5,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="A text that ends the answer; may be repeated.")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="No answer about what is far from anything real.")] = False,
    influence: Annotated[
        bool, typer.Option("--influence", help="Show which words come from the vector, and which from habit.")
    ] = False,
    candidates: Annotated[
        int, typer.Option("--candidates", help="Answers to write; the one that reads back nearest is kept.")
    ] = 1,
    judge: Annotated[
        str, typer.Option("--judge", help="Text encoder that compares candidates: minilm, tfidf or another.")
    ] = "minilm",
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask about any point of a space; the answer streams to stdout, its grounds to stderr.

    With --strict, where the answer is withheld, the exit code is 3.
    """
    from vectalk.talk import ELM, Answer

    elm = ELM.from_pretrained(run, spaces=pairs(space or [], "--space"), llm=llm, device=device)
    bindings = dict(pairs(bind or [], "--bind"))
    settings: dict[str, Any] = {
        "neighbors": neighbors,
        "strict": strict,
        "influence": influence,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "beams": beams,
        "seed": seed,
        "stop": tuple(stop or ()),
    }
    if as_json or beams > 1 or candidates > 1:  # a beam, or the best of several, is known only at its end
        answer = elm.ask(question, bindings, candidates=candidates, judge=judge, **settings)
        emit(answer.to_dict(), answer.text, as_json)
    else:
        heartbeat.end()  # the answer is seen to come
        for piece in elm.stream(question, bindings, **settings):
            if isinstance(piece, Answer):
                answer = piece
            else:
                sys.stdout.write(piece)
                sys.stdout.flush()
        sys.stdout.write("\n")
    if not (quiet or as_json):
        _grounds(elm, answer, max_new_tokens)
    if answer.abstained is not None:
        raise typer.Exit(3)


def _grounds(elm: "ELM", answer: "Answer", max_new_tokens: int) -> None:
    """Tell people what an answer stands on."""
    from vectalk.cli.influence import colored, told

    if answer.abstained is not None:
        err.print(f"(no answer: {answer.abstained})", markup=False, soft_wrap=True)
    for slot, report in answer.slots.items():
        err.print(f"\n{{{slot}}} = {report.source}: {report.support}", markup=False, style="dim", soft_wrap=True)
        for near in report.neighbors:
            err.print(f"  {near.similarity:6.3f}  {near.title}", markup=False, style="dim", soft_wrap=True)
        if answer.influence is not None and answer.influence.tokens:
            if err.is_terminal:
                err.print(colored(answer, slot), soft_wrap=True)
            err.print(f"  {{{slot}}} calls for (nats): {told(answer, slot)}", markup=False, style="dim", soft_wrap=True)
    if answer.consistency is not None:
        err.print(f"\nreads back with cosine {answer.consistency:.3f} to its vector", style="dim")
    others = elm.trained_wordings(answer.question)
    if others:
        shown = "; ".join(others[:4])
        err.print(
            f"\n(the run was trained on other wordings, such as: {shown})", markup=False, style="dim", soft_wrap=True
        )
    if not answer.finished and answer.abstained is None:
        err.print(f"(cut at {max_new_tokens} tokens; --max-new-tokens allows more)", style="dim")
