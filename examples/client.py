"""Ask a running server with the openai SDK: vectors as content parts, as bindings and in plain text.

    vectalk serve runs/demo/run --port 8000
    python examples/client.py --point "'Alien (1979)'" --other "'Annie Hall (1977)'"

Needs only `pip install openai`; vectalk itself may run elsewhere.
"""

from __future__ import annotations

import argparse
import os
from typing import Any

import openai


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="address of the server")
    parser.add_argument("--space", default="film", help="space of the points")
    parser.add_argument("--point", default="'Alien (1979)'", help="title, id or expression")
    parser.add_argument("--other", default="'Annie Hall (1977)'", help="another one")
    options = parser.parse_args()
    client = openai.OpenAI(base_url=f"{options.url}/v1", api_key=os.environ.get("VECTALK_API_KEY", "none"))
    models = [model.id for model in client.models.list()]
    print("models:", ", ".join(models))
    between = f"lerp({options.point}, {options.other}, 0.5)"

    # A vector where it stands in the text. `values` or `base64` may replace `expression`.
    vector: Any = {"type": "vector", "space": options.space, "expression": between}
    parts = [{"type": "text", "text": "Describe "}, vector, {"type": "text", "text": "."}]
    answer = client.chat.completions.create(
        model=models[0], max_tokens=60, messages=[{"role": "user", "content": parts}]
    )
    print(f"\n{between}\n  {answer.choices[0].message.content}")
    grounds = (answer.choices[0].model_extra or {})["vectalk"]
    for slot, report in grounds["slots"].items():
        print(f"  {{{slot}}}: {report['support']['text']}")
        print("  near:", "; ".join(near["title"] for near in report["neighbors"]))

    # Slots in the text and their vectors beside it; the answer comes as a stream.
    stream = client.chat.completions.create(
        model=models[0],
        max_tokens=60,
        messages=[{"role": "user", "content": "What do {a} and {b} have in common?"}],
        extra_body={"bindings": {name: f"{options.space}:{point}" for name, point in _named(options)}},
        stream=True,
    )
    print(f"\n{options.point} and {options.other}\n  ", end="")
    for chunk in stream:
        if chunk.choices:
            print(chunk.choices[0].delta.content or "", end="", flush=True)
    print()

    # Texts as vectors of the space, where the run can read them.
    for name in models[1:]:
        embedding = client.embeddings.create(model=name, input="a quiet film about the sea")
        print(f"\n{name}: {len(embedding.data[0].embedding)} numbers, {embedding.model_extra}")


def _named(options: argparse.Namespace) -> list[tuple[str, str]]:
    return [("a", options.point), ("b", options.other)]


if __name__ == "__main__":
    main()
