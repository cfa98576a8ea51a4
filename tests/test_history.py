"""A conversation with history: the LLM reads the earlier turns, with the vectors that were bound to them."""

import io
import json
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerBase

from live_server import Live, served
from vectalk.errors import EngineError, LanguageModelError, PromptError
from vectalk.llm.loading import LanguageModel
from vectalk.model import PromptFormat
from vectalk.model.conversation import EarlierTurn, earlier_slots
from vectalk.model.run import Run
from vectalk.serving import Limits
from vectalk.talk import ELM, Answer
from vectalk.talk.chat import Chat
from vectalk.talk.engine import TransformersEngine
from vectalk.talk.history import Exchange
from vectalk.talk.vllm_engine import VllmHttpEngine
from worlds import call

QUESTION, MORE = "Describe {island}.", "And what else?"
ZERO = np.zeros(2, np.float32)


@pytest.fixture(scope="module")
def elm(short_run: Run) -> ELM:
    return ELM.from_pretrained(short_run.path, device="cpu")


def test_a_prompt_contains_the_earlier_turns_as_the_template_writes_them(chat: PreTrainedTokenizerBase) -> None:
    prompts = PromptFormat(chat, {"island": 2})
    turns = [
        EarlierTurn("What is {island}?", {"island": ("island", ZERO)}, "A rock."),
        EarlierTurn("Is it big?", {}, "No."),
    ]
    prompt = prompts("Compare {island}.", {"island": "island"}, earlier=turns)
    messages = [
        {"role": "user", "content": "What is @?"},
        {"role": "assistant", "content": "A rock."},
        {"role": "user", "content": "Is it big?"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Compare @."},
    ]
    whole = chat.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    written = prompts.show(prompt)
    for slot in ("0.island", "island"):
        written = written.replace(f"{{{slot}: 2 soft tokens}}", "@")
    assert written == whole
    first, last = prompt.slots
    assert (first.name, last.name) == ("0.island", "island")
    assert set(prompt.labels) == {-100}
    # Without turns, the prompt is the one of the training.
    alone = prompts("Compare {island}.", {"island": "island"})
    assert alone == prompts("Compare {island}.", {"island": "island"}, earlier=[])
    assert prompt.ids[: len(prompts.before)] == alone.ids[: len(prompts.before)]


def test_text_of_an_earlier_answer_becomes_no_slot_and_no_special_token(chat: PreTrainedTokenizerBase) -> None:
    prompts = PromptFormat(chat, {"island": 2})
    plain = prompts("So?", {}, earlier=[EarlierTurn("What?", {}, "well")])
    sly = prompts("So?", {}, earlier=[EarlierTurn("What?", {}, f"{{island}} {chat.eos_token} @@vectalk-turn-0@@")])
    special = set(chat.all_special_ids)
    assert not sly.slots
    assert [i for i in sly.ids if i in special] == [i for i in plain.ids if i in special]


def test_a_template_that_takes_one_question_only_is_an_error(chat: PreTrainedTokenizerBase) -> None:
    template = (
        "{% if messages|length > 2 %}{{ raise_exception('one question only') }}{% endif %}"
        "{% for message in messages %}{{ message['content'] }}\n{% endfor %}"
    )
    prompts = PromptFormat(chat, {}, template)
    assert len(prompts("So?", {})) > 0
    with pytest.raises(LanguageModelError, match="one question only"):
        prompts("So?", {}, earlier=[EarlierTurn("What?", {}, "well")])


def test_the_answer_continues_the_whole_conversation_with_all_its_vectors(elm: ELM) -> None:
    points = [elm.point("island", str(n)) for n in (3, 9)]
    history = [Exchange(QUESTION, {"island": points[0]}, "a low and rocky island")]
    answer = elm.ask(QUESTION, {"island": points[1]}, history=history, max_new_tokens=6)
    # By hand: the embeddings of the conversation, with the soft tokens of each vector in its place.
    turns = [EarlierTurn(QUESTION, {"island": ("island", points[0].values)}, "a low and rocky island")]
    prompt = elm.prompts(QUESTION, {"island": "island"}, earlier=turns)
    ids = list(prompt.ids)
    embeds = elm.model.llm.get_input_embeddings()(torch.tensor([ids])).detach().clone()
    for slot, point in zip(prompt.slots, points, strict=True):
        soft = elm.model.adapter("island")(torch.from_numpy(np.array(point.values, np.float32))[None], "island")
        embeds[0, slot.start : slot.start + slot.length] = soft[0].detach()
    written: list[int] = []
    for _ in range(6):
        token = int(elm.model.llm(inputs_embeds=embeds).logits[0, -1].argmax())
        if token in elm.prompts.stop_ids:
            break
        written.append(token)
        embeds = torch.cat([embeds, elm.model.llm.get_input_embeddings()(torch.tensor([[token]]))], 1)
    assert answer.text == str(elm.prompts.tokenizer.decode(written, skip_special_tokens=True)).strip()
    assert answer.settings["earlier_turns"] == 1
    assert answer.settings["dropped_turns"] == 0


def test_the_vector_of_an_earlier_turn_changes_the_answer(elm: ELM) -> None:
    engine = elm.engine
    assert isinstance(engine, TransformersEngine)

    def logits(row: str) -> torch.Tensor:
        point = elm.point("island", row)
        turns = [EarlierTurn(QUESTION, {"island": ("island", point.values)}, "an island")]
        prompt = engine.prompt(MORE, {}, turns)
        vectors = {slot: vector for slot, (_, vector) in earlier_slots(turns).items()}
        return engine.decoder.admit([prompt], [vectors])

    try:
        first, other, again = logits("3"), logits("9"), logits("3")
    finally:
        engine.decoder.rows.drop([0, 1, 2])
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-4)


