"""`vectalk chat`."""

import sys
from typing import TYPE_CHECKING

import typer

from vectalk.cli.common import (
    Bind,
    Device,
    History,
    Json,
    LoadIn,
    MaxNewTokens,
    MovedLlm,
    MovedSpaces,
    Quiet,
    RunPlace,
    Seed,
    TrustEncoder,
    err,
    heartbeat,
    out,
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
    without_none,
)
from vectalk.cli.name_options import Names, NamesWeight
from vectalk.errors import VectalkError

if TYPE_CHECKING:
    from vectalk.talk.chat import Chat

app = typer.Typer(add_completion=False)


@app.command()
def chat(
    run: RunPlace,
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
    names: Names = "force",
    names_weight: NamesWeight = None,
    history: History = None,
    trust_encoder: TrustEncoder = False,
    seed: Seed = 0,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Ask several questions about the same points. Type /bind film = 'Alien (1979)', then ask; /help explains more.

    With --json, each answer is one line of JSON on stdout and everything else goes to stderr.
    """
    from vectalk.talk import ELM
    from vectalk.talk.chat import Chat

    settings = without_none(
        max_new_tokens=max_new_tokens,
        sample=sample or None,
        temperature=temperature,
        top_p=top_p,
        top_k=top_k,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        no_repeat_ngram_size=no_repeat_ngram_size,
        names=names,
        names_weight=names_weight,
        seed=seed,
    )
    elm = ELM.from_pretrained(
        run,
        spaces=pairs(space or [], "--space"),
        llm=llm,
        device=device,
        trust_encoder=trust_encoder,
        load_in=load_in,  # type: ignore[arg-type] # checked by the option
    )
    elm.decoding(**settings)  # raises an error for a wrong setting
    talk = Chat(elm, settings, history=history)
    for slot, value in pairs(bind or [], "--bind").items():
        _say(talk, f"/bind {slot} = {value}", quiet, as_json)
    if not quiet:
        reads = "reads the earlier turns" if talk.history else "reads each question alone"
        err.print(
            f"Bind a point and ask about it; /help explains how, /quit ends the chat. The LLM {reads}.",
            style="dim",
            highlight=False,
        )
    _completion(talk)
    heartbeat.end()  # from here on, the prompt shows that the chat is ready
    while not talk.ended:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            sys.stdout.write("\n")
            continue
        _say(talk, line, quiet, as_json)


def _say(talk: "Chat", line: str, quiet: bool, as_json: bool) -> None:
    """Send a line to the chat and show the reply. If there is an error, show it; the chat continues."""
    from vectalk.talk import Answer

    try:
        for piece in talk.hear(line):
            if isinstance(piece, Answer) and as_json:
                sys.stdout.write(piece.to_json() + "\n")
                sys.stdout.flush()
            elif isinstance(piece, Answer):
                _show_report(piece, quiet)
            elif not (as_json and quiet):
                stream = sys.stderr if as_json else sys.stdout
                stream.write(piece)
                stream.flush()
    except (VectalkError, OSError) as error:
        err.print(f"{error}", markup=False, style="red", soft_wrap=True)
        return
    except KeyboardInterrupt:
        err.print("(interrupted)", style="dim")
    if line.strip() and not as_json:
        sys.stdout.write("\n")


def _show_report(answer: "object", quiet: bool) -> None:
    """Print the influence of an answer, or else the support of vectors that are unusual."""
    from vectalk.cli.influence import colored, strongest_tokens
    from vectalk.talk import Answer

    assert isinstance(answer, Answer)
    if answer.influence is not None:
        for slot in answer.influence.values:
            out.print(colored(answer, slot), soft_wrap=True)
            tokens = strongest_tokens(answer, slot)
            out.print(f"most influenced by {{{slot}}} (nats): {tokens}", markup=False, soft_wrap=True, end="")
    elif not quiet:
        for slot, report in answer.slots.items():
            if report.support.verdict != "real":
                err.print(f"\n({{{slot}}}: {report.support})", markup=False, style="dim", soft_wrap=True, end="")


def _completion(talk: "Chat") -> None:
    """Let the tab key complete commands and titles, if this Python has readline."""
    try:
        import readline
    except ImportError:  # Windows
        return

    def completed(text: str, state: int) -> str | None:
        line = readline.get_line_buffer()[: readline.get_endidx()]
        completions = talk.complete(line)
        return completions[state] if state < len(completions) else None

    readline.set_completer(completed)
    readline.set_completer_delims("'\"")
    readline.parse_and_bind("tab: complete")
