"""Talking to a trained run: one question or many, points of every kind, grounds with every answer."""

import copy
import json
import re
import shutil
from itertools import islice, pairwise

import numpy as np
import pytest

import vectalk as vt
from vectalk.demo.world import World, islands_suite
from vectalk.errors import ExpressionError, PromptError, RunError, UnknownEntityError, VectalkError
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.talk import ELM, Answer
from vectalk.tasks import Corpus, FactsTeacher, build_corpus
from vectalk.training import TrainConfig, train
from worlds import SHORT


@pytest.fixture(scope="module")
def elm(run: Run) -> ELM:
    return vt.ELM.from_pretrained(run.path, device="cpu")


@pytest.fixture(scope="module")
def space(elm: ELM) -> VectorSpace:
    return elm.spaces["island"]


@pytest.fixture
def title(space: VectorSpace) -> str:
    return space.title(int(space.rows("test")[0]))


# ---- one and many


def test_an_answer_is_what_the_model_learned_to_write(elm: ELM, title: str) -> None:
    answer = elm.ask("Describe {island}.", {"island": title})
    assert isinstance(answer, Answer)
    assert answer.finished
    assert answer.question == "Describe {island}."
    assert str(answer) == answer.text
    assert re.search(r"([Ss]ettled|came here) in the \d{4}s", answer.text), answer.text


def test_answers_follow_the_vector(elm: ELM, corpus: Corpus, world: World, space: VectorSpace) -> None:
    """More of what is true is said of an island than of another one in its place."""
    rows = space.rows("test")
    answers = elm.ask(["Describe {island}."] * len(rows), [{"island": space[int(row)]} for row in rows])

    def score(shift: int) -> float:
        found = []
        for answer, row in zip(answers, np.roll(rows, shift), strict=True):
            true = set(world.truth(space.vectors[row])["riches"])
            said = {name for name in ("amber", "copper", "honey", "pearls", "salt", "timber") if name in answer.text}
            found.append(2 * len(true & said) / (len(true) + len(said)))
        return float(np.mean(found))

    assert score(0) > np.mean([score(shift) for shift in range(1, 10)]) + 0.05


def test_many_are_one_by_one_in_order(elm: ELM, space: VectorSpace) -> None:
    wordings = ["Describe {island}.", "Who should visit {island}?", "What do {a} and {b} have in common?"]
    questions, bindings = [], []
    for n, row in enumerate(space.rows("test")[:12]):
        kind = n % 3
        questions.append(wordings[kind])
        point, other = space[int(row)], space[int(row) - 1]
        bindings.append({"island": point} if kind < 2 else {"a": point, "b": other})
    calls: list[tuple[int, int]] = []
    elm.engine.batch_size, before = 5, elm.engine.batch_size
    try:
        together = elm.ask(questions, bindings, progress=lambda done, total: calls.append((done, total)))
    finally:
        elm.engine.batch_size = before
    assert calls[-1] == (12, 12)
    assert len(calls) > 1
    assert all(done > before for (before, _), (done, _) in pairwise(calls))
    for answer, question, given in zip(together, questions, bindings, strict=True):
        alone = elm.ask(question, given)
        assert (answer.text, answer.finished, answer.question) == (alone.text, alone.finished, question)
        assert {slot: report.source for slot, report in answer.slots.items()} == {s: p.source for s, p in given.items()}
    assert len({answer.text for answer in together}) > 4


def test_beams_are_the_same_in_a_batch(elm: ELM, space: VectorSpace) -> None:
    bindings = [{"island": space[int(row)]} for row in space.rows("test")[:4]]
    together = elm.ask(["Describe {island}."] * 4, bindings, beams=3)
    assert [a.text for a in together] == [elm.ask("Describe {island}.", b, beams=3).text for b in bindings]


def test_no_questions_no_answers(elm: ELM) -> None:
    assert elm.ask([], []) == []


def test_a_question_without_slots(elm: ELM) -> None:
    answer = elm.ask("Describe an island.", max_new_tokens=4)
    assert answer.slots == {}
    with pytest.raises(AttributeError, match="slots"):
        _ = answer.support


# ---- grounds


def test_an_answer_carries_its_grounds(elm: ELM, space: VectorSpace, title: str) -> None:
    answer = elm.ask("Describe {island}.", {"island": title}, neighbors=3)
    point = space[title]
    assert answer.support == space.support(point)
    rows, similarities = space.neighbors(point, 3)
    assert [near.title for near in answer.neighbors] == [space.title(int(row)) for row in rows]
    assert [near.similarity for near in answer.neighbors] == pytest.approx(similarities.tolist())
    assert title not in [near.title for near in answer.neighbors]
    assert answer.slots["island"].source == point.source


