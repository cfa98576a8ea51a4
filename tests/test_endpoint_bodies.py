"""Bodies that are no reply: empty, streams, web pages behind comments, wrong compression. The error names each."""

import json
from typing import Any

import pytest

from fake_endpoint import Answer, ask, client_of, serving
from vectalk.errors import TeacherError
from vectalk.llm.reply_reader import NoReplyError, message_in, read_reply

pytest.importorskip("openai", reason="needs the extra [teacher]")
PIECE = 'data: {"choices": [{"delta": {"content": "A quiet"}, "finish_reason": null}]}\n\n'
quick = pytest.mark.usefixtures("openai_key")


def refused(body: bytes) -> NoReplyError:
    with pytest.raises(NoReplyError) as caught:
        read_reply(body, [{"role": "user", "content": "Hi"}], 100)
    return caught.value


@pytest.mark.parametrize("body", [b"", b"\n", b" \r\n\t "])
def test_an_empty_body_is_called_empty(body: bytes) -> None:
    assert str(refused(body)) == message_in(body)[0] == "its body is empty"


@pytest.mark.parametrize(
    "before", ["", "<!-- proxy 1.2 -->", "\n<!-- a\nb -->\n<!-- c -->", '<?xml version="1.0"?>\n', "\ufeff"]
)
@pytest.mark.parametrize("page", ["<!DOCTYPE html><html>", "<HTML lang='en'>", "<head>"])
def test_a_web_page_is_found_behind_comments(before: str, page: str) -> None:
    problem = refused(f"{before}{page}<title>Sign in</title></html>".encode())
    assert (problem.page, str(problem)) == (True, "it is no JSON object but a web page: Sign in")


def test_xml_is_not_a_web_page() -> None:
    problem = refused(b'<?xml version="1.0"?><Error><Message>AccessDenied</Message></Error>')
    assert not problem.page
    assert "AccessDenied" in str(problem)


@pytest.mark.parametrize("pieces", [0, 1, 3])
@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
def test_a_stream_is_named_and_its_error_is_read(pieces: int, end: str) -> None:
    fault: dict[str, Any] = {"error": {"message": "the server is overloaded", "code": 529}}
    whole = (PIECE * max(pieces, 1) + "data: [DONE]\n\n").replace("\n\n", end).encode()
    assert str(refused(whole)).startswith("it is a stream of events, which was not requested: data: ")
    torn = (PIECE * pieces + f"event: error\ndata: {json.dumps(fault)}\n\n").replace("\n\n", end).encode()
    problem = refused(torn)
    assert str(problem) == "it is a stream of events, which was not requested: the server is overloaded"
    assert problem.code == "529"


@quick
@pytest.mark.parametrize(
    ("code", "requests", "said"),
    [(401, 1, "refuses: 401: no such key"), (None, 3, "3 answers in a row that are no replies.*stream.*no such key")],
)
def test_an_error_within_a_stream_counts_like_any_error(code: int | None, requests: int, said: str) -> None:
    body = f"{PIECE}data: {json.dumps({'error': {'message': 'no such key', 'code': code}})}\n\n".encode()
    with serving(Answer(body=body)) as fake, client_of(fake, concurrency=1) as client:
        with pytest.raises(TeacherError, match=said):
            ask(client, "Hi")
        assert len(fake.requests) == requests


@quick
def test_a_body_that_is_not_compressed_as_it_says_is_no_lost_connection() -> None:
    with (
        serving(Answer(headers={"Content-Encoding": "gzip"})) as fake,
        client_of(fake, attempts=1) as client,
        pytest.raises(TeacherError, match=r"not compressed as its header says .*; check the proxy"),
    ):
        ask(client, "Hi")


@quick
def test_a_moderated_request_is_one_refusal_and_does_not_stop_the_work() -> None:
    body = json.dumps({"error": {"code": "data_inspection_failed", "message": "may be inappropriate"}}).encode()
    with (
        serving(lambda request, number: Answer(status=400, body=body) if number == 1 else Answer("Fine.")) as fake,
        client_of(fake, concurrency=1) as client,
    ):
        replies = ask(client, "a", "b", "c")
    assert [reply.refused for reply in replies] == [False, True, False]
    assert replies[1].refusal == "may be inappropriate"
