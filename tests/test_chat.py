"""A conversation: bindings stay, commands tell, and a terminal completes titles."""

import json
import os
import pty
import re
import select
import shutil
import time
from pathlib import Path

import pytest

import vectalk as vt
from forked import Forked
from vectalk.concepts import Concept, shelf
from vectalk.errors import ConceptError, PromptError, UnknownEntityError
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.talk import ELM, Answer
from vectalk.talk.chat import Chat

QUESTION = "Describe {island}."


@pytest.fixture(scope="module")
def elm(run: Run) -> ELM:
    return vt.ELM.from_pretrained(run.path, device="cpu")


@pytest.fixture
def chat(elm: ELM) -> Chat:
    return Chat(elm, {"max_new_tokens": 30})


def said(chat: Chat, line: str) -> str:
    return "".join(piece for piece in chat.hear(line) if isinstance(piece, str))


def test_what_is_bound_stays_bound(chat: Chat, elm: ELM) -> None:
    with pytest.raises(PromptError, match=r"nothing is bound to \{island\}; bind a point with /bind island = "):
        said(chat, QUESTION)
    title = elm.spaces["island"].title(3)
    assert said(chat, f"/bind island = '{title}'").startswith(f"{{island}} = '{title}': a real entity")
    assert said(chat, QUESTION).strip() == elm.ask(QUESTION, {"island": title}, max_new_tokens=30).text
    said(chat, "/bind other=lerp('1', '2', 0.5)")
    common = "What do {island} and {other} have in common?"
    both = elm.ask(common, {"island": title, "other": "lerp('1', '2', 0.5)"}, max_new_tokens=30)
    assert said(chat, common).strip() == both.text
    middle = elm.point("other", "lerp('1', '2', 0.5)").source
    assert said(chat, "/bind") == f"{{island}} = '{title}'\n{{other}} = {middle}"
    assert [turn.answer.question for turn in chat.turns] == [QUESTION, common]


def test_commands_tell_of_what_is_bound(chat: Chat, elm: ELM, tmp_path: Path) -> None:
    space = elm.spaces["island"]
    said(chat, "/bind island = 3")
    near = said(chat, "/near 3").splitlines()
    rows, _ = space.neighbors(space["3"], 3)
    assert [line.split(maxsplit=1)[1] for line in near] == [space.title(int(row)) for row in rows]
    assert said(chat, "/near island").count("\n") == 4
    said(chat, "/bind far = 9")
    with pytest.raises(PromptError, match="name one slot; bound are island, far"):
        said(chat, "/near")


def test_why_tells_of_the_last_answer(chat: Chat, elm: ELM) -> None:
    with pytest.raises(PromptError, match="nothing was asked yet"):
        said(chat, "/why")
    said(chat, "/bind island = 3")
    said(chat, "/set temperature 1.3")
    first, second = said(chat, QUESTION), said(chat, QUESTION)
    assert first != second  # each turn draws anew
    (why,) = chat.hear("/why")
    assert isinstance(why, Answer)
    assert why.text == second.strip()
    assert why.influence is not None
    assert len(chat.turns) == 2


def test_a_saved_concept_and_where_a_point_lies_on_it(run: Run, islands: VectorSpace, tmp_path: Path) -> None:
    shutil.copytree(islands.path, tmp_path / "islands")  # concepts are saved beside their space
    chat = Chat(vt.ELM.from_pretrained(run.path, device="cpu", spaces={"island": tmp_path / "islands"}))
    space = chat.elm.spaces["island"]
    assert said(chat, "/concept").strip() == "island: no concepts"
    said(chat, "/bind island = 3")
    with pytest.raises(ConceptError, match="has no concept 'first'"):
        said(chat, "/concept first")
    rows = space.rows("train")
    concept = Concept.fit(space, positive=rows[space.vectors[rows][:, 0] > 0], name="first")
    shelf.keep(concept)
    assert said(chat, "/concept").strip() == "island: first"

    def place() -> float:
        return float(re.search(r"lies ([+-]\d+\.\d\d) sd along 'first'", said(chat, "/concept first")).group(1))

    before = place()
    assert before == pytest.approx(float(concept.score(space["3"])), abs=0.01)
    # The move that the answer proposes.
    move = said(chat, "/concept first").rpartition("move it by ")[2]
    said(chat, f"/bind island = {move}")
    assert place() == pytest.approx(before + 1, abs=0.011)


