"""`vectalk ask`."""

import sys
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
    RunPlace,
    Seed,
    Temperature,
    TopP,
    TrustEncoder,
    emit,
    err,
    heartbeat,
    pairs,
)
from vectalk.cli.name_options import Names, NamesWeight, show_mentions

if TYPE_CHECKING:
    from vectalk.talk import ELM, Answer

app = typer.Typer(add_completion=False)


@app.command()
def ask(
    run: RunPlace,
    question: Annotated[str, typer.Argument(help="Question with a slot for each vector, such as 'Summarise {film}'.")],
    bind: Bind = None,
    space: MovedSpaces = None,
    llm: MovedLlm = None,
    max_new_tokens: MaxNewTokens = 128,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    beams: Annotated[int, typer.Option("--beams", help="Width of the beam search; 1 is none.")] = 1,
    neighbors: Annotated[int, typer.Option("--neighbors", "-k", help="How many of the nearest entities to name.")] = 5,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="Text that ends the answer; may be repeated.")
    ] = None,
    names: Names = "force",
    names_weight: NamesWeight = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Do not answer if a vector is out of distribution; the exit code is then 3."),
    ] = False,
    influence: Annotated[
        bool,
        typer.Option("--influence", help="Show which words come from the vector and which the LLM would write anyway."),
    ] = False,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates", help="Answers to write; the one whose read-back is nearest to the vector is kept."
        ),
    ] = 1,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", help="Text encoder that compares the candidates: minilm, tfidf or a sentence transformer."
        ),
    ] = "minilm",
    trust_encoder: TrustEncoder = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask about any point of a space. The answer streams to stdout; support and neighbours go to stderr."""
    from vectalk.talk import ELM, Answer

    elm = ELM.from_pretrained(
        run, spaces=pairs(space or [], "--space"), llm=llm, device=device, trust_encoder=trust_encoder
    )
    bindings = dict(pairs(bind or [], "--bind"))
    settings: dict[str, Any] = {
        "neighbors": neighbors,
        "strict": strict,
        "influence": influence,
        "max_new_tokens": max_new_tokens,
        "temperature": temperature,
        "top_p": top_p,
        "beams": beams,
        "names": names,
        "names_weight": names_weight,
        "seed": seed,
        "stop": tuple(stop or ()),
    }
    if as_json or beams > 1 or candidates > 1:  # a beam, or the best of several, is known only at its end
        answer = elm.ask(question, bindings, candidates=candidates, encoder=encoder, **settings)
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
        _grounds(elm, answer)
    if answer.abstained is not None:
        raise typer.Exit(3)


def _grounds(elm: "ELM", answer: "Answer") -> None:
    """Tell people what an answer stands on."""
    from vectalk.cli.influence import colored, told

    if answer.abstained is not None:
        err.print(f"(no answer: {answer.abstained})", markup=False, soft_wrap=True)
    for slot, report in answer.slots.items():
        err.print(f"\n{{{slot}}} = {report.source}: {report.support}", markup=False, style="dim", soft_wrap=True)
        for note in report.notes:
            err.print(f"  ({note})", markup=False, soft_wrap=True)
        for near in report.neighbors:
            err.print(f"  {near.similarity:6.3f}  {near.title}", markup=False, style="dim", soft_wrap=True)
        if answer.influence is not None and answer.influence.tokens:
            if err.is_terminal:
                err.print(colored(answer, slot), soft_wrap=True)
            err.print(f"  {{{slot}}} calls for (nats): {told(answer, slot)}", markup=False, style="dim", soft_wrap=True)
    show_mentions(answer.mentions)
    if answer.consistency is not None:
        err.print(f"\nreads back with cosine {answer.consistency:.3f} to its vector", style="dim")
    others = elm.trained_wordings(answer.question)
    if others:
        shown = "; ".join(others[:4])
        err.print(
            f"\n(the run was trained on other wordings, such as: {shown})", markup=False, style="dim", soft_wrap=True
        )
    if answer.cut == "context":
        context = elm.model.language.context
        err.print(f"(cut where question and answer fill the LLM's context of {context} tokens)", style="dim")
    elif answer.cut is not None:
        limit = answer.settings["max_new_tokens"]
        err.print(f"(cut at {limit} tokens; --max-new-tokens allows more)", style="dim")