def test_settings_say_what_produced_it(elm: ELM, run: Run, title: str) -> None:
    answer = elm.ask("Describe {island}.", {"island": title}, max_new_tokens=9, beams=2)
    assert answer.settings == {
        "max_new_tokens": 9,
        "temperature": 0.0,
        "top_p": 1.0,
        "top_k": 0,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0,
        "beams": 2,
        "seed": 0,
        "stop": [],
        "run": str(run.path),
        "llm": run.card.llm.name,
        "trained": "full",
        "names": "link",
        "names_weight": None,
    }


def test_an_answer_is_plain_values(elm: ELM, title: str) -> None:
    answer = elm.ask("What do {a} and {b} have in common?", {"a": title, "b": "lerp('1', '2', 0.5)"})
    values = json.loads(json.dumps(answer.to_dict()))
    assert set(values) == {
        *("text", "question", "slots", "settings", "finished"),
        *("influence", "consistency", "abstained", "cut", "mentions"),
    }
    assert values["text"] == answer.text
    assert values["slots"]["b"]["support"]["sources"] == list(answer.slots["b"].support.sources)
    assert len(values["slots"]["a"]["neighbors"]) == 5
    with pytest.raises(AttributeError, match=r"\['a', 'b'\]"):
        _ = answer.neighbors


def test_a_blend_names_its_sources(elm: ELM, space: VectorSpace) -> None:
    answer = elm.ask("Describe {island}.", {"island": "mean('1', '2', '3')"}, max_new_tokens=2)
    assert answer.support.sources == tuple(space.title(n) for n in (1, 2, 3))


# ---- what may be bound


def test_all_names_of_a_point_are_one(elm: ELM, space: VectorSpace, title: str) -> None:
    point = space[title]
    names = [title, space.column("id")[point.row].as_py(), f"'{title}'", f"island:'{title}'", f"island: {title}"]
    texts = {elm.ask("Describe {island}.", {"island": name}).text for name in [*names, point]}
    texts |= {elm.ask("Describe {island}.", {"island": raw}).text for raw in (point.values, point.values.tolist())}
    assert len(texts) == 1


def test_expressions_are_points(elm: ELM, space: VectorSpace) -> None:
    middle = (space[1].values + space[2].values) / 2
    by_words = elm.ask("Describe {island}.", {"island": "lerp('1', '2', 0.5)"})
    by_vector = elm.ask("Describe {island}.", {"island": middle})
    by_points = elm.ask("Describe {island}.", {"island": 0.5 * (space[1] + space[2])})
    assert by_words.text == by_vector.text == by_points.text
    np.testing.assert_allclose(elm.point("island", "lerp('1', '2', 0.5)").values, middle, rtol=1e-6)
    assert by_vector.slots["island"].source == "the vector given for {island}"


def test_a_slot_of_any_name_takes_the_only_space(elm: ELM, title: str) -> None:
    expected = elm.ask("Describe {island}.", {"island": title}).text
    for bound in (f"island:'{title}'", title):
        assert elm.ask("Describe {a}.", {"a": bound}).text == expected


def test_the_slot_twice_is_the_vector_twice(elm: ELM, title: str) -> None:
    answer = elm.ask("What do {a} and {a} have in common?", {"a": title}, max_new_tokens=3)
    assert list(answer.slots) == ["a"]


def test_points_of_another_space_are_refused(elm: ELM) -> None:
    other = World.make(seed=5).space(50)
    with pytest.raises(PromptError, match=r"slot \{island\}: the point lies in space 'island' .*was not trained"):
        elm.ask("Describe {island}.", {"island": other[0]})
    table = {"id": [str(n) for n in range(50)]}
    stranger = VectorSpace.create("film", np.random.default_rng(0).standard_normal((50, 16)), table)
    with pytest.raises(PromptError, match=r"lies in space 'film'"):
        elm.ask("Describe {island}.", {"island": stranger[0]})


