"""The field `vectalk` of a choice: what an answer is based on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vectalk.talk import Answer

OUTSIDE = frozenset({"text", "question", "slots", "influence", "finished"})  # told elsewhere in a response
PATHS = frozenset({"run", "llm"})  # settings that name folders of the server


def grounds(answer: Answer, notes: Sequence[str] = ()) -> dict[str, Any]:
    """Return the question as it was read, a report on each vector, and the settings of the answer.

    Args:
        answer: the answer, with or without its text.
        notes: what the client should know about how its messages were read.
    """
    values = answer.to_dict()
    slots = {name: {**slot, "support": {**slot["support"], "text": str(answer.slots[name].support)}}
             for name, slot in values["slots"].items()}  # fmt: skip
    more = {name: value for name, value in values.items() if name not in OUTSIDE and value is not None}
    more["settings"] = {name: value for name, value in answer.settings.items() if name not in PATHS}
    if values["influence"] is not None:
        more["influence"] = values["influence"]
    return {"question": answer.question, "slots": slots, **({"notes": list(notes)} if notes else {}), **more}


def finish_reason(answer: Answer) -> str:
    """Return `stop` where the model ended the answer, `length` where a limit cut it."""
    return "stop" if answer.finished or answer.abstained is not None else "length"
