"""A vLLM server as a process of its own, with fixed words, which stops in the middle of answers when it is told to.

python fake_vllm.py PORT all|hang|early|error
"""

import json
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

WORDS = ["Salt", " and", " pearls", " from", " the", " sea"]
SENT = 3  # words before it stops


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    way = "all"

    def do_GET(self) -> None:
        self._reply(b"" if self.path == "/health" else json.dumps({"data": [{"id": "islands"}]}).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert body["messages"][0]["content"][0]["type"] == "prompt_embeds"
        if not body.get("stream"):
            choice = {"message": {"content": "".join(WORDS)}, "finish_reason": "stop", "token_ids": [5] * len(WORDS)}
            self._reply(json.dumps({"choices": [choice]}).encode())
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for word in WORDS if self.way == "all" else WORDS[:SENT]:
            self._event({"choices": [{"delta": {"content": word}, "finish_reason": None, "token_ids": [5]}]})
        if self.way == "hang":
            time.sleep(600)
        if self.way == "error":
            self._event({"error": {"message": "EngineCore encountered an issue", "code": 500}})
        if self.way == "all":
            self._event({"choices": [{"delta": {}, "finish_reason": "stop"}]})
            self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _event(self, content: dict[str, Any]) -> None:
        self._chunk(b"data: " + json.dumps(content).encode() + b"\n\n")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def _reply(self, data: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *words: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Handler.way = sys.argv[2]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