@pytest.mark.parametrize(
    ("question", "bindings", "error", "message"),
    [
        ("Describe {island}.", {}, PromptError, r"slot \{island\} has no vector; bind it, or write \{\{island\}\}"),
        ("Describe it.", {"island": "1"}, PromptError, r"has no slot \{island\} for the vector"),
        ("Describe {{island}}.", {"island": "1"}, PromptError, r"has no slot \{island\}"),
        ("Describe {island}.", {"island": "Nowhereland"}, UnknownEntityError, r"no entity 'Nowhereland'"),
        ("Describe {island}.", {"island": "lerp('1', '2'"}, ExpressionError, r"."),
        ("Describe {island}.", {"island": [1.0, 2.0]}, VectalkError, r"16 dimensions, this one has shape \(2,\)"),
        ("Describe {island}.", {"island": [float("nan")] * 16}, VectalkError, r"NaN or infinity"),
        ("Describe {island}.", ["1"], PromptError, r"bindings must map slot names"),
        (["Describe {island}."] * 2, [{"island": "1"}], PromptError, r"2 questions but 1 bindings"),
        ("word " * 2000 + "{island}", {"island": "1"}, PromptError, r"tokens; the LLM takes fewer than 512"),
    ],
)
def test_what_does_not_fit_is_refused(elm: ELM, question, bindings, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        elm.ask(question, bindings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temprature": 1.0}, r"unknown setting 'temprature'; the settings are .*temperature"),
        ({"temperature": -1.0}, r"temperature is -1\.0; allowed is 0 \(greedy\) to 10"),
        ({"max_new_tokens": 0}, r"max_new_tokens is 0"),
        ({"top_p": 0.0}, r"top_p is 0\.0"),
        ({"beams": 0}, r"beams is 0"),
    ],
)
def test_wrong_settings_are_named(elm: ELM, settings: dict, message: str) -> None:
    with pytest.raises(PromptError, match=message):
        elm.ask("Describe {island}.", {"island": "1"}, **settings)
    with pytest.raises(PromptError, match=message):
        list(elm.stream("Describe {island}.", {"island": "1"}, **settings))


# ---- streaming


@pytest.mark.parametrize("settings", [{}, {"temperature": 1.0, "seed": 3}, {"max_new_tokens": 5}])
def test_a_stream_is_the_answer_in_pieces(elm: ELM, space: VectorSpace, settings: dict) -> None:
    for row in space.rows("test")[:4]:
        binding = {"island": space[int(row)]}
        *pieces, last = elm.stream("Describe {island}.", binding, neighbors=2, **settings)
        asked = elm.ask("Describe {island}.", binding, neighbors=2, **settings)
        assert all(isinstance(piece, str) and piece for piece in pieces)
        assert isinstance(last, Answer)
        assert "".join(pieces).strip() == asked.text
        assert last.to_dict() == asked.to_dict()
        assert len(pieces) > 1


def test_a_stream_that_is_left_harms_nothing(elm: ELM, title: str) -> None:
    expected = elm.ask("Describe {island}.", {"island": title}).text
    stream = elm.stream("Describe {island}.", {"island": title})
    assert len(list(islice(stream, 1))) == 1
    stream.close()
    assert elm.ask("Describe {island}.", {"island": title}).text == expected


def test_an_error_inside_reaches_the_reader(elm: ELM, title: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given, **settings):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(elm.model, "embed", broken)
    with pytest.raises(RuntimeError, match="out of memory"):
        list(elm.stream("Describe {island}.", {"island": title}))


def test_beams_cannot_be_streamed(elm: ELM, title: str) -> None:
    with pytest.raises(PromptError, match="beams is 2"):
        list(elm.stream("Describe {island}.", {"island": title}, beams=2))


# ---- decoding


def test_a_seed_decides_a_sample(elm: ELM, title: str) -> None:
    def sample(seed: int, **more) -> str:
        return elm.ask("Describe {island}.", {"island": title}, temperature=1.5, seed=seed, **more).text

    assert sample(1) == sample(1)
    assert len({sample(seed) for seed in range(5)}) > 1
    greedy = elm.ask("Describe {island}.", {"island": title}).text
    assert sample(1, top_p=1e-6) == greedy  # only the likeliest word is left
    cold = elm.ask("Describe {island}.", {"island": title}, temperature=1e-3, seed=7).text
    assert cold == greedy


