"""Corpora: nothing of validation or test leaks into training, a seed gives the same, nothing is half made."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from vectalk.demo.world import World, islands_suite
from vectalk.errors import CorpusError, VectalkError
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus
from vectalk.tasks.suite import slots_in
from worlds import each, make_islands

QUOTED = re.compile("“([^”]*)”")


def splits_of(space: VectorSpace) -> list[str]:
    return space.column("split").to_pylist()


def build(space: VectorSpace, out: Path, suite: Suite | None = None, **options) -> Corpus:
    suite = suite or islands_suite()
    return build_corpus({"island": space}, suite, FactsTeacher(suite, {"island": space}), out, **options)


@pytest.fixture(scope="module")
def neighbours(islands: VectorSpace, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """A corpus with a task whose second slot is the nearest training entity."""
    values = islands_suite().model_dump()
    task = next(t for t in values["tasks"] if t["name"] == "similarities")
    values["tasks"] = [{**task, "pairs": "neighbor"}]
    return build(islands, tmp_path_factory.mktemp("neighbours") / "corpus", Suite.model_validate(values), variants=2)


# ---- what may be seen when


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_slot_holds_an_entity_of_the_examples_split(corpus: Corpus, islands: VectorSpace, split: str) -> None:
    splits, seen = splits_of(islands), set()
    for example in corpus.examples(split):
        assert example.split == split
        for space, row in example.slots.values():
            assert space == "island"
            assert splits[row] == split
            seen.add(row)
    assert seen == set(islands.rows(split))  # and every entity is asked about


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_every_named_title_is_of_training(corpus: Corpus, islands: VectorSpace, split: str) -> None:
    splits, named = splits_of(islands), 0
    for example in corpus.examples(split):
        for title in QUOTED.findall(example.target):
            row = islands.find(title)
            assert splits[row] == "train", (title, example.target)
            assert row not in [r for _, r in example.slots.values()]  # nobody is its own neighbour
            named += 1
    assert named == 2 * corpus.card["tasks"][f"{split}/visitor"]


def test_no_title_of_another_split_stands_anywhere_in_training(corpus: Corpus, islands: VectorSpace) -> None:
    hidden = {islands.title(int(row)) for split in ("validation", "test") for row in islands.rows(split)}
    for example in corpus.examples("train"):
        words = set(re.findall(r"\w+", f"{example.prompt} {example.target}"))
        assert not words & hidden


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_neighbour_slots_hold_the_nearest_training_entity(neighbours: Corpus, islands: VectorSpace, split: str) -> None:
    splits, count = splits_of(islands), 0
    train = islands.rows("train")
    for example in neighbours.examples(split):
        a, b = (example.slots[name][1] for name in ("a", "b"))
        assert splits[a] == split
        others = train[train != a]
        distances = np.linalg.norm(islands.vectors[others] - islands.vectors[a], axis=1)
        assert b == others[np.argmin(distances)]
        count += 1
    assert count == len(islands.rows(split)) * (2 if split == "train" else 1)


def test_pairs_are_of_two_entities_and_half_of_them_near(corpus: Corpus, islands: VectorSpace) -> None:
    near, total = 0, 0
    train = islands.rows("train")
    for example in corpus.examples("train", "similarities"):
        a, b = (example.slots[name][1] for name in ("a", "b"))
        assert a != b
        distances = np.linalg.norm(islands.vectors[train] - islands.vectors[a], axis=1)
        near += b in train[np.argsort(distances)[1:11]]
        total += 1
    assert 0.4 < near / total < 0.65


def test_prompts_and_targets_are_those_of_the_task(corpus: Corpus) -> None:
    wordings = set()
    for split in ("train", "validation", "test"):
        for example in corpus.examples(split):
            task = corpus.suite.task(example.task)
            assert example.prompt in task.prompts
            assert set(slots_in(example.prompt)) == set(example.slots) == set(task.slots)
            assert example.target
            assert example.teacher == "facts"
            if split != "train":
                assert example.prompt == task.prompts[0]
            wordings.add(example.prompt)
    assert wordings == {prompt for task in corpus.suite.tasks for prompt in task.prompts}


def test_targets_are_about_the_entity_in_the_slot(corpus: Corpus, islands: VectorSpace, world: World) -> None:
    reader = FactsTeacher(corpus.suite, corpus.spaces).readers["island"]["riches"]
    for example in corpus.examples("train", "summary"):
        assert reader.read(example.target) == world.truth(islands.vectors[example.slots["island"][1]])["riches"]


# ---- counts, variants, what is on disk


def test_the_card_counts_what_is_there(corpus: Corpus) -> None:
    card = json.loads((corpus.path / "corpus.json").read_text())
    for split in ("train", "validation", "test"):
        examples = list(corpus.examples(split))
        assert len(examples) == card["counts"][split] == corpus.table(split).num_rows
        for task, of_task in each(examples, lambda e: e.task).items():
            assert len(of_task) == card["tasks"][f"{split}/{task}"]
            assert list(corpus.examples(split, task)) == of_task
    assert len(corpus) == sum(card["counts"].values())
    assert card["spaces"]["island"]["fingerprint"] == corpus.spaces["island"].fingerprint


def test_the_card_identifies_the_content(corpus: Corpus, islands: VectorSpace, tmp_path: Path) -> None:
    kept = (path.name for path in corpus.path.iterdir() if not path.name.startswith("."))  # less what training keeps
    files = set(kept) - {"corpus.json", "embeddings"}
    assert set(corpus.card["sha256"]) == files >= {"suite.yaml", "train-00000.parquet", "test-00000.parquet"}
    for name, digest in corpus.card["sha256"].items():
        assert hashlib.sha256((corpus.path / name).read_bytes()).hexdigest() == digest
    suite = islands_suite()
    suite.tasks[0].facts[0][0] += " Indeed."  # counts and settings stay as they are
    other = build(islands, tmp_path / "other", suite, variants=2)
    same = build(islands, tmp_path / "same", variants=2)
    assert same.card["sha256"] == corpus.card["sha256"]
    assert other.card["counts"] == corpus.card["counts"]
    assert other.card["sha256"] != corpus.card["sha256"]


def test_variants_are_copies_for_training_only(corpus: Corpus, islands: VectorSpace) -> None:
    for split, copies in (("train", 2), ("validation", 1), ("test", 1)):
        rows = [example.slots["island"][1] for example in corpus.examples(split, "summary")]
        assert sorted(rows) == sorted(list(islands.rows(split)) * copies)


def test_vectors_are_named_and_never_copied(corpus: Corpus) -> None:
    schema = pq.read_schema(corpus.path / "train-00000.parquet")
    assert schema.names == ["task", "prompt", "slots", "target", "split", "teacher"]
    assert not list(corpus.path.glob("*.npy"))


def test_parts_are_of_bounded_size(islands: VectorSpace, corpus: Corpus, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("vectalk.tasks.corpus.build.PART", 500)
    made = build(islands, tmp_path / "corpus", variants=2)
    sizes = [pq.read_metadata(part).num_rows for part in sorted(made.path.glob("train-*.parquet"))]
    assert sizes[:-1] == [500] * (len(sizes) - 1)
    assert len(sizes) > 2
    assert list(made.examples("train")) == list(corpus.examples("train"))


# ---- the same again


def test_a_seed_gives_the_same_corpus(islands: VectorSpace, corpus: Corpus, tmp_path: Path) -> None:
    again, other = build(islands, tmp_path / "a", variants=2), build(islands, tmp_path / "b", variants=2, seed=1)
    for split in ("train", "validation", "test"):
        assert list(again.examples(split)) == list(corpus.examples(split))
    assert list(other.examples("train")) != list(corpus.examples("train"))


def test_a_further_task_leaves_the_others_as_they_are(islands: VectorSpace, corpus: Corpus, tmp_path: Path) -> None:
    for name in ("summary", "similarities"):
        alone = build(islands, tmp_path / name, islands_suite().only([name]), variants=2)
        for split in ("train", "validation", "test"):
            assert list(alone.examples(split)) == list(corpus.examples(split, name))


def test_a_corpus_moves_together_with_its_space(tmp_path: Path) -> None:
    made = make_islands(tmp_path / "here", rows=40)
    shutil.move(tmp_path / "here", tmp_path / "there")
    moved = Corpus.load(tmp_path / "there" / "corpus")
    assert moved.spaces["island"].path.resolve() == (tmp_path / "there" / "islands").resolve()
    assert len(moved) == len(made)


# ---- what cannot be


def bare_space(tmp_path: Path) -> VectorSpace:
    vectors = np.random.default_rng(0).standard_normal((60, 16)).astype(np.float32)
    return VectorSpace.create("island", vectors, {"id": [str(n) for n in range(60)]}).save(tmp_path / "bare")


def test_an_empty_corpus_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    suite = islands_suite().only(["summary", "similarities"])
    with pytest.raises(CorpusError, match=r"the corpus is empty.*summary, similarities.*island: id, split"):
        build(bare_space(tmp_path), tmp_path / "corpus", suite)
    assert [path.name for path in tmp_path.iterdir()] == ["bare"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_build_leaves_nothing(islands: VectorSpace, tmp_path: Path, error: type) -> None:
    class Tired(FactsTeacher):
        written = 0

        def write(self, task, rows, seed):
            self.written += 1
            if self.written == 700:
                raise error
            return super().write(task, rows, seed)

    suite = islands_suite()
    with pytest.raises(error):
        build_corpus({"island": islands}, suite, Tired(suite, {"island": islands}), tmp_path / "corpus")
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_rebuild_leaves_the_old_one(tmp_path: Path) -> None:
    made = make_islands(tmp_path, rows=40)
    before = list(made.examples("train"))

    def stop(task: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(made.spaces["island"], made.path, overwrite=True, seed=9, progress=stop)
    assert list(Corpus.load(made.path).examples("train")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "islands"]


def test_an_existing_folder_is_not_replaced_unasked(islands: VectorSpace, tmp_path: Path) -> None:
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "mine.txt").write_text("precious")
    with pytest.raises(VectalkError, match="exists already"):
        build(islands, tmp_path / "corpus")
    assert (tmp_path / "corpus" / "mine.txt").read_text() == "precious"


def test_a_replaced_space_is_noticed(tmp_path: Path) -> None:
    made = make_islands(tmp_path, rows=40)
    old = made.spaces["island"].fingerprint
    new = World.make().space(40, seed=7).save(tmp_path / "islands", overwrite=True)
    with pytest.raises(CorpusError, match=rf"{old[:12]}.*{new.fingerprint[:12]}.*--space island=DIR"):
        Corpus.load(made.path)


def test_the_same_vectors_with_another_split_are_noticed(tmp_path: Path) -> None:
    made = make_islands(tmp_path, rows=40)
    space = made.spaces["island"]
    table = space.entities.drop_columns(["split"])
    other = VectorSpace.create("island", np.array(space.vectors), table, metric=space.metric, split_by="title")
    assert other.save(tmp_path / "islands", overwrite=True).fingerprint == space.fingerprint
    with pytest.raises(CorpusError, match=r"its split differs \(it is split by title\).*--space island=DIR"):
        Corpus.load(made.path)


def test_a_space_that_moved_is_named(tmp_path: Path) -> None:
    made = make_islands(tmp_path, rows=40)
    shutil.move(tmp_path / "islands", tmp_path / "elsewhere")
    message = r"space 'island' at .*islands, but nothing is there: one of the two was moved; .*--space island=DIR"
    with pytest.raises(CorpusError, match=message):
        Corpus.load(made.path)
    assert len(Corpus.load(made.path, {"island": tmp_path / "elsewhere"})) == len(made)
    with pytest.raises(CorpusError, match=r"no space 'ilsand'.*island"):
        Corpus.load(made.path, {"ilsand": tmp_path / "elsewhere", "island": tmp_path / "elsewhere"})


def test_what_is_no_corpus_is_refused(tmp_path: Path, corpus: Corpus) -> None:
    with pytest.raises(CorpusError, match="no such folder"):
        Corpus.load(tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"no corpus\.json"):
        Corpus.load(tmp_path)
    (tmp_path / "corpus.json").write_text('{"format": 1}')
    with pytest.raises(CorpusError, match=r"corpus\.json.*spaces"):
        Corpus.load(tmp_path)
    with pytest.raises(CorpusError, match="unknown split 'tset'"):
        list(corpus.examples("tset"))


def test_a_space_in_memory_cannot_be_referred_to(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="must be saved"):
        build(World.make().space(40), tmp_path / "corpus")
    assert list(tmp_path.iterdir()) == []


def test_variants_must_be_positive(islands: VectorSpace, tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="variants must be at least 1, not 0"):
        build(islands, tmp_path / "corpus", variants=0)


def test_a_tiny_space_gives_no_pair_of_one(tmp_path: Path) -> None:
    world = World.make()
    table = world.space(3).entities.to_pydict()
    table["split"] = ["train", "train", "test"]
    space = VectorSpace.create("island", world.space(3).vectors, table, metric="euclidean").save(tmp_path / "islands")
    made = build(space, tmp_path / "corpus", islands_suite().only(["similarities"]), variants=3)
    pairs = {tuple(row for _, row in example.slots.values()) for example in made.examples("train")}
    assert pairs <= {(0, 1), (1, 0)}
    assert list(made.examples("test")) == []
