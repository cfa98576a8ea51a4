"""Read the answers of endpoints: a reply in one of the many formats in use, or the message in its place."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any

from vectalk.errors import TeacherError
from vectalk.llm.replies import Message, Reply
from vectalk.llm.spending import MESSAGE, estimated_tokens

EXCERPT = 500  # characters of a message or of reasoning that are shown or stored
MOST_TOKENS = 10**9  # a larger count is wrong
# Reasons for the end of a reply, as servers name them. Complete JSON without a reason ended normally.
FINISHES = {
    **dict.fromkeys(
        (
            "",
            "stop",
            "eos",
            "eos_token",
            "end_turn",
            "end_of_turn",
            "stop_sequence",
            "end",
            "complete",
            "completed",
            "done",
        ),
        "stop",
    ),
    **dict.fromkeys(("length", "max_tokens", "max_output_tokens", "model_length", "token_limit"), "length"),
    **dict.fromkeys(
        ("content_filter", "safety", "recitation", "blocklist", "prohibited_content", "refusal"), "content_filter"
    ),
}
REASONING = ("reasoning_content", "reasoning", "thinking")  # fields of a message
_TAGS = "think|thinking|thought|reasoning"
_OPENS = re.compile(rf"<(?:{_TAGS})>|\[THINK\]", re.IGNORECASE)
_CLOSES = re.compile(rf"</(?:{_TAGS})>|\[/THINK\]", re.IGNORECASE)
_PAGE = re.compile(r"^\W*<(?:!doctype html|html|head|body)\b", re.IGNORECASE)
_BEFORE_PAGE = re.compile(r"<!--.*?-->|<\?xml\b[^>]*>", re.DOTALL)
_EVENT = re.compile(rb"^data:\s*(\{.*\})\s*$", re.MULTILINE)  # an event of a stream (SSE)
EMPTY = "its body is empty"
_UNITS = {"ms": 0.001, "mil": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}  # beginning of a unit -> seconds
_UNIT = r"(?:ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hrs?|hours?)\b"
_PAUSE = re.compile(
    rf"(?:retry|try[ _]again)[^0-9]{{0,24}}?((?:\d+(?:\.\d+)?\s*{_UNIT}\s*)+|(?:\d+h)?(?:\d+m)?\d+(?:\.\d+)?s\b)",
    re.IGNORECASE,
)
_FIELD = re.compile(r"retry[_-]?after\"\s*:\s*\"?(\d+(?:\.\d+)?)\b", re.IGNORECASE)


class NoReplyError(TeacherError):
    """The answer of an endpoint is not a reply.

    Attributes:
        code: the status or word that the answer names as the reason; "" if it names none.
        page: whether the answer is a web page.
    """

    def __init__(self, problem: str, code: str = "", page: bool = False) -> None:
        super().__init__(problem)
        self.code, self.page = code, page


def read_reply(body: bytes, messages: Sequence[Message], limit: int) -> Reply:
    """Return the reply in a body of status 200.

    Args:
        body: body of the endpoint's answer.
        messages: messages of the request, to estimate tokens that the endpoint does not count.
        limit: longest reply, in tokens.

    Raises:
        NoReplyError: the body holds no reply.
    """
    answer = _parsed(body)
    if answer is None:
        raise _no_json(body)
    choice = _first(answer.get("choices")) if isinstance(answer, dict) else None
    message = choice.get("message") if isinstance(choice, dict) else None
    problem, code = message_in(body)
    if not isinstance(choice, dict) or not isinstance(message, dict) or choice.get("error") or answer.get("error"):
        raise NoReplyError(problem, code)
    try:
        text, thoughts = _texts(message.get("content"))
    except TypeError:
        raise NoReplyError(f"its content is no text: {problem}") from None
    finish = _finish(choice.get("finish_reason"))
    if finish == "error":
        raise NoReplyError(problem, code)
    inside, text = split_reasoning(text)
    fields = next(filter(None, (_text_of(message.get(name)) for name in REASONING)), "")
    reasoning = fields + thoughts + inside
    usage = _counts(answer.get("usage"))
    prompt, completion = usage or (
        round(estimated_tokens(messages)),
        round(estimated_tokens([{"content": text + reasoning}]) - MESSAGE),
    )
    if usage and choice.get("finish_reason") is None and completion >= limit:
        finish = "length"
    return Reply(
        text,
        finish,
        prompt,
        completion,
        counted=usage is not None,
        refusal=_text_of(message.get("refusal")),
        reasoning=_short(reasoning),
    )


def _no_json(body: bytes) -> NoReplyError:
    """Return the error for a body that is not JSON: an empty body, a web page, a stream of events, or other text."""
    message, code = message_in(body)
    if not body.strip():
        return NoReplyError(message)
    if _EVENT.search(body):
        return NoReplyError(f"it is a stream of events, which was not requested: {message}", code)
    page = _is_page(body[: 20 * EXCERPT].decode(errors="replace"))
    return NoReplyError(f"it is no JSON object but {'a web page' if page else 'this'}: {message}", page=page)


def split_reasoning(text: str) -> tuple[str, str]:
    """Split a reply into the reasoning in tags such as `<think>`, and the answer.

    If the template opens the reasoning, the reply has only `</think>`; a reply that was cut off has only `<think>`.
    """
    ends = list(_CLOSES.finditer(text))
    inside, rest = (text[: ends[-1].start()], text[ends[-1].end() :]) if ends else ("", text)
    if opened := _OPENS.search(rest):
        inside, rest = inside + rest[opened.end() :], rest[: opened.start()]
    return _OPENS.sub("", inside).strip(), rest.strip() if ends or opened else rest


def message_in(body: bytes) -> tuple[str, str]:
    """Return the message in a body, shortened to one line, and the code that it names, which may be "".

    Args:
        body: JSON in one of the formats in use, text, a web page, or a stream of events (its first error counts).
    """
    answer = _parsed(body)
    if answer is None:
        events = map(_parsed, _EVENT.findall(body))
        answer = next((event for event in events if next(_errors(event), None) is not None), None)
    if answer is None:
        if not body.strip():
            return EMPTY, ""
        text = body[: 20 * EXCERPT].decode(errors="replace")
        title = re.search(r"<title[^>]*>(.*?)</title>", text, re.IGNORECASE | re.DOTALL)
        return _short(title.group(1) if title and _is_page(text) else text), ""
    error = next(_errors(answer), answer)
    fields = error if isinstance(error, dict) else {}
    words = next((fields[name] for name in ("message", "detail", "error", "msg") if fields.get(name)), error)
    code = next((fields[name] for name in ("code", "status", "type") if isinstance(fields.get(name), str | int)), "")
    try:
        return _short(words if isinstance(words, str) else json.dumps(words, ensure_ascii=False)), _clean(str(code))
    except RecursionError:
        return "it is nested too deeply to be shown", ""


def pause_in(body: bytes) -> float | None:
    """Return the seconds that a body asks to wait, as in "try again in 1m20s"; None if it names none."""
    text = body[: 40 * EXCERPT].decode(errors="replace")
    if pause := _PAUSE.search(text):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", pause.group(1).lower())
        return sum(float(n) * next(s for name, s in _UNITS.items() if unit.startswith(name)) for n, unit in parts)
    field = _FIELD.search(text)
    return float(field.group(1)) if field else None


# ---- parts


def _parsed(body: bytes) -> Any:
    """Return the object or list in a JSON body, for a list of one its item; None if the body holds neither."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, list) and len(answer) == 1:
        (answer,) = answer
    return answer if isinstance(answer, dict | list) else None