def test_a_conversation_is_saved(chat: Chat, tmp_path: Path) -> None:
    said(chat, "/bind island = 3")
    text = said(chat, QUESTION).strip()
    said(chat, f"/save {tmp_path}/talk.md")
    said(chat, f"/save {tmp_path}/talk.jsonl")
    assert (tmp_path / "talk.md").read_text() == said(chat, "/history")
    assert text in said(chat, "/history")
    (row,) = [json.loads(line) for line in (tmp_path / "talk.jsonl").read_text().splitlines()]
    assert row == json.loads(chat.turns[0].answer.to_json())


@pytest.mark.parametrize(
    ("line", "error", "message"),
    [
        ("/sing", PromptError, "there is no command /sing; the commands are /bind, /near"),
        ("/bind island", PromptError, "/bind takes SLOT = title"),
        ("/bind island = Nowhereland", UnknownEntityError, "no entity 'Nowhereland'"),
        ("/near", PromptError, "name one slot; bound are nothing"),
        ("/set temprature 3", PromptError, "unknown setting 'temprature'"),
        ("/set temperature hot", PromptError, "temperature takes a number, not 'hot'"),
        ("/set temperature -1", PromptError, "temperature is -1"),
        ("/save", PromptError, "/save takes a file"),
    ],
)
def test_what_cannot_be_done_is_told(chat: Chat, line: str, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        said(chat, line)
    assert chat.settings == {"max_new_tokens": 30}
    assert not chat.ended


def test_titles_are_completed(chat: Chat, elm: ELM) -> None:
    title = elm.spaces["island"].title(3)
    assert chat.complete("/bi") == ["/bind "]
    assert set(chat.complete("/")) >= {"/bind ", "/near ", "/why ", "/quit "}
    assert title in chat.complete(f"/bind island = '{title[:-1].lower()}")
    assert title in chat.complete(f'/bind island = lerp("1", "{title}')
    assert chat.complete("/bind island = 'no such thing") == []
    assert chat.complete(f"/bind island = '{title}'") == []
    assert len(chat.complete("/bind island = '")) == 20
    assert said(chat, "/help").count("\n") >= 9
    said(chat, "/quit")
    assert chat.ended


def test_in_a_terminal(elm: ELM, tmp_path: Path) -> None:
    """Keys go in and a screen comes out: a title completed by the tab key, an answer, colours, an error, the end."""
    space = elm.spaces["island"]
    title = next(
        t
        for t in map(space.title, range(len(space)))
        if sum(x.startswith(t) for x in map(space.title, range(len(space)))) == 1
    )
    host, guest = pty.openpty()
    environment = {"TERM": "xterm", "COLUMNS": "200", "INPUTRC": os.devnull}
    chat = ["chat", str(elm.run.path), "--device", "cpu"]
    process = Forked(*chat, environment=environment, terminal=os.ttyname(guest))
    try:
        wait_for(host, "> ")
        os.write(host, f"/bind island = '{title}".encode() + b"\t\n")
        screen = wait_for(host, "a real entity", "> ")
        assert f"{{island}} = '{title}'" in screen
        os.write(host, QUESTION.encode() + b"\n")
        answer = elm.ask(QUESTION, {"island": title}).text
        assert answer in wait_for(host, answer, "> ")
        os.write(host, b"/why\n")
        screen = wait_for(host, "most influenced by {", "> ")
        assert "\x1b[32m" in screen or "\x1b[1;32m" in screen
        os.write(host, b"/nonsense\n")
        assert "there is no command /nonsense" in wait_for(host, "there is no", "> ")
        os.write(host, f"/save {tmp_path}/talk.md\n".encode())
        wait_for(host, "1 answers", "> ")
        os.write(host, b"/quit\n")
        assert process.wait(60) == 0
        assert answer in (tmp_path / "talk.md").read_text()
    finally:
        process.kill()
        process.wait()
        os.close(host)
        os.close(guest)


def wait_for(host: int, *wanted: str, seconds: float = 120) -> str:
    """Read the screen until all of this has come, in order."""
    seen, until = "", time.monotonic() + seconds
    while time.monotonic() < until:
        if select.select([host], [], [], 0.2)[0]:
            seen += os.read(host, 4096).decode(errors="replace")
        place = 0
        for text in wanted:
            found = seen.find(text, place)
            if found < 0:
                break
            place = found + len(text)
        else:
            return seen
    raise AssertionError(f"{wanted} did not come; the screen shows {seen!r}")