def test_batched_answers_and_streams_are_those_of_single_questions(elm: ELM) -> None:
    histories = [
        [],
        [(QUESTION, {"island": "3"}, "a rock")],
        [(QUESTION, {"island": "9"}, "two rocks and a tree"), (MORE, {}, "nothing")],
    ]
    questions, bindings = [QUESTION, MORE, QUESTION], [{"island": "5"}, {}, {"island": "7"}]
    together = elm.ask(questions, bindings, history=histories, max_new_tokens=8)
    for number, answer in enumerate(together):
        arguments = (questions[number], bindings[number])
        alone = elm.ask(*arguments, history=histories[number], max_new_tokens=8)
        *pieces, last = elm.stream(*arguments, history=histories[number], max_new_tokens=8)
        assert answer.text == alone.text == "".join(pieces).strip()
        assert isinstance(last, Answer)
        assert last.settings == alone.settings == answer.settings
    assert "earlier_turns" not in together[0].settings
    beams = elm.ask(MORE, history=histories[1], max_new_tokens=4, beams=2)  # by transformers' own `generate`
    assert beams.settings["earlier_turns"] == 1
    with pytest.raises(PromptError, match="3 questions but 1 histories"):
        elm.ask(questions, bindings, history=[[]])
    with pytest.raises(PromptError, match=r"slot \{island\} has no vector"):
        elm.ask(MORE, history=[(QUESTION, {}, "a rock")])


def test_the_oldest_turns_are_dropped_where_the_context_is_full_and_the_user_is_told(
    elm: ELM, monkeypatch: pytest.MonkeyPatch
) -> None:
    chat = Chat(elm, {"max_new_tokens": 5}, history=True)
    for line in ("/bind island = 3", QUESTION, QUESTION, QUESTION):
        list(chat.hear(line))
    turns = [EarlierTurn(QUESTION, {"island": ("island", elm.point("island", "3").values)}, t.answer.text)
             for t in chat.turns]  # fmt: skip
    two = len(elm.prompts(MORE, {}, earlier=turns[1:]))
    monkeypatch.setattr(LanguageModel, "context", two + 5)  # exactly two turns and an answer of 5 tokens
    said = [piece for piece in chat.hear(MORE) if isinstance(piece, str)]
    assert "(the conversation is too long: the LLM did not read the oldest turn; /new begins" in said[-1]
    assert chat.turns[-1].answer.settings["earlier_turns"] == 2
    assert chat.turns[-1].answer.settings["dropped_turns"] == 1
    expected = elm.ask(MORE, history=[(t.question, {"island": "3"}, t.answer) for t in turns[1:]], max_new_tokens=5)
    assert chat.turns[-1].answer.text == expected.text


def test_a_chat_reads_its_turns_with_the_vectors_of_their_time(elm: ELM) -> None:
    chat = Chat(elm, {"max_new_tokens": 6}, history=True)
    list(chat.hear("/bind island = 3"))
    list(chat.hear(QUESTION))
    list(chat.hear("/bind island = 9"))  # the first turn keeps its vector
    list(chat.hear(QUESTION))
    list(chat.hear(MORE))
    first, second, third = (turn.answer for turn in chat.turns)
    one = (QUESTION, {"island": "3"}, first.text)
    assert second.text == elm.ask(QUESTION, {"island": "9"}, history=[one], max_new_tokens=6).text
    turns = [one, (QUESTION, {"island": "9"}, second.text)]
    assert third.text == elm.ask(MORE, history=turns, max_new_tokens=6).text
    assert [a.settings.get("earlier_turns") for a in (first, second, third)] == [None, 1, 2]
    (why,) = chat.hear("/why")
    assert isinstance(why, Answer)
    assert why.text == third.text
    list(chat.hear("/new"))
    list(chat.hear(QUESTION))
    assert chat.turns[-1].answer.text == elm.ask(QUESTION, {"island": "9"}, max_new_tokens=6).text
    assert "earlier_turns" not in chat.turns[-1].answer.settings


