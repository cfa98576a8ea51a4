"""`vectalk`: the entry point. Errors of the user's are one clear message and exit code 2."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vectalk import __version__
from vectalk.errors import VectalkError

VERBS = {
    "demo": "embedded data: trains, evaluates, asks; what to try next",
    "space": "make, look at and check spaces of vectors",
    "concept": "fit directions that mean something, look at them",
    "suite": "look at suites of tasks, and check your own",
    "corpus": "build and look at training examples",
    "base-llm": "train a tiny LLM of one's own on a corpus's texts",
    "train": "train an adapter, then the LLM with it",
    "export": "write a run as a plain LLM folder, for servers",
    "push": "upload a run to the Hugging Face hub",
    "ask": "ask about any point of a space",
    "chat": "talk about points that stay bound",
    "narrate": "write one text for each vector of a space",
    "evaluate": "measure answers beside their controls and rivals",
    "curves": "measure answers along lines, concepts and ratings",
    "judge": "have texts rated blind, by people and by LLMs",
    "report": "write an evaluation's report anew, with its curves",
}


def _take_shared(command: Any) -> None:
    """Let a verb, or all the verbs of a group, take the shared options that it has no use for.

    A script may then pass them to every verb.
    """
    from vectalk.cli.common import Device, Quiet, Seed

    if isinstance(command, TyperGroup):
        for verb in command.commands.values():
            _take_shared(verb)
        return
    shared = typer.Typer(add_completion=False)

    @shared.command()
    def _(seed: Seed = 0, device: Device = "auto", quiet: Quiet = False) -> None: ...

    taken = {parameter.name for parameter in command.params}
    for option in typer.main.get_command(shared).params:
        if option.name not in taken and option.name != "help":
            option.expose_value, option.help = False, "No effect here."  # type: ignore[attr-defined]
            command.params.append(option)


class LazyGroup(TyperGroup):
    """Loads a verb's module when that verb is called, so that `vectalk --help` is quick."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"vectalk.cli.{cmd_name.replace('-', '_')}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        command.help = command.help or VERBS[cmd_name]
        _take_shared(command)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, VERBS))
        typer.echo("vectalk: talk to any point of an embedding space\n\nUsage: vectalk VERB ...\n")
        for verb, job in VERBS.items():
            typer.echo(f"  {verb:<{width}}  {job}")
        typer.echo("\n`vectalk VERB --help` tells more; `vectalk --version` prints the version.")


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"vectalk {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True)] = False) -> None:
    """Talk to any point of an embedding space."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; VECTALK_DEBUG=1 shows tracebacks."""
    guarded(lambda: app(arguments))


def guarded(run: Callable[[], None]) -> None:
    """Run something and end with one message where it fails by what the user gave."""
    from vectalk.cli.common import logging_shown

    try:
        with logging_shown():
            run()
    except (VectalkError, OSError) as error:
        if os.environ.get("VECTALK_DEBUG"):
            raise
        if isinstance(error, BrokenPipeError):
            sys.stderr.close()
            raise SystemExit(0) from None
        sys.stderr.write(f"vectalk: error: {error}\n")
        raise SystemExit(2) from None
    except KeyboardInterrupt:
        sys.stderr.write("\nvectalk: interrupted; nothing half written was left behind\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
