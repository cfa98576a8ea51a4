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

from vectalk.decoding.defaults import complete, read_defaults
from vectalk.decoding.settings import Decoding, Generated
from vectalk.errors import EngineError, PromptError
from vectalk.model import ElmModel, PromptFormat
from vectalk.model.hub import push
from vectalk.model.run import Run
from vectalk.model.run_copy import copy_run
from vectalk.readback.shelf import FOLDER
from vectalk.space import Point, VectorSpace
from vectalk.talk.answer import Answer, report
from vectalk.talk.binding import Binder, Bindings
from vectalk.talk.candidates import Reranker, generate_candidates, keep_nearest, task_of
from vectalk.talk.engine import Engine, TransformersEngine
from vectalk.talk.history import NONE, History, as_slots
from vectalk.talk.influence import influence as influence_of
from vectalk.talk.mentions import Linker, Mention
from vectalk.talk.naming import Naming, NamingEngine
from vectalk.tasks import Corpus, Task
from vectalk.tasks.names_weight import read_weights
from vectalk.tasks.suite import SLOT, slots_in


class ELM(Binder):
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
        super().__init__(run, spaces, trust_encoder)
        self._model, self._prompts = model, prompts
        self.engine: Engine = engine or TransformersEngine(self.model, self.prompts)
        self.defaults = read_defaults(run.path)
        self._linker = Linker(spaces)
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
        load_in: Literal["4bit", "8bit", "none"] | None = None,
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
            load_in: pack the weights of the LLM in `4bit` or `8bit`, or not (`none`); as in training when omitted.

        Raises:
            RunError: the folder is not a run, or the run was trained on another version of a space.
        """
        opened = Run.load(run, revision)
        known = opened.spaces(spaces)
        if engine is not None:
            return cls(opened, None, None, known, engine, trust_encoder)
        model, prompts = opened.model(device, llm, stage=stage, load_in=load_in)
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
    def naming(self) -> Naming:
        """The titles that answers may name."""
        weights = {task: one.weight for task, one in read_weights(self.run.path).items()}
        return Naming(self.suite, self.spaces, weights)

    @property
    def reads_history(self) -> bool:
        """Whether the LLM reads the earlier turns of a conversation, unless the caller says otherwise."""
        return isinstance(self.engine, TransformersEngine) and self.run.reads_history

    @property
    def writer(self) -> NamingEngine:
        """The engine, with the constraint on names; see `Decoding.names`."""
        return NamingEngine(self.engine, self.naming)

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
        history: Sequence[Any] = (),
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
            history: the earlier turns of the conversation, which the LLM reads before the question: an `Exchange`, or
                a tuple (question, bindings, answer), for each turn; a list of such lists for a list of questions. The
                oldest turns are dropped where the LLM's context has no room (`answer.settings["dropped_turns"]`).
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
        exchanges = [history] if single else list(history or [()] * len(questions))
        if len(exchanges) != len(questions):
            raise PromptError(f"{len(questions)} questions but {len(exchanges)} histories; give one for each question")
        if candidates > 1 and any(exchanges):
            raise PromptError(f"candidates is {candidates}; with a history there is one answer; leave one out")
        points = [self.bind(q, b) for q, b in zip(questions, bindings_list, strict=True)]
        histories = [self._history(*one, decoding) for one in zip(exchanges, questions, points, strict=True)]
        answers = [
            self._empty(q, p, decoding, neighbors, strict, h)
            for q, p, h in zip(questions, points, histories, strict=True)
        ]
        answered = [i for i, answer in enumerate(answers) if answer.abstained is None]
        texts, slots = [questions[i] for i in answered], [as_slots(points[i]) for i in answered]
        if candidates == 1:
            earlier = [histories[i].turns for i in answered]
            for i, text in zip(answered, self.writer.generate(texts, slots, decoding, progress, earlier), strict=True):
                answers[i] = self._filled(answers[i], points[i], text, influence, histories[i])
            return answers[0] if single else answers
        rerankers = [
            self.reranker(question, encoder) for question in texts
        ]  # before any answer is written, since fitting may fail
        candidate_lists = generate_candidates(self.writer, texts, slots, decoding, candidates, progress)
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

    def stream(
        self,
        question: str,
        bindings: Bindings | None = None,
        *,
        neighbors: int = 5,
        strict: bool = False,
        influence: bool = False,
        history: Sequence[Any] = (),
        **settings: Any,
    ) -> Iterator[str | Answer]:
        """Ask one question: yield pieces of text as the model writes them, then the Answer."""
        decoding = self.decoding(**settings)
        points = self.bind(question, bindings or {})
        earlier = self._history(history, question, points, decoding)
        answer = self._empty(question, points, decoding, neighbors, strict, earlier)
        if answer.abstained is None:
            text = yield from self.writer.stream(question, as_slots(points), decoding, earlier.turns)
            answer = self._filled(answer, points, text, influence, earlier)
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
        answers = self.writer.generate(prompts, slots, decoding, progress)
        return [answer.text for answer in answers]

    def _history(
        self, exchanges: Sequence[Any], question: str, points: Mapping[str, Point], decoding: Decoding
    ) -> History:
        return History.of(self, self.engine, exchanges, question, as_slots(points), decoding.max_new_tokens)

    def _empty(
        self,
        question: str,
        points: dict[str, Point],
        decoding: Decoding,
        neighbors: int,
        strict: bool,
        history: History = NONE,
    ) -> Answer:
        """Return the answer without its text; it abstains where `strict` is set and a vector is out of distribution."""
        settings = {
            **decoding.settings(),
            "run": str(self.run.path),
            "llm": self.run.card.llm.name,
            "trained": self.run.card.llm.trained,
            **self.naming.settings(self.engine, question, decoding),
            **history.settings(),
        }
        slots = {slot: report(point, neighbors) for slot, point in points.items()}
        far = [f"{{{name}}} = {slot.source}: {slot.support}" for name, slot in slots.items() if slot.support.far]
        return Answer("", question, slots, settings, abstained="; ".join(far) if strict and far else None)

    def _filled(
        self,
        answer: Answer,
        points: dict[str, Point],
        generated: Generated,
        influence: bool,
        history: History = NONE,
    ) -> Answer:
        token_influence = None
        if influence:
            arguments = (answer.question, points, generated.ids)
            token_influence = influence_of(self.model, self.prompts, *arguments, earlier=history.turns)
        reached = len(generated.ids) >= answer.settings["max_new_tokens"]
        cut: Literal["max_new_tokens", "context"] | None = None
        if not generated.finished:
            cut = "max_new_tokens" if reached or not generated.ids else "context"
        complete = replace(answer, text=generated.text, finished=generated.finished, cut=cut)
        return replace(complete, influence=token_influence, mentions=self._mentions(complete, points, generated))

    def _mentions(self, answer: Answer, points: Mapping[str, Point], generated: Generated) -> tuple[Mention, ...]:
        if answer.settings["names"] == "off":
            return ()
        catalogue = self.naming.catalogue(answer.question)
        return self._linker.mentions(answer.text, as_slots(points), catalogue, generated.replaced)