def test_a_cut_answer_says_so(elm: ELM, title: str) -> None:
    whole = elm.ask("Describe {island}.", {"island": title})
    cut = elm.ask("Describe {island}.", {"island": title}, max_new_tokens=3)
    assert whole.finished
    assert not cut.finished
    assert whole.text.startswith(cut.text)
    length = len(elm.prompts.tokenizer(whole.text).input_ids)
    exact = elm.ask("Describe {island}.", {"island": title}, max_new_tokens=length)
    assert (exact.text, exact.finished) == (whole.text, False)
    assert elm.ask("Describe {island}.", {"island": title}, max_new_tokens=length + 1).finished


# ---- loading


def test_the_facade_knows_its_run(elm: ELM, corpus: Corpus) -> None:
    assert elm.suite == corpus.suite
    assert elm.corpus_path == corpus.path.resolve()
    texts = elm.generate(["Describe {island}."], [{"island": ("island", corpus.spaces["island"].vectors[3])}])
    assert texts == [elm.ask("Describe {island}.", {"island": "3"}).text]


def test_a_space_that_moved_is_given(run: Run, corpus: Corpus, tmp_path) -> None:
    moved = corpus.spaces["island"].save(tmp_path / "moved")
    assert Run.load(run.path).spaces({"island": moved.path})["island"].path == moved.path
    with pytest.raises(RunError, match="no space 'film'; it has island"):
        Run.load(run.path).spaces({"film": moved.path})
    smaller = World.make(dim=9).space(40).save(tmp_path / "smaller")
    with pytest.raises(RunError, match=r"vectors of 16 dimensions for 'island', .* has 9"):
        vt.ELM.from_pretrained(run.path, spaces={"island": smaller.path})
    other = World.make(seed=9).space(40).save(tmp_path / "other")
    with pytest.raises(RunError, match=f"of fingerprint .* has {other.fingerprint[:12]}.*--space island=DIR"):
        vt.ELM.from_pretrained(run.path, spaces={"island": other.path})


# ---- what must not leak in


def test_a_space_may_have_had_another_name_where_it_was_made(elm: ELM, space: VectorSpace, title: str) -> None:
    renamed = VectorSpace.load(space.path)
    renamed.name = "rocks"
    mine = elm.ask("Describe {island}.", {"island": renamed[title]})
    assert mine.text == elm.ask("Describe {island}.", {"island": title}).text
    assert mine.slots["island"].space == "island"


def test_a_run_whose_spaces_are_named_by_the_corpus_alone_can_be_asked(tmp_path, base_llm) -> None:
    suite, space = islands_suite().only(["summary"]), World.make().space(200)
    space.name = "item"
    saved = space.save(tmp_path / "items")
    corpus = build_corpus({"island": saved}, suite, FactsTeacher(suite, {"island": saved}), tmp_path / "corpus")
    settings = TrainConfig.load(None, {**SHORT, "stage2.steps": 0})
    made = train(corpus, str(base_llm), tmp_path / "run", settings, device="cpu")
    answer = ELM.from_pretrained(made.path, device="cpu").ask("Describe {island}.", {"island": saved["7"]})
    assert answer.slots["island"].neighbors


def test_a_slot_of_a_task_has_the_space_that_the_task_declares(elm: ELM, space: VectorSpace) -> None:
    two = ELM(elm.run, elm.model, elm.prompts, {"island": space, "ship": copy.copy(space)})
    assert two.point("a", "7", "What do {a} and {b} have in common?").space is space
    with pytest.raises(PromptError, match="could belong to any space"):
        two.point("x", "7", "Where does {x} lie?")


def test_samples_of_different_batches_differ(elm: ELM, title: str) -> None:
    count = elm.engine.batch_size
    asked = (["Describe {island}."] * (2 * count), [{"island": title}] * (2 * count))
    texts = [a.text for a in elm.ask(*asked, temperature=1.5, seed=3, max_new_tokens=12)]
    assert texts[:count] != texts[count:]


def test_what_the_llm_recommends_for_sampling_does_not_change_greedy_answers(elm: ELM, tmp_path, title: str) -> None:
    folder = tmp_path / "run"
    shutil.copytree(elm.run.path, folder)
    card = json.loads((folder / "elm.json").read_text())
    card["spaces"]["island"]["path"] = str(elm.spaces["island"].path)
    (folder / "elm.json").write_text(json.dumps(card))
    recommended = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "do_sample": True, "eos_token_id": 1}
    (folder / "llm" / "generation_config.json").write_text(json.dumps(recommended))
    copied = ELM.from_pretrained(folder, device="cpu")
    assert (
        copied.ask("Describe {island}.", {"island": title}).text
        == elm.ask("Describe {island}.", {"island": title}).text
    )
