"""`ELM`: the entry class. Load a run, bind vectors to the slots of a question, get answers."""

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
from vectalk.decoding.defaults import complete, read_defaults
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
from vectalk.talk.answer import Answer, report
from vectalk.talk.candidates import Reranker, generate_candidates, keep_nearest, task_of
from vectalk.talk.engine import Engine, TransformersEngine
from vectalk.talk.influence import influence as influence_of
from vectalk.tasks import Corpus, Task
from vectalk.tasks.suite import SLOT, Suite, slots_in

Binding = Point | str | np.ndarray | Sequence[float]
Bindings = Mapping[str, Binding]


class ELM:
    """A loaded Embedding Language Model that answers questions about vectors.

    Args:
        run: the run that it was loaded from.
        model: adapters and LLM; None where another engine has them.
        prompts: turns questions into prompts; None where `model` is None.
        spaces: spaces by name.
        engine: the engine that writes answers; the model in this process when omitted.
        trust_encoder: load the text encoder that a space or a read-back names even if vectalk does not know it.

    Attributes:
        defaults: the decoding settings that the run stores; see `decoding`.
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
        self.defaults = read_defaults(run.path)
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
            run: the folder of the run, or `hf://owner/name` on the Hugging Face hub.
            spaces: name -> new folder of a space that moved.
            llm: new place of a base LLM that moved: a folder, or `owner/name` on the hub.
            device: `auto`, `cpu`, `cuda`, ...
            stage: 1 to load the model after the first stage of training, for comparison.
            revision: branch, tag or commit of a run on the hub.
            engine: another engine, such as a `VllmHttpEngine`; this process then loads no LLM.
            trust_encoder: load the text encoder that a space or a read-back names, for `text("...")`, even if vectalk
                does not know it.

        Raises:
            RunError: the folder is not a run, or the run was trained on another version of a space.
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
            EngineError: another engine has them.
        """
        if self._model is None:
            raise EngineError("this needs the LLM in this process; load the run without another engine")
        return self._model

    @property
    def prompts(self) -> PromptFormat:
        """Turns questions into prompts; see `model`."""
        if self._prompts is None:
            raise EngineError("this needs the LLM in this process; load the run without another engine")
        return self._prompts

    def save_pretrained(self, path: str | Path, *, spaces: bool = False, overwrite: bool = False) -> Path:
        """Copy the run to another folder, from which `from_pretrained` loads the same model; returns the folder.

        Args:
            path: new folder.
            spaces: copy the spaces too; otherwise the copy refers to their present folders.
            overwrite: replace another run in `path`.
        """
        return copy_run(self.run, path, spaces=spaces, overwrite=overwrite).path

    def push_to_hub(self, repository: str, **options: Any) -> str:
        """Upload the run with a model card and return its address; for the options see `vectalk.model.hub.push`."""
        return push(self.run, repository, **options)

    @cached_property
    def suite(self) -> Suite:
        """The tasks that the run was trained on."""
        return self.run.suite

    def trained_wordings(self, question: str) -> list[str]:
        """Return trained wordings with the same number of slots; an empty list where the question is one of them."""
        known = [prompt for task in self.suite.tasks for prompt in task.prompts]
        bare = SLOT.sub("{}", question)
        if any(SLOT.sub("{}", prompt) == bare for prompt in known):
            return []
        count = len(set(slots_in(question)))
        return [prompt for prompt in known if len(set(slots_in(prompt))) == count] or known

    @property
    def corpus_path(self) -> Path:
        """Path of the corpus that the run was trained on; it may no longer exist."""
        return self.run.corpus_path

    # ---- asking

    def decoding(self, **settings: Any) -> Decoding:
        """Return complete decoding settings; see `vectalk.decoding.defaults.complete` for those that you leave out."""
        return complete(settings, self.defaults, getattr(self.engine, "recommended", None))

    def point(self, slot: str, value: Binding, question: str | None = None) -> Point:
        """Turn the value bound to a slot into a point of the slot's space.

        Args:
            slot: name of the slot; a slot with the name of a space takes points of that space.
            value: a Point, a vector [D], or a title, id or expression; `film:'Alien (1979)'` names the space of
                a slot that has another name.
            question: the question; the wording of a task determines the spaces of its slots.

        Returns:
            A point of one of the run's own spaces.

        Raises:
            PromptError: the space of the slot is unknown.
        """
        if isinstance(value, Point):
            # Compare fingerprints: the same space may have another name elsewhere.
            matches = [s for s in self.spaces.values() if s.fingerprint == value.space.fingerprint]
            if not matches:
                raise PromptError(
                    f"slot {{{slot}}}: the point lies in space {value.space.name!r} ({value.space.fingerprint[:12]}), "
                    f"on which this model was not trained; bind a point of one of its spaces: {self._known()}"
                )
            target = self.space_of(slot, question) if len(matches) > 1 else matches[0]
            return replace(value, space=target)
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
        """Return the space of a slot, from the slot's name, from the tasks with this slot, or the run's only space."""
        if slot in self.spaces:
            return self.spaces[slot]
        if len(self.spaces) == 1:
            return next(iter(self.spaces.values()))
        tasks = [task for task in self.suite.tasks if slot in task.slots]
        exact_tasks = [task for task in tasks if question in task.prompts]
        declared = {task.slots[slot] for task in exact_tasks or tasks}
        if len(declared) == 1:
            return self.spaces[declared.pop()]
        raise PromptError(
            f"slot {{{slot}}} could belong to any space; name it after a space ({self._known()}), or bind e.g. "
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
            question: text with slots, or a list of such texts.
            bindings: slot -> Point, vector [D], title, id or expression; a list for a list of questions.
            neighbors: number of real entities in the report of each slot.
            strict: do not answer questions about vectors that are out of distribution.
            influence: report which tokens depend on which vector (one more forward pass).
            candidates: number of answers to each question, of which the one whose read-back is nearest to the vector
                is returned; the first candidate is the answer that `candidates=1` gives.
            encoder: text encoder of the read-back: `minilm`, `tfidf`, or a sentence transformer.
            progress: called with the number of finished answers and the total.
            settings: `sample=True` for the sampling that the LLM recommends, and fields of `Decoding`.

        Returns:
            An Answer, or a list of them.

        Raises:
            PromptError: slots and bindings do not agree.
        """
        single = isinstance(question, str)
        questions = [question] if isinstance(question, str) else list(question)
        bindings_list: list[Bindings] = [bindings or {}] if single else list(bindings or [{}] * len(questions))  # type: ignore
        if len(bindings_list) != len(questions):
            raise PromptError(
                f"{len(questions)} questions but {len(bindings_list)} bindings; give one mapping for each question"
            )
        decoding = self.decoding(**settings)
        if not 1 <= candidates <= 1024:
            raise PromptError(f"candidates is {candidates}; allowed is 1 to 1024")
        points = [self.bind(q, b) for q, b in zip(questions, bindings_list, strict=True)]
        answers = [self._empty(q, p, decoding, neighbors, strict) for q, p in zip(questions, points, strict=True)]
        answered = [i for i, answer in enumerate(answers) if answer.abstained is None]
        texts, slots = [questions[i] for i in answered], [as_slots(points[i]) for i in answered]
        if candidates == 1:
            for i, text in zip(answered, self.engine.generate(texts, slots, decoding, progress), strict=True):
                answers[i] = self._filled(answers[i], points[i], text, influence)
            return answers[0] if single else answers
        rerankers = [
            self.reranker(question, encoder) for question in texts
        ]  # before any answer is written, since fitting may fail
        candidate_lists = generate_candidates(self.engine, texts, slots, decoding, candidates, progress)
        for i, reranker, drafts in zip(answered, rerankers, candidate_lists, strict=True):
            text, nearness = keep_nearest(reranker, drafts, reranker.about(points[i]))
            complete = self._filled(answers[i], points[i], text, influence)
            details = {**complete.settings, "candidates": candidates, "encoder": encoder}
            answers[i] = replace(complete, consistency=nearness, settings=details)
        return answers[0] if single else answers

    async def aask(self, *arguments: Any, **settings: Any) -> Any:
        """Ask as `ask` does, without blocking the event loop; overlapping calls are decoded in one batch."""
        return await asyncio.to_thread(self.ask, *arguments, **settings)

    def reranker(self, question: str, encoder: str = "minilm") -> Reranker:
        """Return the reranker of a question, which scores how near the read-back of an answer is to the vector.

        The first call fits the reranker and saves it in the run's folder.

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
            raise PromptError(f"bindings must map slot names to points, but they are a {type(bindings).__name__}")
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
        """Ask one question: yield pieces of text as the model writes them, then the Answer."""
        decoding = self.decoding(**settings)
        points = self.bind(question, bindings or {})
        answer = self._empty(question, points, decoding, neighbors, strict)
        if answer.abstained is None:
            text = yield from self.engine.stream(question, as_slots(points), decoding)
            answer = self._filled(answer, points, text, influence)
        yield answer

    def generate(
        self,
        prompts: Sequence[str],
        slots: Sequence[Mapping[str, tuple[str, np.ndarray]]],
        *,
        max_new_tokens: int = 128,
        progress: Callable[[int, int], None] = lambda done, total: None,
        **settings: Any,
    ) -> list[str]:
        """Answer many questions, texts only, greedily by default; `slots` maps each slot to (space, vector [D])."""
        decoding = self.decoding(max_new_tokens=max_new_tokens, **settings)
        answers = self.engine.generate(prompts, slots, decoding, progress)
        return [answer.text for answer in answers]

    def _empty(
        self, question: str, points: dict[str, Point], decoding: Decoding, neighbors: int, strict: bool
    ) -> Answer:
        """Return the answer without its text; it abstains where `strict` is set and a vector is out of distribution."""
        settings = {
            **decoding.settings(),
            "run": str(self.run.path),
            "llm": self.run.card.llm.name,
            "trained": self.run.card.llm.trained,
        }
        slots = {slot: report(point, neighbors) for slot, point in points.items()}
        far = [f"{{{name}}} = {slot.source}: {slot.support}" for name, slot in slots.items() if slot.support.far]
        return Answer("", question, slots, settings, abstained="; ".join(far) if strict and far else None)

    def _filled(self, answer: Answer, points: dict[str, Point], generated: Generated, influence: bool) -> Answer:
        token_influence = None
        if influence:
            token_influence = influence_of(self.model, self.prompts, answer.question, points, generated.ids)
        reached = len(generated.ids) >= answer.settings["max_new_tokens"]
        cut: Literal["max_new_tokens", "context"] | None = None
        if not generated.finished:
            cut = "max_new_tokens" if reached or not generated.ids else "context"
        return replace(answer, text=generated.text, finished=generated.finished, influence=token_influence, cut=cut)


def as_slots(points: Mapping[str, Point]) -> dict[str, tuple[str, np.ndarray]]:
    """Return the points in the form that engines take: slot -> (space, vector [D])."""
    return {slot: (point.space.name, point.values) for slot, point in points.items()}
