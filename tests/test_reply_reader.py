"""What endpoints answer, in the forms that servers send: whatever it is, it is a reply or an error of ours."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vectalk.errors import TeacherError
from vectalk.llm.replies import Reply
from vectalk.llm.reply_reader import FINISHES, message_in, pause_in, read_reply, split_reasoning

ASKED = [{"role": "user", "content": "Tell of the sea."}]
TEXT = "A quiet thing of the sea."


def body(content: Any = TEXT, finish: Any = "stop", usage: Any = None, **message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    made = {"id": "1", "object": "chat.completion", "choices": [choice]}
    return json.dumps(made if usage is None else {**made, "usage": usage}).encode()


def read(*args: Any, limit: int = 400, **message: Any) -> Reply:
    return read_reply(body(*args, **message), ASKED, limit)


# ---- forms


@pytest.mark.parametrize(
    ("finish", "read_as"),
    [
        *[(word, "stop") for word in ("stop", "eos", "eos_token", "STOP", "end_turn", "stop_sequence", "", None)],
        *[("FINISH_REASON_STOP", "stop"), ("Length", "length"), ("MAX_TOKENS", "length"), ("max_tokens", "length")],
        *[("SAFETY", "content_filter"), ("content_filter", "content_filter")],
        *[("tool_calls", "tool_calls"), (7, "7"), ({"a": 1}, "{'a': 1}")],
    ],
)
def test_the_reasons_for_an_end_have_many_names(finish: Any, read_as: str) -> None:
    assert read(TEXT, finish).finish == read_as
    assert set(FINISHES.values()) == {"stop", "length", "content_filter"}


def test_a_reply_that_names_no_reason_is_whole_unless_it_is_as_long_as_it_may_be() -> None:
    usage = {"prompt_tokens": 9, "completion_tokens": 40}
    assert read(TEXT, None, usage).finish == "stop"
    assert read(TEXT, None, usage, limit=40).finish == "length"
    nameless = json.loads(body())
    del nameless["choices"][0]["finish_reason"]
    assert read_reply(json.dumps(nameless).encode(), ASKED, 400).finish == "stop"


@pytest.mark.parametrize(
    "content",
    [
        TEXT,
        [{"type": "text", "text": TEXT}],
        [{"type": "text", "text": TEXT[:9]}, {"type": "text", "text": TEXT[9:]}],
        [TEXT[:9], TEXT[9:]],
        [{"text": TEXT}],
        {"type": "text", "text": TEXT},
        [{"type": "text", "text": {"value": TEXT, "annotations": []}}],
        [{"type": "output_text", "text": TEXT}],
    ],
)
def test_content_is_a_text_or_parts(content: Any) -> None:
    assert (read(content).text, read(content).reasoning) == (TEXT, "")


@pytest.mark.parametrize(
    "message",
    [
        {"content": f"<think>\nhm\n</think>\n\n{TEXT}"},
        {"content": f"hm\n</think>\n\n{TEXT}"},  # the template opened it
        {"content": f"<think>hm</think>{TEXT}\n<think>"},
        {"content": f"<thinking>hm</thinking>{TEXT}"},
        {"content": f"[THINK]hm[/THINK]{TEXT}"},
        {"content": f"<Think>hm</Think> {TEXT}"},
        {"content": TEXT, "reasoning_content": "hm"},
        {"content": TEXT, "reasoning": "hm"},
        {"content": TEXT, "reasoning": "hm", "reasoning_content": "hm"},
        {
            "content": [
                {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                {"type": "text", "text": TEXT},
            ]
        },
        {"content": [{"type": "reasoning", "text": "hm"}, {"type": "text", "text": TEXT}]},
    ],
)
def test_reasoning_is_no_part_of_an_answer(message: dict[str, Any]) -> None:
    reply = read(**message)
    assert (reply.text, reply.reasoning) == (TEXT, "hm")


@pytest.mark.parametrize(
    "message",
    [
        {"content": None, "reasoning_content": "Let me think."},
        {"content": "", "reasoning": "Let me think."},
        {"content": "<think>Let me think."},
        {"content": [{"type": "thinking", "thinking": "Let me think."}]},
    ],
)
def test_reasoning_that_was_cut_leaves_no_text(message: dict[str, Any]) -> None:
    reply = read(finish="length", **message)
    assert (reply.text, reply.finish, reply.reasoning) == ("", "length", "Let me think.")


def test_a_text_without_tags_stays_as_it_is() -> None:
    assert split_reasoning("  a < b, c > d\n") == ("", "  a < b, c > d\n")


@pytest.mark.parametrize(
    ("usage", "counted"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 3}, True),
        *[(usage, False) for usage in (None, [], "many", {}, {"prompt_tokens": 9}, {"prompt_tokens": 9.5})],
        ({"prompt_tokens": True, "completion_tokens": 3}, False),
        ({"prompt_tokens": -1, "completion_tokens": 3}, False),
        ({"prompt_tokens": 9, "completion_tokens": 10**30}, False),  # more than a database can hold
    ],
)
def test_tokens_that_cannot_be_are_estimated(usage: Any, counted: bool) -> None:
    reply = read(TEXT, "stop", usage)
    assert reply.counted == counted
    assert 0 < reply.prompt_tokens < 20
    assert 0 < reply.reply_tokens < 20


def test_halves_of_characters_become_writable() -> None:
    reply = read_reply(body("sea \\ud83d").replace(b"\\\\ud83d", b"\\ud83d"), ASKED, 400)
    assert reply.text.encode().decode().startswith("sea ")


# ---- what is no reply


@pytest.mark.parametrize(
    ("sent", "said", "code"),
    [
        (b'{"error": {"message": "no credits", "code": 402}}', "no credits", "402"),
        (b'[{"error": {"code": 429, "message": "slow down", "status": "RESOURCE_EXHAUSTED"}}]', "slow down", "429"),
        (b'{"error": "model not loaded"}', "model not loaded", ""),
        (b'{"detail": "Not Found"}', "Not Found", ""),
        (b'{"detail": [{"loc": ["body"], "msg": "bad"}]}', '[{"loc": ["body"], "msg": "bad"}]', ""),
        (b'{"object": "error", "message": "no system", "code": 400}', "no system", "400"),
        (b'{"error": {"message": null, "type": "t"}}', '{"message": null, "type": "t"}', "t"),
        (b'{"choices": [{"error": {"message": "upstream", "code": 502}}]}', "upstream", "502"),
        (b"404 page not found", "404 page not found", ""),
        (b"<!doctype html><html><head><title>Open\n WebUI</title></head></html>", "Open WebUI", ""),
        (b"", "its body is empty", ""),
    ],
)
def test_what_a_body_says_to_people(sent: bytes, said: str, code: str) -> None:
    assert message_in(sent) == (said, code)
    with pytest.raises(TeacherError, match=f"(?s)^.*{said[:5] if said.isascii() and said[:1].isalpha() else ''}"):
        read_reply(sent, ASKED, 400)


def test_what_is_said_is_shortened() -> None:
    said, _ = message_in(json.dumps({"error": {"message": "word " * 10_000}}).encode())
    assert (len(said), said[-1]) == (500, "…")


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("You exceeded your current quota. Please retry in 46.2s.", 46.2),
        ("Rate limit reached. Please try again in 20s. Visit ...", 20),
        ("Please try again in 1m26.4s.", 86.4),
        ("try again in 6m0s", 360),
        ("Please try again in 850ms", 0.85),
        ("try again in 2 minutes", 120),
        ("Please retry after 12 seconds.", 12),
        ("Try again in 1 hour", 3600),
        ('{"error": {"details": [{"retryDelay": "34s"}]}}', 34),
        ('{"retry_after": 7.5}', 7.5),
        ('{"retry-after": "9"}', 9),
        ("Please retry later, at most 3 requests are allowed", None),
        ("try again", None),
        ("", None),
    ],
)
def test_a_pause_is_read_from_what_is_said(said: str, seconds: float | None) -> None:
    found = pause_in(said.encode())
    assert found == (seconds if seconds is None else pytest.approx(seconds))


# ---- anything at all

ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
NAMES = st.sampled_from(
    ("choices", "message", "content", "finish_reason", "usage", "error", "text", "type", "thinking", "code", "refusal")
)
ODD = st.recursive(
    ANY | st.sampled_from(("thinking", "reasoning", "<think>", "</think>a", "\ud800", "error", 10**40)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
MESSAGES = st.fixed_dictionaries({"content": ODD}, optional={"reasoning": ODD, "refusal": ODD})
CHOICES = st.fixed_dictionaries({"message": MESSAGES}, optional={"finish_reason": ODD, "error": ODD})
REPLIES = st.fixed_dictionaries({"choices": st.lists(CHOICES, min_size=1, max_size=2)}, optional={"usage": ODD})


@settings(deadline=None)
@given(ANY | ODD | REPLIES)
def test_any_json_is_a_reply_or_an_error_of_ours(value: Any) -> None:
    whatever_it_is(json.dumps(value).encode())


@settings(deadline=None)
@given(st.binary(max_size=60) | st.builds(lambda value, cut: body(value)[:cut], ANY, st.integers(0, 200)))
def test_any_bytes_are_a_reply_or_an_error_of_ours(sent: bytes) -> None:
    whatever_it_is(sent)


@pytest.mark.parametrize("sent", [b"[" * 100_000, b'{"choices": ' + b"[" * 900 + b"]" * 900 + b"}", b"1" * 5000])
def test_deep_and_long_json(sent: bytes) -> None:
    whatever_it_is(sent)
    whatever_it_is(body([[[["a"]]]]))


def whatever_it_is(sent: bytes) -> None:
    try:
        reply = read_reply(sent, ASKED, 400)
    except TeacherError:
        pass
    else:
        for text in (reply.text, reply.finish, reply.refusal, reply.reasoning):
            text.encode()
        assert 0 <= reply.prompt_tokens < 2**31 > reply.reply_tokens >= 0
    said, code = message_in(sent)
    assert len(said.encode()) < 2500
    assert code.encode() is not None
    assert pause_in(sent) is None or pause_in(sent) >= 0
