"""Claims and named titles: planted truths and falsehoods are counted."""

from pathlib import Path

import numpy as np
import pytest

from linear_world import SUITE, make_corpus, make_space
from vectalk.evaluation.metrics.claims import Check, claims
from vectalk.evaluation.metrics.named import named_titles
from vectalk.evaluation.probes.facts import Facts
from vectalk.evaluation.texts import Figure, TaskTexts
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("world"), rows=300)


@pytest.fixture(scope="module")
def facts(corpus: Corpus) -> Facts:
    return Facts(corpus, 0)


def given(corpus: Corpus, task: str, **texts: list[str]) -> TaskTexts:
    return TaskTexts(corpus, corpus.suite.task(task), list(corpus.examples("test", task)), texts)


def value(figures: list[Figure], metric: str, condition: str) -> float | None:
    (found,) = [estimate.value for m, c, estimate in figures if (m, c) == (metric, condition)]
    return found


def other_decade(text: str) -> str:
    return text.replace("1980s", "x").replace("1990s", "1980s").replace("x", "1990s")


def test_planted_falsehoods_are_counted(corpus: Corpus, facts: Facts) -> None:
    """Decades are false in every second text; genres and ratings are true in all."""
    references = given(corpus, "summary").references
    planted = [text if i % 2 else other_decade(text) for i, text in enumerate(references)]
    texts = {"elm": planted, "own_text": references, "mean": ["Nothing to say."] * len(references)}
    figures = list(claims(given(corpus, "summary", **texts), facts))
    said = [len(facts.reader("film", "genres").stated(text)) + 2 for text in references]
    false = len(references[::2])
    assert value(figures, "claims_precision", "elm") == pytest.approx(1 - false / sum(said))
    assert value(figures, "claims_recall", "elm") == pytest.approx(1 - false / sum(said))
    assert value(figures, "claims_precision", "own_text") == 1.0
    assert value(figures, "claims_recall", "own_text") == 1.0
    assert value(figures, "claims_precision", "mean") is None  # who says nothing says nothing false
    assert value(figures, "claims_recall", "mean") == 0.0


def test_what_is_left_unsaid_costs_recall_alone(corpus: Corpus, facts: Facts) -> None:
    references = given(corpus, "summary").references
    short = [text.partition(" It is rated")[0] for text in references]
    figures = list(claims(given(corpus, "summary", elm=short), facts))
    assert value(figures, "claims_precision", "elm") == 1.0
    genres = sum(len(facts.reader("film", "genres").stated(text)) for text in references)
    n = len(references)
    assert value(figures, "claims_recall", "elm") == pytest.approx((genres + n) / (genres + 2 * n))


def test_a_number_is_true_when_it_is_close(corpus: Corpus, facts: Facts) -> None:
    here = given(corpus, "summary")
    check = Check.of(here, "film", facts.reader("film", "rating"))
    assert check is not None
    (true,) = check.truth[0] or ()
    for off, right in ((0.05, 1), (-0.05, 1), (0.3, 0)):
        said, found, *_ = check.counts([f"It is rated {true + off:.3f}."] + [""] * (here.n - 1))[:, 0]
        assert (said, found) == (1, right)


def test_of_two_a_statement_may_hold_of_either(corpus: Corpus, facts: Facts) -> None:
    """`both` says what the first is and what the second is: a value is false where neither has it."""
    here = given(corpus, "both")
    figures = list(claims(given(corpus, "both", elm=here.references), facts))
    assert value(figures, "claims_precision", "elm") == 1.0
    space, reader = corpus.spaces["film"], facts.reader("film", "decade")
    pairs = [{reader.value(row) for _, row in e.slots.values()} for e in here.examples]
    wrong = ["All of the 1890s." if len(pair) == 1 else "Of the 1980s." for pair in pairs]
    figures = list(claims(given(corpus, "both", elm=wrong), facts))
    assert value(figures, "claims_precision", "elm") == pytest.approx(np.mean([len(pair) == 2 for pair in pairs]))
    assert len(space) == 300


def test_what_both_share_must_hold_of_both(tmp_path: Path) -> None:
    """Where the references speak of what is common alone, a value that one of the two has is false."""
    grammar = """The first is {{ a.genres | listed }} of the {{ a.decade }},
          the second {{ b.genres | listed }} of the {{ b.decade }}."""
    shared = "{{ '' | needs(a.decade == b.decade) }}Both are of the {{ a.decade }}."
    suite = Suite.parse(SUITE.replace(grammar, shared), "shared")
    space = make_space(300).save(tmp_path / "space")
    corpus = build_corpus({"film": space}, suite, FactsTeacher(suite, {"film": space}), tmp_path / "corpus")
    here, facts = given(corpus, "both"), Facts(corpus, 0)
    reader = facts.reader("film", "decade")
    check = Check.of(here, "film", reader)
    assert check is not None
    for example, truth in zip(here.examples, check.truth, strict=True):
        a, b = ({reader.value(row)} for _, row in example.slots.values())
        assert truth == a & b


def test_an_attribute_that_no_reference_states_is_not_checked(corpus: Corpus, facts: Facts) -> None:
    assert Check.of(given(corpus, "summary"), "film", facts.reader("film", "hidden")) is None
    assert Check.of(given(corpus, "summary"), "film", facts.reader("film", "decade")) is not None


# ---- titles


def test_titles(corpus: Corpus, facts: Facts) -> None:
    space, here = corpus.spaces["film"], given(corpus, "summary")
    rng, train = np.random.default_rng(0), corpus.spaces["film"].rows("train")
    near = [space.neighbors(space[int(row)], 1, split_name="train")[0][0] for row in here.rows("film")]
    far = [space.neighbors(-space[int(row)], 1, split_name="train")[0][0] for row in here.rows("film")]
    texts = {
        "own_text": here.references,
        "elm": [f"Like “{space.title(int(row))}”." for row in near],
        "shuffled": [f"Like “{space.title(int(row))}”." for row in far],
        "gaussian": [f"Like “{space.title(int(row))}”." for row in rng.choice(train, here.n)],
        "mean": ["Like “Nowhere To Be Found” and “Film 1”."] * here.n,
        "majority": ["Like none."] * here.n,
    }
    figures = list(named_titles(given(corpus, "summary", **texts), facts))
    assert value(figures, "names_invented", "own_text") == 0.0
    assert value(figures, "names_invented", "mean") == pytest.approx(0.5, abs=0.02)
    assert value(figures, "names_invented", "majority") is None
    assert value(figures, "names_right", "own_text") == 1.0
    assert value(figures, "names_right", "elm") == 1.0
    assert value(figures, "names_right", "shuffled") == 0.0
    assert value(figures, "titles_percentile", "elm") == pytest.approx(100, abs=1)
    assert value(figures, "titles_percentile", "shuffled") == pytest.approx(0, abs=10)
    assert value(figures, "titles_percentile", "gaussian") == pytest.approx(50, abs=15)


def test_the_title_that_was_asked_about_does_not_count(corpus: Corpus, facts: Facts) -> None:
    here = given(corpus, "summary")
    titles = [corpus.spaces["film"].title(int(row)) for row in here.rows("film")]
    figures = list(named_titles(given(corpus, "summary", elm=[f"“{t}” and “No Such”." for t in titles]), facts))
    assert value(figures, "names_invented", "elm") == 1.0


def test_tasks_whose_references_name_no_titles_are_left_out(corpus: Corpus, facts: Facts) -> None:
    here = given(corpus, "improve")
    assert not list(named_titles(given(corpus, "improve", elm=["“Film 1”"] * here.n), facts))
