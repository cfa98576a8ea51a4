"""Several spaces in one model: an adapter each, or one that spaces of one dimension share."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from vectalk.demo.world import World
from vectalk.errors import TrainingError
from vectalk.model import ElmAdapter, ElmAdapterConfig
from vectalk.model.run import Run
from vectalk.space import VectorSpace
from vectalk.talk import ELM
from vectalk.tasks import Corpus, FactsTeacher, Suite, build_corpus
from vectalk.training import TrainConfig
from vectalk.training.reporter import Silent
from vectalk.training.trainer import make_trainer, train
from worlds import SHORT, log_of

TASK = """
  - name: {space}_summary
    slots: {{{space}: {space}}}
    about: {space}
    prompts: ["What of {{{space}}}?"]
    facts: ["It is {{{{ {space}.level }}}}."]
"""
SUITE = (
    "name: three\nattributes:\n"
    + "".join(f"  {space}: {{level: {{kind: category}}}}\n" for space in ("film", "user", "text"))
    + "tasks:"
    + "".join(TASK.format(space=space) for space in ("film", "user", "text"))
)


@pytest.fixture(scope="module")
def three(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Films and users of one dimension but of other scales, and texts of another dimension."""
    folder, rng = tmp_path_factory.mktemp("three"), np.random.default_rng(0)
    spaces = {}
    for name, dim, mean, scale in (("film", 6, 0.0, 1.0), ("user", 6, 5.0, 0.1), ("text", 9, 0.0, 1.0)):
        vectors = (mean + scale * rng.standard_normal((80, dim))).astype(np.float32)
        level = ["high" if vector[0] > mean else "low" for vector in vectors]
        entities = {"id": [f"{name}{n}" for n in range(80)], "level": level}
        spaces[name] = VectorSpace.create(name, vectors, entities).save(folder / name)
    suite = Suite.parse(SUITE, "three")
    return build_corpus(spaces, suite, FactsTeacher(suite, spaces), folder / "corpus", variants=1)


def settings(*groups: list[str], **changes: Any) -> TrainConfig:
    return TrainConfig.load(None, {**SHORT, "adapter.shared": list(groups), **changes})


@pytest.fixture(scope="module")
def run(three: Corpus, random_llm: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    out = tmp_path_factory.mktemp("run") / "run"
    return train(three, str(random_llm), out, settings(["user", "film"]), device="cpu")


def test_one_model_speaks_of_films_users_and_texts(run: Run, three: Corpus) -> None:
    elm = ELM.from_pretrained(run.path, device="cpu")
    for space in ("film", "user", "text"):
        answer = elm.ask(f"What of {{{space}}}?", {space: f"{space}3"}, max_new_tokens=4)
        assert answer.slots[space].space == space
    assert elm.model.adapter("film") is elm.model.adapter("user")
    assert elm.model.adapter("text") is not elm.model.adapter("film")


def test_what_is_shared_is_saved_once(run: Run) -> None:
    assert sorted(path.name for path in (run.path / "adapters").iterdir()) == ["text", "user"]
    assert {name: card.adapter for name, card in run.card.spaces.items()} == {
        "film": "user",
        "user": "user",
        "text": "text",
    }
    weights = load_file(run.path / "adapters" / "user" / "model.safetensors")
    assert weights["mean"].shape == (2, 6)


@torch.no_grad()
def test_each_space_is_normalised_by_itself(run: Run, three: Corpus) -> None:
    model, _ = run.model("cpu")
    adapter = model.adapter("film")
    normal = torch.randn(5, 6, generator=torch.Generator().manual_seed(0))
    films, users = (
        adapter(torch.from_numpy(three.spaces[name].normalizer.inverse(normal.numpy())), name)
        for name in ("film", "user")
    )
    assert films.numpy() == pytest.approx(users.numpy(), abs=1e-3)
    odd = adapter(torch.from_numpy(three.spaces["user"].normalizer.inverse(normal.numpy())), "film")
    assert (odd - users).abs().max() > 0.1


def test_both_spaces_train_what_they_share(three: Corpus, random_llm: Path, tmp_path: Path) -> None:
    trainer = make_trainer(*(three, str(random_llm), tmp_path / "run", settings(["film", "user"])), device="cpu")
    names = [name for name, _ in trainer.model.named_parameters() if name.startswith("adapters.")]
    assert {name.split(".")[1] for name in names} == {"film", "text"}
    grads = {}
    for space in ("film", "user"):
        trainer.model.zero_grad()
        numbers = [n for n in range(len(trainer.train_set)) if trainer.train_set.prompt(n)[1].get(space)]
        trainer.model(trainer.train_set.batch(np.array(numbers[:4])))[0].backward()
        weight = trainer.model.adapter(space).first.weight
        grads[space] = weight.grad.clone()
    assert all(grad.abs().sum() > 0 for grad in grads.values())
    assert not torch.equal(grads["film"], grads["user"])


def test_a_shared_run_goes_on_as_if_nothing_had_been(run: Run, three: Corpus, random_llm: Path, tmp_path: Path) -> None:
    class Killed(Silent):
        def step(self, stage: int, done: int, steps: int, note: str) -> None:
            if (stage, done) == (2, 7):
                raise KeyboardInterrupt

    given = (three, str(random_llm), tmp_path / "run", settings(["user", "film"]))
    with pytest.raises(KeyboardInterrupt):
        make_trainer(*given, device="cpu", reporter=Killed()).run()
    again = make_trainer(*given, device="cpu", resume=True).run()
    assert log_of(again.path) == log_of(run.path)
    saved = [load_file(r.path / "adapters" / "user" / "model.safetensors") for r in (run, again)]
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([["film", "text"]], "one dimension, but film has 6, text has 9"),
        ([["film", "item"]], "names the space 'item', which the corpus does not have; it has film, user, text"),
        ([["film", "user"], ["user", "text"]], "names the space 'user' more than once"),
        ([["film"]], "at least two spaces"),
    ],
)
def test_bad_groups_are_named(
    three: Corpus, random_llm: Path, tmp_path: Path, groups: list[list[str]], message: str
) -> None:
    with pytest.raises(TrainingError, match=message):
        train(three, str(random_llm), tmp_path / "run", settings(*groups), device="cpu")


def test_an_adapter_each_is_the_default(three: Corpus, random_llm: Path, tmp_path: Path) -> None:
    given = (three, str(random_llm), tmp_path / "run", settings())
    trainer = make_trainer(*given, device="cpu")
    assert len({id(trainer.model.adapter(name)) for name in ("film", "user", "text")}) == 3


def test_a_lone_space_keeps_a_plain_normaliser(world: World) -> None:
    """As it was before adapters could be shared, so that older runs load."""
    space = world.space(50)
    adapter = ElmAdapter.create(ElmAdapterConfig(vector_dim=space.dim, llm_hidden_size=8), space.normalizer, 1.0)
    assert adapter.mean.shape == (space.dim,)
