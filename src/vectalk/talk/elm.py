"""`ELM`: the facade. Load a run, bind vectors to the slots of a question, get answers with their grounds."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, overload

import numpy as np

from vectalk.concepts.shelf import FUNCTIONS
from vectalk.decoding.settings import Decoding, Generated
from vectalk.errors import EngineError, PromptError
from vectalk.model import ElmModel, PromptFormat
from vectalk.model.hub import push
from vectalk.model.prompt import check_slots
from vectalk.model.run import Run
from vectalk.model.run_copy import copy_run
from vectalk.readback.shelf import FOLDER, text_function
from vectalk.space import Point, VectorSpace
from vectalk.space.expression import Function
from vectalk.talk.answer import Answer, Neighbor, SlotReport
from vectalk.talk.candidates import Reranker, generate_candidates, keep_nearest, task_of
from vectalk.talk.engine import Engine, TransformersEngine
from vectalk.talk.influence import influence as influence_of
from vectalk.tasks import Corpus, Task
from vectalk.tasks.suite import SLOT, Suite, slots_in

Binding = Point | str | np.ndarray | Sequence[float]
Bindings = Mapping[str, Binding]


class ELM:
    """An Embedding Language Model that is ready to talk.

    Args:
        run: what it was loaded from.
        model: adapters and LLM; None where they live elsewhere.
        prompts: makes prompts of questions; None likewise.
        spaces: spaces by name.
        engine: what writes; the model in this process when omitted.
        trust_encoder: load the text encoder that a space or a read-back names also where vectalk does not know it.
    """

    def __init__(
        self,
        run: Run,
        model: ElmModel | None,
        prompts: PromptFormat | None,
        spaces: dict[str, VectorSpace],
        engine: Engine | None = None,
        trust_encoder: bool = False,
    ) -> None:
        self.run, self.spaces, self.trust_encoder = run, spaces, trust_encoder
        self._model, self._prompts = model, prompts
        self.engine: Engine = engine or TransformersEngine(self.model, self.prompts)
        self._rerankers: dict[tuple[str, str], Reranker] = {}
        self._fitting = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        run: str | Path,
        *,
        spaces: Mapping[str, str | Path] | None = None,
        llm: str | None = None,
        device: str = "auto",
        stage: Literal[1] | None = None,
        revision: str | None = None,
        engine: Engine | None = None,
        trust_encoder: bool = False,
    ) -> ELM:
        """Load a run.

        Args:
            run: its folder, or `hf://owner/name` on the Hugging Face hub.
            spaces: folders of spaces that moved, by name.
            llm: another place of the base LLM, where it moved: a folder, or `owner/name` on the hub.
            device: `auto`, `cpu`, `cuda`, ...
            stage: 1 for the model as the first stage of training left it, to compare with.
            revision: branch, tag or commit of a run on the hub.
            engine: what writes, such as a `VllmHttpEngine`; no LLM is then loaded into this process.
            trust_encoder: load the text encoder that a space or a read-back names, for `text("...")`, also where
                vectalk does not know it.

        Raises:
            RunError: the folder is not a run, or a space is not the one it was trained on.
        """
        opened = Run.load(run, revision)
        known = opened.spaces(spaces)
        if engine is not None:
            return cls(opened, None, None, known, engine, trust_encoder)
        model, prompts = opened.model(device, llm, stage=stage)
        return cls(opened, model, prompts, known, trust_encoder=trust_encoder)

    @property
    def model(self) -> ElmModel:
        """Adapters and LLM.

        Raises:
            EngineError: they live elsewhere.
        """
        if self._model is None:
            raise EngineError("this needs the LLM in this process; load the run without another engine")
        return self._model

    @property
    def prompts(self) -> PromptFormat:
        """Makes prompts of questions; see `model`."""
        if self._prompts is None:
            raise EngineError("this needs the LLM in this process; load the run without another engine")
        return self._prompts

    def save_pretrained(self, path: str | Path, *, spaces: bool = False, overwrite: bool = False) -> Path:
        """Copy the run to another folder, from which `from_pretrained` loads the same model; returns the folder.

        Args:
            path: folder to make.
            spaces: copy the spaces into it too; else the copy names them where they are.
            overwrite: replace another run in `path`.
        """
        return copy_run(self.run, path, spaces=spaces, overwrite=overwrite).path

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Upload the run with a model card; returns its address. Options are those of `vectalk.model.hub.push`."""
        return push(self.run, repository, **options)

    @cached_property
    def suite(self) -> Suite:
        """The tasks that it was trained on."""
        return self.run.suite

    def trained_wordings(self, question: str) -> list[str]:
        """Return the trained wordings with as many slots, where a question is none of them; else nothing."""
        known = [prompt for task in self.suite.tasks for prompt in task.prompts]
        bare = SLOT.sub("{}", question)
        if any(SLOT.sub("{}", prompt) == bare for prompt in known):
            return []
        count = len(set(slots_in(question)))
        return [prompt for prompt in known if len(set(slots_in(prompt))) == count] or known

    @property
    def corpus_path(self) -> Path:
        """Where the corpus was that it was trained on."""
        return self.run.corpus_path

    # ---- asking

    def point(self, slot: str, value: Binding, question: str | None = None) -> Point:
        """Turn what is bound to a slot into a point of its space.

        Args:
            slot: name of the slot; a slot named like a space takes points of it.
            value: a Point, a vector [D], or a title, id or expression; `film:'Alien (1979)'` names the space of a
                slot that is called otherwise.
            question: the question, which tells the spaces of its slots where it is one of a task's.

        Returns:
            A point of one of the run's own spaces.

        Raises:
            PromptError: the space of the slot is not known.
        """
        if isinstance(value, Point):
            # Vectors are known by their fingerprint: what a space is called where it was made is another matter.
            same = [s for s in self.spaces.values() if s.fingerprint == value.space.fingerprint]
            if not same:
                raise PromptError(
                    f"slot {{{slot}}}: the point lies in space {value.space.name!r} ({value.space.fingerprint[:12]}), "
                    f"on which this model was not trained; it knows {self._known()}"
                )
            meant = self.space_of(slot, question) if len(same) > 1 else same[0]
            return replace(value, space=meant)
        if isinstance(value, str):
            name, sign, rest = value.partition(":")
            if sign and name.strip() in self.spaces:
                return self._parse(self.spaces[name.strip()], rest.strip())
            return self._parse(self.space_of(slot, question), value)
        space = self.space_of(slot, question)
        return Point(np.asarray(value, np.float32), space, f"the vector given for {{{slot}}}")

    def _parse(self, space: VectorSpace, text: str) -> Point:
        return space.point(text, {**FUNCTIONS, "text": self._text})

    def _text(self, space: VectorSpace, text: Any) -> Point:
        return self._text_point(space, text)

    @cached_property
    def _text_point(self) -> Function:
        return text_function(Path(self.run.path), self.trust_encoder)

    def space_of(self, slot: str, question: str | None) -> VectorSpace:
        """Return the space of a slot: by its name, by the tasks that have it, or because there is only one."""
        if slot in self.spaces:
            return self.spaces[slot]
        if len(self.spaces) == 1:
            return next(iter(self.spaces.values()))
        tasks = [task for task in self.suite.tasks if slot in task.slots]
        asked = [task for task in tasks if question in task.prompts]
        declared = {task.slots[slot] for task in asked or tasks}
        if len(declared) == 1:
            return self.spaces[declared.pop()]
        raise PromptError(
            f"slot {{{slot}}} could be of any space; name it like one ({self._known()}), or bind e.g. "
            f"{next(iter(self.spaces))}:'...'"
        )

    def _known(self) -> str:
        return ", ".join(f"{name!r} ({space.fingerprint[:12]})" for name, space in self.spaces.items())

    @overload
    def ask(self, question: str, bindings: Bindings | None = None, **settings: Any) -> Answer: ...

    @overload
    def ask(
        self, question: Sequence[str], bindings: Sequence[Bindings] | None = None, **settings: Any
    ) -> list[Answer]: ...

    def ask(
        self,
        question: str | Sequence[str],
        bindings: Bindings | Sequence[Bindings] | None = None,
        *,
        neighbors: int = 5,
        strict: bool = False,
        influence: bool = False,
        candidates: int = 1,
        encoder: str = "minilm",
        progress: Callable[[int, int], None] = lambda done, total: None,
        **settings: Any,
    ) -> Answer | list[Answer]:
        """Ask one question, or many at once.

        Args:
            question: text with slots, or a list of such.
            bindings: slot -> Point, vector [D], title, id or expression; a list for a list of questions.
            neighbors: how many real entities each slot's report names.
            strict: do not answer about vectors that lie far from anything real.
            influence: tell which words come from which vector (one more pass).
            candidates: answers that are written to each question; the one that reads back nearest to its vector is
                kept, the first of them being what a single answer would be.
            encoder: text encoder of that read-back: `minilm`, `tfidf`, or a sentence transformer.
            progress: called with answers done and answers in all.
            settings: fields of `Decoding`: `max_new_tokens`, `temperature`, `top_p`, `beams`, `seed`, `stop`.

        Returns:
            An Answer, or a list of them.

        Raises:
            PromptError: slots and bindings do not agree.
        """
        single = isinstance(question, str)
        questions = [question] if isinstance(question, str) else list(question)
        given: list[Bindings] = [bindings or {}] if single else list(bindings or [{}] * len(questions))  # type: ignore
        if len(given) != len(questions):
            raise PromptError(f"{len(questions)} questions but {len(given)} bindings; give one for each")
        decoding = Decoding.of(settings)
        if not 1 <= candidates <= 1024:
            raise PromptError(f"candidates is {candidates}; allowed is 1 to 1024")
        points = [self.bind(q, b) for q, b in zip(questions, given, strict=True)]
        answers = [self._empty(q, p, decoding, neighbors, strict) for q, p in zip(questions, points, strict=True)]
        chosen = [i for i, answer in enumerate(answers) if answer.abstained is None]
        asked, slots = [questions[i] for i in chosen], [as_slots(points[i]) for i in chosen]
        if candidates == 1:
            for i, made in zip(chosen, self.engine.generate(asked, slots, decoding, progress), strict=True):
                answers[i] = self._filled(answers[i], points[i], made, influence)
            return answers[0] if single else answers
        rerankers = [self.reranker(question, encoder) for question in asked]  # first, since this may fail
        several = generate_candidates(self.engine, asked, slots, decoding, candidates, progress)
        for i, reranker, written in zip(chosen, rerankers, several, strict=True):
            made, nearness = keep_nearest(reranker, written, reranker.about(points[i]))
            filled = self._filled(answers[i], points[i], made, influence)
            how = {**filled.settings, "candidates": candidates, "encoder": encoder}
            answers[i] = replace(filled, consistency=nearness, settings=how)
        return answers[0] if single else answers

    async def aask(self, *given: Any, **settings: Any) -> Any:
        """Ask as `ask` does, without keeping an event loop waiting; calls that overlap are decoded together."""
        return await asyncio.to_thread(self.ask, *given, **settings)

    def reranker(self, question: str, encoder: str = "minilm") -> Reranker:
        """Return what tells how near to its vector an answer to a question reads back.

        It is fitted when it is first asked for, and kept in the run's folder.

        Args:
            question: text with slots.
            encoder: text encoder of the read-back.

        Raises:
            PromptError: no task of the run is about the same kind of vector.
        """
        spaces = [self.space_of(slot, question).name for slot in dict.fromkeys(slots_in(question))]
        task = task_of(self.suite, question, spaces)
        with self._fitting:
            if (task.name, encoder) not in self._rerankers:
                self._rerankers[task.name, encoder] = self._new_reranker(task, encoder)
            return self._rerankers[task.name, encoder]

    def _new_reranker(self, task: Task, encoder: str) -> Reranker:
        run = Path(self.run.path)
        if not (self.corpus_path / "corpus.json").is_file():  # a run from the hub comes without its corpus
            space = self.spaces[next(iter(task.slots.values()))]
            return Reranker.load(run, task, encoder, space, self.corpus_path)
        corpus = Corpus.load(self.corpus_path, {name: str(space.path) for name, space in self.spaces.items()})
        return Reranker.fit(corpus, task, encoder, run / FOLDER)

    def bind(self, question: str, bindings: Bindings) -> dict[str, Point]:
        """Return the point of each slot of a question."""
        if not isinstance(bindings, Mapping):
            raise PromptError(f"bindings map slot names to points; {type(bindings).__name__} was given")
        check_slots(question, bindings)
        return {slot: self.point(slot, bindings[slot], question) for slot in dict.fromkeys(slots_in(question))}

    def stream(
        self,
        question: str,
        bindings: Bindings | None = None,
        *,
        neighbors: int = 5,
        strict: bool = False,
        influence: bool = False,
        **settings: Any,
    ) -> Iterator[str | Answer]:
        """Ask one question; yields pieces of text as they come, and the Answer last."""
        decoding = Decoding.of(settings)
        points = self.bind(question, bindings or {})
        answer = self._empty(question, points, decoding, neighbors, strict)
        if answer.abstained is None:
            made = yield from self.engine.stream(question, as_slots(points), decoding)
            answer = self._filled(answer, points, made, influence)
        yield answer

    def generate(
        self,
        prompts: Sequence[str],
        slots: Sequence[Mapping[str, tuple[str, np.ndarray]]],
        *,
        max_new_tokens: int = 128,
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> list[str]:
        """Answer many questions greedily, texts only; `slots` maps each slot to (space, vector [D])."""
        answers = self.engine.generate(prompts, slots, Decoding(max_new_tokens=max_new_tokens), progress)
        return [made.text for made in answers]

    def _empty(
        self, question: str, points: dict[str, Point], decoding: Decoding, neighbors: int, strict: bool
    ) -> Answer:
        """Return the answer but for its text; one that abstains where a strict question is about nothing real."""
        settings = {
            **decoding.settings(),
            "run": str(self.run.path),
            "llm": self.run.card.llm.name,
            "trained": self.run.card.llm.trained,
        }
        slots = {slot: report(point, neighbors) for slot, point in points.items()}
        far = [f"{{{name}}} = {slot.source}: {slot.support}" for name, slot in slots.items() if slot.support.far]
        return Answer("", question, slots, settings, abstained="; ".join(far) if strict and far else None)

    def _filled(self, answer: Answer, points: dict[str, Point], made: Generated, influence: bool) -> Answer:
        found = None
        if influence:
            found = influence_of(self.model, self.prompts, answer.question, points, made.ids)
        reached = len(made.ids) >= answer.settings["max_new_tokens"]
        cut: Literal["max_new_tokens", "context"] | None = None
        if not made.finished:
            cut = "max_new_tokens" if reached or not made.ids else "context"
        return replace(answer, text=made.text, finished=made.finished, influence=found, cut=cut)


def report(point: Point, count: int = 5) -> SlotReport:
    """Say what is known of a point: its support and its nearest real entities."""
    space = VectorSpace.of(point)
    rows, similarities = space.neighbors(point, count)
    near = tuple(
        Neighbor(str(space.column("id")[int(r)].as_py()), space.title(int(r)), float(s))
        for r, s in zip(rows, similarities, strict=True)
    )
    return SlotReport(space.name, point.source, space.support(point), near, point.notes)


def as_slots(points: Mapping[str, Point]) -> dict[str, tuple[str, np.ndarray]]:
    """Return what the engine takes: slot -> (space, vector)."""
    return {slot: (point.space.name, point.values) for slot, point in points.items()}
