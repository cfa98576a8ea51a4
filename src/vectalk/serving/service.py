"""`Service`: what the addresses of one server share."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from vectalk.decoding.settings import Decoding
from vectalk.errors import VectalkError
from vectalk.serving.gate import Gate
from vectalk.serving.layouts import Layouts
from vectalk.serving.limits import Limits
from vectalk.serving.metrics import Metrics
from vectalk.serving.texts import TextReader
from vectalk.serving.writer import Writer, writer_for
from vectalk.talk import ELM
from vectalk.talk.elm import report
from vectalk.talk.engine import RemoteEngine, TransformersEngine


@dataclass
class Service:
    """A model that answers over HTTP.

    Attributes:
        elm: the model.
        name: id of the model in requests.
        limits: the limits of requests.
        created: when the server began, in seconds since 1970.
        ready: whether everything is loaded.
        layouts: the layouts of the spaces, for the map.
        history: whether the LLM reads the earlier messages of a request; when omitted, as the run says.
    """

    elm: ELM
    name: str
    limits: Limits = field(default_factory=Limits)
    created: int = field(default_factory=lambda: int(time.time()))
    ready: bool = False
    layouts: Layouts = field(default_factory=Layouts)
    history: bool | None = None

    def __post_init__(self) -> None:
        if self.history is None:
            self.history = self.elm.reads_history

    @cached_property
    def writer(self) -> Writer:
        """Writes the answers."""
        return writer_for(self.elm.writer, self.limits.rows)

    @cached_property
    def gate(self) -> Gate:
        """Admits requests."""
        return Gate(self.limits.rows, self.limits.waiting)

    @cached_property
    def metrics(self) -> Metrics:
        """Figures for Prometheus."""
        return Metrics(
            active=lambda: self.writer.active, waiting=lambda: self.gate.waiting, draining=lambda: self.gate.draining
        )

    @cached_property
    def texts(self) -> dict[str, TextReader]:
        """The spaces that take texts: name -> reader."""
        readers = {}
        for name, space in self.elm.spaces.items():
            try:
                readers[name] = TextReader.of(Path(self.elm.run.path), space, self.elm.trust_encoder)
            except VectalkError:
                continue
        return readers

    def warm(self) -> None:
        """Load what first requests would wait for: names, neighbours and support of the spaces, and the decode loop."""
        for space in self.elm.spaces.values():
            if len(space):
                point = space[space.title(0)] if space.title(0) in space else space[0]
                report(point, 1)
        if isinstance(self.elm.engine, TransformersEngine):
            self.elm.engine.generate(["Hello"], [{}], Decoding(max_new_tokens=2))
        _ = self.writer, self.texts
        self.ready = True

    def check_engine(self) -> None:
        """Raise an EngineError where the answers depend on another server that is not ready."""
        if isinstance(self.elm.engine, RemoteEngine):
            self.elm.engine.check()


def model_name(run: str | Path) -> str:
    """Return the id of a run: `owner/name` on the hub, else the name of its folder, or of the folder around `run`."""
    text = str(run)
    if text.startswith("hf://"):
        return text.removeprefix("hf://")
    folder = Path(run).expanduser().resolve()
    return folder.parent.name if folder.name == "run" and folder.parent.name else folder.name
