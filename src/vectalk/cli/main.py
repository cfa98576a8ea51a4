"""`vectalk`: the entry point. An error of the user gives one clear message and exit code 2."""

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
        "demo": "train, evaluate and ask on included data",
    },
    "Vectors": {
        "space": "make, inspect and verify spaces of vectors",
        "concept": "fit concept directions and inspect them",
    },
    "Training data": {
        "suite": "show suites of tasks, and check your own",
        "corpus": "build and inspect training examples",
    },
    "Models": {
        "base-llm": "train a tiny LLM from scratch, if you have no pretrained LLM",
        "train": "train an adapter, then the LLM with it",
        "export": "write a run as a plain LLM folder, for servers",
        "push": "upload a run to the Hugging Face hub",
    },
    "Talk": {
        "ask": "ask about any point of a space",
        "chat": "ask several questions about the same points",
        "narrate": "write one text for each vector of a space",
        "serve": "answer over HTTP, in the format of OpenAI's API",
        "mcp": "offer a run to assistants as tools (Model Context Protocol)",
    },
    "Evaluation": {
        "evaluate": "measure answers, compared with controls and baselines",
        "curves": "measure answers along interpolations, concept shifts and ratings",
        "judge": "collect blind ratings of texts, from people and from LLMs",
        "report": "write the report of an evaluation again, with its curves",
    },
}
VERBS = {verb: job for group in GROUPS.values() for verb, job in group.items()}


def _add_examples(words: str, command: Any) -> None:
    """Put the example of a verb, or of every verb of a group, at the end of its help."""
    if isinstance(command, TyperGroup):
        for name, verb in command.commands.items():
            _add_examples(f"{words} {name}", verb)
    else:
        command.epilog = f"Example: {EXAMPLES[words]}"


class LazyGroup(TyperGroup):
    """Loads the module of a verb only when the verb is called, so that `vectalk --help` is fast."""

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


def _print_version(print_it: bool) -> None:
    if print_it:
        typer.echo(f"vectalk {__version__}")
        raise typer.Exit


@app.callback()
def _root(version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True)] = False) -> None:
    """Talk to any point of an embedding space."""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line. With VECTALK_DEBUG=1, errors show their traceback."""
    guarded(lambda: app(arguments))


def guarded(run: Callable[[], None]) -> None:
    """Run a function. If it raises an error that the user can fix, print one message and exit with code 2."""
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
        sys.stderr.write("\nvectalk: interrupted; no half-written files were left\n")
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
