"""`vectalk ask`."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from vectalk.cli.common import Device, Json, Quiet, Seed, emit, err, pairs

app = typer.Typer(add_completion=False)


@app.command()
def ask(
    run: Annotated[Path, typer.Argument(help="Folder of a run.")],
    question: Annotated[str, typer.Argument(help='Text with slots, e.g. "Summarise {film}."')],
    bind: Annotated[
        list[str] | None,
        typer.Option(
            "--bind", help="SLOT=title, id or expression, e.g. film=\"lerp('A', 'B', 0.5)\"; may be repeated."
        ),
    ] = None,
    space: Annotated[list[str] | None, typer.Option("--space", help="NAME=DIR of a space that moved.")] = None,
    llm: Annotated[str | None, typer.Option("--llm", help="Another place of the base LLM.")] = None,
    max_new_tokens: Annotated[int, typer.Option("--max-new-tokens", help="Longest answer.")] = 128,
    temperature: Annotated[float, typer.Option("--temperature", help="0 is greedy.")] = 0.0,
    top_p: Annotated[float, typer.Option("--top-p", help="Share of the probability that is sampled from.")] = 1.0,
    beams: Annotated[int, typer.Option("--beams", help="Width of beam search.")] = 1,
    neighbors: Annotated[int, typer.Option("--neighbors", "-k", help="Nearest entities to name.")] = 5,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask about any point of a space; the answer streams to stdout, its grounds to stderr."""
    from vectalk.talk import ELM, Answer

    elm = ELM.from_pretrained(run, spaces=pairs(space or [], "--space"), llm=llm, device=device)
    bindings = dict(pairs(bind or [], "--bind"))
    settings = {
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "beams": beams,
        "seed": seed,
    }
    if as_json or beams > 1:  # a beam is known only at its end
        answer = elm.ask(question, bindings, neighbors=neighbors, **settings)
        emit(answer.to_dict(), answer.text, as_json)
    else:
        for piece in elm.stream(question, bindings, neighbors=neighbors, **settings):
            if isinstance(piece, Answer):
                answer = piece
            else:
                sys.stdout.write(piece)
                sys.stdout.flush()
        sys.stdout.write("\n")
    if quiet or as_json:
        return
    for slot, report in answer.slots.items():
        err.print(f"\n{{{slot}}} = {report.source}: {report.support}", markup=False, style="dim", soft_wrap=True)
        for near in report.neighbors:
            err.print(f"  {near.similarity:6.3f}  {near.title}", markup=False, style="dim", soft_wrap=True)
    others = elm.trained_wordings(question)
    if others:
        shown = "; ".join(others[:4])
        err.print(
            f"\n(the run was trained on other wordings, such as: {shown})", markup=False, style="dim", soft_wrap=True
        )
    if not answer.finished:
        err.print(f"(cut at {max_new_tokens} tokens; --max-new-tokens allows more)", style="dim")