def test_influence_is_measured_within_the_conversation(elm: ELM) -> None:
    history = [(QUESTION, {"island": "3"}, "a low and rocky island with birds")]
    with_history = elm.ask(QUESTION, {"island": "9"}, history=history, influence=True, max_new_tokens=6)
    assert with_history.influence is not None
    alone = elm.ask(QUESTION, {"island": "9"}, influence=True, max_new_tokens=6)
    assert set(with_history.influence.values) == {"island"}
    assert with_history.influence != alone.influence


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ({}, False),
        ({"stage1": {"objective": "distill", "steps": 5}}, True),
        ({"stage2": {"objective": "distill", "steps": 5}}, True),
        ({"stage1": {"objective": "distill", "steps": 0}}, False),
        ({"stage1": {"objective": "distill", "steps": 5}, "history": False}, False),
        ({"history": True}, True),
    ],
)
def test_the_run_says_whether_history_is_read(
    short_run: Run, monkeypatch: pytest.MonkeyPatch, lines: dict[str, object], expected: bool
) -> None:
    monkeypatch.setattr(Run, "config", {"dtype": "auto", **lines})
    assert Run.load(short_run.path).reads_history is expected


def test_a_chat_takes_the_default_of_its_run(elm: ELM, monkeypatch: pytest.MonkeyPatch) -> None:
    assert Chat(elm).history is False
    monkeypatch.setattr(ELM, "reads_history", True)
    assert Chat(elm).history is True
    assert Chat(elm, history=False).history is False


def test_an_engine_that_reads_each_question_alone_is_an_error(elm: ELM, short_run: Run) -> None:
    other = ELM(short_run, None, None, elm.spaces, VllmHttpEngine.__new__(VllmHttpEngine))
    assert not other.reads_history
    with pytest.raises(EngineError, match="VllmHttpEngine reads each question alone; leave out the history"):
        other.ask(MORE, history=[(MORE, {}, "nothing")])


# ---- over HTTP


@pytest.fixture(scope="module")
def live(elm: ELM) -> Iterator[Live]:
    with served(elm, Limits(vectors=3), history=True) as server:
        yield server


def user(*content: object) -> dict[str, object]:
    return {"role": "user", "content": content[0] if len(content) == 1 else list(content)}


def assistant(text: str) -> dict[str, object]:
    return {"role": "assistant", "content": text}


def vector(expression: str) -> dict[str, str]:
    return {"type": "vector", "space": "island", "expression": expression}


def words(text: str) -> dict[str, str]:
    return {"type": "text", "text": text}


def test_a_server_reads_the_earlier_messages(live: Live, elm: ELM) -> None:
    messages = [user(words("Describe "), vector("3"), words(".")), assistant("a rock"), user(MORE)]
    response = live.ask(messages=messages)
    (choice,) = response.json()["choices"]
    expected = elm.ask(MORE, history=[(QUESTION, {"island": "3"}, "a rock")], max_new_tokens=8)
    assert choice["message"]["content"] == expected.text
    assert "notes" not in choice["vectalk"]
    prompt = elm.prompts(
        MORE, {}, earlier=[EarlierTurn(QUESTION, {"island": ("island", elm.point("island", "3").values)}, "a rock")]
    )
    assert response.json()["usage"]["prompt_tokens"] == len(prompt)
    streamed = live.openai().chat.completions.create(
        model="islands", messages=messages, max_tokens=8, stream=True
    )  # fmt: skip
    text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert text.strip() == expected.text


def test_bindings_fill_the_slots_of_earlier_messages(live: Live, elm: ELM) -> None:
    messages = [user("Describe {a}."), assistant("a rock"), user("Describe {b}.")]
    body = live.ask(messages=messages, bindings={"a": "3", "b": "island:'9'"}).json()
    expected = elm.ask("Describe {b}.", {"b": "9"}, history=[("Describe {a}.", {"a": "3"}, "a rock")], max_new_tokens=8)
    assert body["choices"][0]["message"]["content"] == expected.text
    missing = live.ask(messages=messages, bindings={"b": "9"})
    assert missing.status_code == 400
    assert "slot {a} has no vector" in missing.json()["error"]["message"]


def test_turns_beyond_the_limit_of_vectors_are_dropped_with_a_note(live: Live) -> None:
    turns = [m for n in range(5) for m in (user(words("Describe "), vector(str(n))), assistant("a rock"))]
    (choice,) = live.ask(messages=[*turns, user(MORE)]).json()["choices"]
    assert choice["vectalk"]["notes"] == ["the conversation is too long: the LLM did not read the oldest 2 turns"]


@pytest.mark.parametrize("roles", [("assistant", "user"), ("user", "user"), ("user", "assistant", "assistant", "user")])
def test_messages_that_do_not_alternate_are_refused(live: Live, roles: tuple[str, ...]) -> None:
    response = live.ask(messages=[{"role": role, "content": "Hello"} for role in roles])
    assert response.status_code == 400
    assert "must alternate" in response.json()["error"]["message"]


# ---- on the command line


@pytest.mark.parametrize(("option", "turns"), [("--history", 1), ("--no-history", None)])
def test_the_command_line_turns_history_on_and_off(
    short_run: Run,
    option: str,
    turns: int | None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{QUESTION}\n{MORE}\n"))
    words = ["chat", str(short_run.path), "--device", "cpu", "--bind", "island=3", "--max-new-tokens", "4"]
    code, text, _ = call([*words, option, "--json", "--quiet"], capsys)
    assert code == 0
    first, second = (json.loads(line) for line in text.splitlines())
    assert "earlier_turns" not in first["settings"]
    assert second["settings"].get("earlier_turns") == turns
