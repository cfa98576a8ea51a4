"""`vectalk ask`."""

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import (
    Bind,
    Device,
    Json,
    LoadIn,
    MaxNewTokens,
    MovedLlm,
    MovedSpaces,
    Quiet,
    RunPlace,
    Seed,
    TrustEncoder,
    emit,
    err,
    heartbeat,
    pairs,
)
from vectalk.cli.decoding_options import (
    MinP,
    NoRepeatNgramSize,
    RepetitionPenalty,
    Sample,
    Temperature,
    TopK,
    TopP,
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
    load_in: LoadIn = None,
    max_new_tokens: MaxNewTokens = 128,
    sample: Sample = False,
    temperature: Temperature = None,
    top_p: TopP = None,
    top_k: TopK = None,
    min_p: MinP = None,
    repetition_penalty: RepetitionPenalty = None,
    no_repeat_ngram_size: NoRepeatNgramSize = None,
    beams: Annotated[int, typer.Option("--beams", help="Width of the beam search; 1 means no beam search.")] = 1,
    neighbors: Annotated[int, typer.Option("--neighbors", "-k", help="Number of nearest entities to list.")] = 5,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="Text at which the answer ends; may be repeated.")
    ] = None,
    names: Names = "force",
    names_weight: NamesWeight = None,
    strict: Annotated[
        bool,
        typer.Option("--strict", help="Do not answer if a vector is out of distribution; the exit code is then 3."),
    ] = False,
    influence: Annotated[
        bool,
        typer.Option("--influence", help="Show, in nats, how much each word of the answer depends on the vector."),
    ] = False,
    candidates: Annotated[
        int,
        typer.Option(
            "--candidates",
            help="Number of answers to write; only the one whose read-back is nearest to the vector is shown.",
        ),
    ] = 1,
    encoder: Annotated[
        str,
        typer.Option(
            "--encoder", help="Text encoder that reads the candidates back: minilm, tfidf or a sentence transformer."
        ),
    ] = "minilm",
    trust_encoder: TrustEncoder = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask about any point of a space. The answer is streamed to stdout; support and neighbours go to stderr."""
    from vectalk.talk import ELM, Answer

    elm = ELM.from_pretrained(
        run,
        spaces=pairs(space or [], "--space"),
        llm=llm,
        device=device,
        trust_encoder=trust_encoder,
        load_in=load_in,  # type: ignore[arg-type] # checked by the option
    )
    bindings = dict(pairs(bind or [], "--bind"))
    settings: dict[str, Any] = {
        "neighbors": neighbors,
        "strict": strict,
        "influence": influence,
        "max_new_tokens": max_new_tokens,
        "sample": sample,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "no_repeat_ngram_size": no_repeat_ngram_size,
        "beams": beams,
        "names": names,
        "names_weight": names_weight,
        "seed": seed,
        "stop": tuple(stop or ()),
    }
    if as_json or beams > 1 or candidates > 1:  # these answers cannot be streamed
        answer = elm.ask(question, bindings, candidates=candidates, encoder=encoder, **settings)
        emit(answer.to_dict(), answer.text, as_json)
    else:
        heartbeat.end()  # the streamed answer shows the progress
        for piece in elm.stream(question, bindings, **settings):
            if isinstance(piece, Answer):
                answer = piece
            else:
                sys.stdout.write(piece)
                sys.stdout.flush()
        sys.stdout.write("\n")
    if not (quiet or as_json):
        _show_report(elm, answer)
    if answer.abstained is not None:
        raise typer.Exit(3)


def _show_report(elm: "ELM", answer: "Answer") -> None:
    """Print support, neighbours, influence and notes of an answer on stderr."""
    from vectalk.cli.influence import colored, strongest_tokens

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
            tokens = strongest_tokens(answer, slot)
            err.print(f"  most influenced by {{{slot}}} (nats): {tokens}", markup=False, style="dim", soft_wrap=True)
    show_mentions(answer.mentions)
    if answer.consistency is not None:
        err.print(f"\ncosine between the read-back of the answer and the vector: {answer.consistency:.3f}", style="dim")
    others = elm.trained_wordings(answer.question)
    if others:
        wordings = "; ".join(others[:4])
        err.print(
            f"\n(the run was trained on other wordings, such as: {wordings})", markup=False, style="dim", soft_wrap=True
        )
    if answer.cut == "context":
        context = elm.model.language.context
        err.print(
            f"(the answer is cut off, because question and answer fill the LLM's context of {context} tokens)",
            style="dim",
            soft_wrap=True,
        )
    elif answer.cut is not None:
        limit = answer.settings["max_new_tokens"]
        err.print(
            f"(the answer is cut off at {limit} tokens; raise --max-new-tokens to get more)",
            style="dim",
            soft_wrap=True,
        )
