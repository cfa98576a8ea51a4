"""`vectalk serve`."""

import json
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vectalk.cli.common import (
    Device,
    History,
    Json,
    LoadIn,
    MovedLlm,
    MovedSpaces,
    Quiet,
    RunPlace,
    TrustEncoder,
    heartbeat,
    note,
    pairs,
)
from vectalk.errors import EngineError, SpaceError

if TYPE_CHECKING:
    from vectalk.serving import Service
    from vectalk.talk import ELM

app = typer.Typer(add_completion=False)


@app.command()
def serve(
    run: RunPlace,
    host: Annotated[
        str, typer.Option("--host", help="Address to listen on; others than loopback need an API key.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    api_key_env: Annotated[
        str | None,
        typer.Option("--api-key-env", help="Environment variable of the API key, or of several, separated by commas."),
    ] = None,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Listen on another address than loopback without an API key.")
    ] = False,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="Name under which clients may address the server; may be repeated."),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option("--cors", help="Origin whose pages may call the server, such as https://x.org; may be repeated."),
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Id of the model in requests; default: the name of the run's folder.")
    ] = None,
    engine: Annotated[
        str, typer.Option("--engine", help="`transformers` decodes in this process; `vllm-http` uses a vLLM server.")
    ] = "transformers",
    export: Annotated[
        Path | None, typer.Option("--export", help="Folder that the vLLM server serves (for --engine vllm-http).")
    ] = None,
    vllm_url: Annotated[
        str, typer.Option("--vllm-url", help="Address of the vLLM server, without /v1.")
    ] = "http://127.0.0.1:8001",
    page: Annotated[
        bool, typer.Option("--page/--no-page", help="Serve the page of the map, where it is built.")
    ] = True,
    rows: Annotated[int, typer.Option("--rows", min=1, help="Most answers that are decoded at once.")] = 64,
    waiting: Annotated[
        int, typer.Option("--waiting", min=0, help="Most requests that wait for a free row; others get status 429.")
    ] = 128,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Longest answer, in tokens.")] = 1024,
    max_vectors: Annotated[int, typer.Option("--max-vectors", min=1, help="Most vectors of one request.")] = 16,
    max_body: Annotated[int, typer.Option("--max-body", min=1024, help="Largest body, in bytes.")] = 2 << 20,
    timeout: Annotated[
        float, typer.Option("--timeout", min=0.1, help="Longest time of one request, in seconds.")
    ] = 300,
    drain: Annotated[
        int, typer.Option("--drain", min=0, help="Seconds that answers in progress have after SIGTERM.")
    ] = 30,
    history: History = None,
    space: MovedSpaces = None,
    llm: MovedLlm = None,
    load_in: LoadIn = None,
    trust_encoder: TrustEncoder = False,
    device: Device = "auto",
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Serve a run over HTTP: chat completions, embeddings and models in OpenAI's format, and a map in the browser.

    A space without a layout for the map gets one when the server starts; `vectalk space layout` makes it beforehand.

    With --json, one line with the address goes to stdout once the server takes requests.
    """
    try:
        from vectalk.serving import Limits, Service, create_app
    except ImportError as error:
        raise EngineError(f"the server needs {error.name}: pip install 'vectalk[serve]'") from None
    from vectalk.serving.guard import Hosts, Keys, is_loopback
    from vectalk.serving.page import is_built
    from vectalk.serving.server import make_server
    from vectalk.serving.service import model_name

    keys = _keys(api_key_env)
    loopback = is_loopback(host)
    if not loopback and not keys and not insecure:
        raise typer.BadParameter(
            f"--host {host} can be reached from other machines: name the API key with --api-key-env NAME, or pass "
            "--insecure"
        )
    sock = _listen(host, port)
    own = {"llm": llm, "device": device, "load_in": load_in}
    elm = _elm(run, engine, export, vllm_url, pairs(space or [], "--space"), own, trust_encoder)
    limits = Limits(
        body_bytes=max_body, vectors=max_vectors, max_tokens=max_tokens, rows=rows, waiting=waiting, seconds=timeout
    )
    if history and engine != "transformers":
        raise typer.BadParameter(f"--history needs the LLM in this process; --engine is {engine}")
    service = Service(elm, name or model_name(run), limits, history=history)
    if page and is_built():
        _lay_out(service, quiet)
    service.warm()
    names = [*(allow_host or []), *([host] if not loopback else []), *([] if loopback else [socket.gethostname()])]
    application = create_app(
        service,
        keys=Keys(keys),
        hosts=Hosts(names, loopback=loopback),
        origins=cors or [],
        page=page,
        access_log=not quiet,
    )

    def listening(number: int) -> None:
        heartbeat.end()
        address = "127.0.0.1" if host in ("0.0.0.0", "::") else f"[{host}]" if ":" in host else host
        url = f"http://{address}:{number}"
        if as_json:
            sys.stdout.write(json.dumps({"url": url, "model": service.name}) + "\n")
            sys.stdout.flush()
        shows = f"the map is at {url}/; " if page and is_built() else ""
        note(f"{shows}{service.name} answers at {url}/v1; {url}/docs explains the addresses; Ctrl-C stops", quiet)

    logging.getLogger("uvicorn").setLevel(logging.CRITICAL if quiet else logging.WARNING)
    make_server(
        application, service, host=host, port=port, drain_seconds=drain, listening=listening
    ).run(sockets=[sock])  # fmt: skip


def _lay_out(service: "Service", quiet: bool) -> None:
    """Compute the layouts that the map lacks; where a folder cannot be written, they last as long as the server."""
    from vectalk.cli.space_layout import computed

    for space in service.elm.spaces.values():
        if service.layouts.has(space):
            continue
        layout = computed(space, "auto", 0, quiet)
        service.layouts.add(layout)
        try:
            layout.save()
        except SpaceError as error:
            note(f"{error}; the next start computes it again", quiet)


def _keys(variable: str | None) -> list[str]:
    """Return the API keys of an environment variable."""
    if variable is None:
        return []
    keys = [key.strip() for key in os.environ.get(variable, "").split(",") if key.strip()]
    if not keys:
        raise typer.BadParameter(f"--api-key-env names {variable}, which is not set or is empty")
    if any(len(key) < 16 for key in keys):
        raise typer.BadParameter(f"the API key in {variable} has fewer than 16 characters; take a longer one")
    return keys


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before the model is loaded."""
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        raise EngineError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; name another --port"
        ) from None


def _elm(
    run: str,
    engine: str,
    export: Path | None,
    vllm_url: str,
    spaces: dict[str, str],
    own: dict[str, Any],
    trust_encoder: bool,
) -> "ELM":
    """Load the run; `own` holds the arguments that only an LLM in this process takes."""
    from vectalk.talk import ELM

    if engine == "transformers":
        return ELM.from_pretrained(run, spaces=spaces, trust_encoder=trust_encoder, **own)
    if engine != "vllm-http":
        raise typer.BadParameter(f"--engine is transformers or vllm-http, not {engine!r}")
    if own["load_in"] is not None:
        raise typer.BadParameter("--load-in works only with --engine transformers; vLLM has options of its own")
    if export is None:
        raise typer.BadParameter(
            "--engine vllm-http needs --export DIR, which `vectalk export RUN --merged DIR` writes"
        )
    from vectalk.talk.vllm_engine import VllmHttpEngine

    return ELM.from_pretrained(run, spaces=spaces, engine=VllmHttpEngine(export, vllm_url), trust_encoder=trust_encoder)
