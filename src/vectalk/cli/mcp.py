"""`vectalk mcp`."""

from typing import Annotated

import typer

from vectalk.cli.common import Device, Json, MovedLlm, MovedSpaces, Quiet, RunPlace, TrustEncoder, heartbeat, pairs
from vectalk.errors import EngineError

app = typer.Typer(add_completion=False)


@app.command()
def mcp(
    run: RunPlace,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")] = 128,
    space: MovedSpaces = None,
    llm: MovedLlm = None,
    trust_encoder: TrustEncoder = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Offer a run to an assistant: the tools describe, compare, neighbors and support, over stdin and stdout.

    An assistant starts this command itself (Model Context Protocol). Stdout carries messages of the protocol alone,
    which are JSON with and without --json.
    """
    try:
        from vectalk.serving.tools import make_tool_server
    except ImportError as error:
        raise EngineError(f"the tools need {error.name}: pip install 'vectalk[mcp,serve]'") from None
    from vectalk.serving.limits import Limits
    from vectalk.serving.service import model_name
    from vectalk.talk import ELM

    elm = ELM.from_pretrained(
        run, spaces=pairs(space or [], "--space"), llm=llm, device=device, trust_encoder=trust_encoder
    )
    heartbeat.end()
    make_tool_server(elm, model_name(run), Limits(default_tokens=max_tokens)).run()