def _is_page(text: str) -> bool:
    return _PAGE.match(_BEFORE_PAGE.sub("", text)) is not None


def _errors(answer: Any) -> Iterator[Any]:
    """Yield the errors in an answer: its `error`, and that of its first choice."""
    for part in (answer, _first(answer.get("choices")) if isinstance(answer, dict) else None):
        if isinstance(part, dict) and part.get("error"):
            inner = part["error"]
            # Gateways put the error of the server behind them into their own.
            yield inner if isinstance(inner, dict) else {**part, "message": inner}


def _first(values: Any) -> Any:
    return values[0] if isinstance(values, list) and values else None


def _texts(content: Any) -> tuple[str, str]:
    """Return the text and the reasoning in a message's content.

    Raises:
        TypeError: the content is neither a string, nor None, nor a list of parts.
    """
    text, thoughts = "", ""
    for part in content if isinstance(content, list) else [] if content is None else [content]:
        if not isinstance(part, str | dict):
            raise TypeError
        piece = part if isinstance(part, str) else _text_of([part]) or _text_of(part.get("thinking"))
        if isinstance(part, dict) and str(part.get("type", "")).startswith(("thinking", "reasoning")):
            thoughts += piece
        else:
            text += piece
    return _clean(text), _clean(thoughts)


def _text_of(value: Any) -> str:
    """Return the text of a field: a string as it is, the texts of a list of parts, "" for anything else."""
    texts = []
    for part in value if isinstance(value, list) else [value]:
        inner = part.get("text") if isinstance(part, dict) else part
        texts.append(inner.get("value") if isinstance(inner, dict) else inner)
    return _clean("".join(text for text in texts if isinstance(text, str)))


def _clean(text: str) -> str:
    """Return a text without lone surrogates, which cannot be written to a file."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _finish(value: Any) -> str:
    word = _clean(str(value if value is not None else "")).strip().lower().removeprefix("finish_reason_")
    return FINISHES.get(word, word[:40])


def _counts(usage: Any) -> tuple[int, int] | None:
    """Return the tokens of prompt and reply; None if the endpoint did not count them."""
    fields = usage if isinstance(usage, dict) else {}
    counts = [n for n in map(fields.get, ("prompt_tokens", "completion_tokens")) if type(n) is int]
    return (counts[0], counts[1]) if len(counts) == 2 and all(0 <= n < MOST_TOKENS for n in counts) else None


def _short(text: str) -> str:
    line = _clean(" ".join(text[: 20 * EXCERPT].split()))
    return line if len(line) <= EXCERPT else line[: EXCERPT - 1] + "…"
