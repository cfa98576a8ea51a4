"""What an answer carries on request: influence, abstention, the best of several candidates, tables."""

import asyncio
import json

import numpy as np
import pytest
import torch

import vectalk as vt
from vectalk.cli.ask import _show_report
from vectalk.decoding.settings import Generated
from vectalk.errors import PromptError
from vectalk.model import Prompt, collate
from vectalk.model.run import Run
from vectalk.talk import ELM, Answer, to_arrow
from vectalk.talk.candidates import keep_nearest, task_of
from vectalk.talk.chat import Chat
from vectalk.talk.influence import OTHERS
from worlds import call

QUESTION = "Describe {island}."


@pytest.fixture(scope="module")
def elm(run: Run) -> ELM:
    return vt.ELM.from_pretrained(run.path, device="cpu")


# ---- influence


@torch.no_grad()
def test_influence_is_the_gain_over_other_vectors(elm: ELM) -> None:
    """The same figures from whole rows of logits, one vector at a time."""
    space = elm.spaces["island"]
    answer = elm.ask("What do {a} and {b} have in common?", {"a": "3", "b": "9"}, influence=True)
    found = answer.influence
    assert found is not None
    assert "".join(found.tokens).strip() == answer.text
    ids = elm.prompts.tokenizer("".join(found.tokens)).input_ids
    rows = space.rows("train")
    rows = rows[rows != space["3"].row]
    others = space.vectors[np.sort(np.random.default_rng(0).choice(rows, OTHERS, replace=False))]
    asked = elm.prompts("What do {a} and {b} have in common?", {"a": "island", "b": "island"})
    whole = Prompt((*asked.ids, *ids), asked.slots, (-100,) * (len(asked) + len(ids)))

    def chances(vector: np.ndarray) -> torch.Tensor:
        batch = collate([whole], [{"a": vector, "b": space["9"].values}], {"island": 16}, elm.prompts.pad_id)
        logits = elm.model.logits(batch)[0].log_softmax(-1)
        return logits[torch.arange(len(asked) - 1, len(whole) - 1), torch.tensor(ids)]

    mean = torch.stack([chances(other) for other in others]).exp().mean(0).log()
    assert found.values["a"] == pytest.approx((chances(space["3"].values) - mean).tolist(), abs=1e-3)
    assert found.values["a"] != found.values["b"]


def test_what_the_vector_decides_has_influence(elm: ELM) -> None:
    """Of what is said of every island little depends on the vector; of its riches and its decade much does."""
    answers = elm.ask([QUESTION] * 30, [{"island": str(n)} for n in range(30)], influence=True)
    riches = {"amber", "copper", "honey", "pearls", "salt", "timber"}
    told, plain = [], []
    for answer in answers:
        assert answer.influence is not None
        pairs = zip(answer.influence.tokens, answer.influence.values["island"], strict=True)
        for token, value in pairs:
            (told if token.strip() in riches or token.strip().isdigit() else plain).append(value)
    assert np.mean(told) > 2 * abs(np.mean(plain))
    assert answers[0].influence.strongest("island", 3)[0][1] == max(answers[0].influence.values["island"])


def test_an_empty_answer_has_no_influence(elm: ELM) -> None:
    answer = elm.ask(QUESTION, {"island": "3"}, influence=True, stop=elm.ask(QUESTION, {"island": "3"}).text[:1])
    assert answer.text == ""
    stream = list(elm.stream(QUESTION, {"island": "3"}, influence=True))
    assert isinstance(stream[-1], Answer)
    assert stream[-1].influence == elm.ask(QUESTION, {"island": "3"}, influence=True).influence


# ---- strict


def test_a_strict_question_about_nothing_real_is_not_answered(elm: ELM) -> None:
    far = 100 * elm.spaces["island"]["3"]
    loose, strict = elm.ask(QUESTION, {"island": far}), elm.ask(QUESTION, {"island": far}, strict=True)
    assert loose.text
    assert loose.abstained is None
    assert strict.text == ""
    assert "{island} = " in str(strict.abstained)
    assert "far from anything real" in str(strict.abstained)
    assert list(elm.stream(QUESTION, {"island": far}, strict=True)) == [strict]
    both = elm.ask([QUESTION] * 2, [{"island": far}, {"island": "3"}], strict=True)
    assert [answer.text for answer in both] == ["", elm.ask(QUESTION, {"island": "3"}).text]


def test_strict_on_the_command_line(elm: ELM, capsys) -> None:
    code, out, err = call(
        ["ask", str(elm.run.path), QUESTION, "--bind", "island=100 * '3'", "--strict", "--device", "cpu"], capsys
    )
    assert code == 3
    assert out.strip() == ""
    assert "no answer: {island} =" in err


def test_influence_on_the_command_line(elm: ELM, capsys) -> None:
    command = ["ask", str(elm.run.path), QUESTION, "--bind", "island=3", "--device", "cpu", "--influence"]
    code, out, err = call(command, capsys)
    assert code == 0
    assert "most influenced by {island} (nats): '" in err
    _, found, _ = call([*command, "--json"], capsys)
    values = json.loads(found)
    assert values["text"] == out.strip()
    assert len(values["influence"]["tokens"]) == len(values["influence"]["values"]["island"])


# ---- candidates


