"""`vectalk`: the entry point. Errors of the user's are one clear message and exit code 2."""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from vectalk.cli.examples import EXAMPLES
from vectalk.errors import VectalkError
from vectalk.version import __version__

GROUPS = {
    "Start": {
        "demo": "embedded data: trains, evaluates, asks; what to try next",
    },
    "Vectors": {
        "space": "make, inspect and verify spaces of vectors",
        "concept": "fit concept directions and inspect them",
    },
    "Training data": {
        "suite": "inspect suites of tasks, and check your own",
        "corpus": "build and inspect training examples",
    },
    "Models": {
        "base-llm": "train a small LLM of your own, where no pretrained one can be had",
        "train": "train an adapter, then the LLM with it",
        "export": "write a run as a plain LLM folder, for servers",
        "push": "upload a run to the Hugging Face hub",
    },
    "Talk": {
        "ask": "ask about any point of a space",
        "chat": "talk about points that stay bound",
        "narrate": "write one text for each vector of a space",
        "serve": "answer over HTTP, in the format of OpenAI's API",
        "mcp": "offer a run to assistants as tools (Model Context Protocol)",
    },
    "Evaluation": {
        "evaluate": "measure answers beside controls and baselines",
        "curves": "measure answers along interpolations, concept shifts and ratings",
        "judge": "have texts rated blind, by people and by LLMs",
        "report": "write an evaluation's report again, with its curves",
    },
}
VERBS = {verb: job for group in GROUPS.values() for verb, job in group.items()}


def _add_examples(words: str, command: Any) -> None:
    """End the help of a verb, or of every verb of a group, with its example."""
    if isinstance(command, TyperGroup):
        for name, verb in command.commands.items():
            _add_examples(f"{words} {name}", verb)
    else:
        command.epilog = f"Example: {EXAMPLES[words]}"


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
        _add_examples(cmd_name, command)
        return command

    def format_help(self, ctx: Any, formatter: Any) -> None:
        width = max(map(len, VERBS))
        typer.echo("vectalk: talk to any point of an embedding space\n\nUsage: vectalk VERB ...")
        for group, verbs in GROUPS.items():
            typer.echo(f"\n{group}")
            for verb, job in verbs.items():
                typer.echo(f"  {verb:<{width}}  {job}")
        typer.echo(
            "\n`vectalk VERB --help` explains a verb and ends with an example. `vectalk --version` prints the version, "
            "`vectalk --install-completion` sets up completion in your shell."
        )


app = typer.Typer(cls=LazyGroup, no_args_is_help=True, pretty_exceptions_enable=False)


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