def test_the_candidate_that_reads_back_nearest_is_kept(elm: ELM) -> None:
    space = elm.spaces["island"]
    bindings = [{"island": space[int(row)]} for row in space.rows("test")[:8]]
    told: list[tuple[int, int]] = []
    single = elm.ask([QUESTION] * 8, bindings)
    best = elm.ask(
        [QUESTION] * 8,
        bindings,
        candidates=6,
        encoder="tfidf",
        temperature=1.2,
        progress=lambda d, t: told.append((d, t)),
    )
    reranker = elm.reranker(QUESTION, "tfidf")
    vectors = np.stack([binding["island"].values for binding in bindings])
    before, after = reranker([a.text for a in single], vectors), reranker([a.text for a in best], vectors)
    assert [a.consistency for a in best] == pytest.approx(after.tolist(), abs=1e-5)
    assert after.mean() > before.mean() + 0.05
    assert best[0].settings["candidates"] == 6
    assert best[0].settings["encoder"] == "tfidf"
    assert single[0].consistency is None
    assert told[-1] == (48, 48)


def test_the_first_candidate_is_the_single_answer(elm: ELM) -> None:
    best = elm.ask(QUESTION, {"island": "3"}, candidates=2, encoder="tfidf")
    alone = elm.ask(QUESTION, {"island": "3"})
    reranker = elm.reranker(QUESTION, "tfidf")
    texts = [alone.text, best.text]
    scores = reranker(texts, np.tile(elm.spaces["island"]["3"].values, (2, 1)))
    assert scores[1] >= scores[0] - 1e-6


def test_equals_leave_the_first(elm: ELM) -> None:
    reranker = elm.reranker(QUESTION, "tfidf")
    same = [Generated("An island of salt.", True, (1,)), Generated("An island of salt.", True, (2,))]
    assert keep_nearest(reranker, same, elm.spaces["island"]["3"].values)[0] is same[0]


def test_a_reranker_is_of_the_task_that_is_asked(elm: ELM) -> None:
    assert QUESTION in task_of(elm.suite, QUESTION, ["island"]).prompts
    free = task_of(elm.suite, "Sing about {island}!", ["island"])
    assert free.about in free.slots
    with pytest.raises(PromptError, match="no task of the run is about the same kind of vector"):
        elm.reranker("Sing about {a} and {b} together!", "tfidf")
    with pytest.raises(PromptError, match="candidates is 0"):
        elm.ask(QUESTION, {"island": "3"}, candidates=0)


def test_a_reranker_is_fitted_once_and_kept(elm: ELM, monkeypatch: pytest.MonkeyPatch) -> None:
    first = elm.reranker(QUESTION, "tfidf")
    assert elm.reranker(QUESTION, "tfidf") is first
    fitted: list[int] = []
    monkeypatch.setattr("vectalk.readback.ReadBack.fit", lambda *given, **more: fitted.append(1))
    elm._rerankers.clear()
    again = elm.reranker(QUESTION, "tfidf")
    vectors = elm.spaces["island"].vectors[:2]
    texts = ["An island of salt and honey.", "Settled in the 1760s."]
    np.testing.assert_allclose(again(texts, vectors), first(texts, vectors), atol=1e-5)
    assert fitted == []


# ---- forms


def test_answers_are_a_table(elm: ELM) -> None:
    answers = [
        elm.ask(QUESTION, {"island": "3"}, influence=True),
        elm.ask("What do {a} and {b} have in common?", {"a": "1", "b": "lerp('1', '2', 0.5)"}),
    ]
    table = to_arrow(answers)
    assert table.schema == to_arrow([]).schema
    rows = table.to_pylist()
    assert [row["text"] for row in rows] == [answer.text for answer in answers]
    assert rows[0]["influence"][0]["values"] == list(answers[0].influence.values["island"])
    assert rows[1]["influence"] is None
    assert [slot["slot"] for slot in rows[1]["slots"]] == ["a", "b"]
    assert json.loads(rows[0]["settings"])["seed"] == 0
    assert json.loads(answers[0].to_json()) == json.loads(json.dumps(answers[0].to_dict()))


def test_an_answer_says_which_title_was_taken(elm: ELM, capsys: pytest.CaptureFixture[str]) -> None:
    title = elm.spaces["island"].title(3)
    answer = elm.ask(QUESTION, {"island": title.upper()})
    taken = f"{title.upper()!r} is taken as another spelling of {title!r}"
    assert answer.slots["island"].notes == (taken,)
    assert answer.slots["island"].source == repr(title)
    assert to_arrow([answer]).to_pylist()[0]["slots"][0]["notes"] == [taken]
    assert elm.ask(QUESTION, {"island": title}).slots["island"].notes == ()
    assert next(iter(Chat(elm).hear(f"/bind island = {title.upper()}"))) == f"({taken})\n"
    _show_report(elm, answer)
    assert f"({taken})" in capsys.readouterr().err


def test_asking_from_an_event_loop(elm: ELM) -> None:
    async def several() -> list[Answer]:
        return await asyncio.gather(*(elm.aask(QUESTION, {"island": str(n)}) for n in range(6)))

    expected = elm.ask([QUESTION] * 6, [{"island": str(n)} for n in range(6)])
    assert [answer.text for answer in asyncio.run(several())] == [answer.text for answer in expected]
