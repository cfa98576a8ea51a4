"""Tasks and suites: the questions about a space, their wordings, and the attributes that a correct answer states."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

import jinja2
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vectalk.errors import SuiteError
from vectalk.files import read_text as read_file
from vectalk.reading.yaml_text import YamlError, compose, construct
from vectalk.space.titles import closest
from vectalk.tasks.attributes import COMPUTED, SURROUNDINGS, UNREAD, Attribute
from vectalk.tasks.suite_file import FieldError, FieldErrors, Problem, dump, problems_of, repeated_keys
from vectalk.tasks.teachers import grammar

ABOUT = "about"  # in `facts`: the point that a two-slot task is about; only its surroundings are known
SHOWN = 5  # the most mistakes that one error names
SLOT = re.compile(r"(?<!\{)\{([A-Za-z_]\w*)\}(?!\})")  # {film} is a slot, {{film}} is the text "{film}"


def slots_in(prompt: str) -> list[str]:
    """Return the names of the slots of a prompt, in order."""
    return SLOT.findall(prompt)


def pieces_of(prompt: str) -> list[tuple[str, bool]]:
    """Split a prompt into (text, False) and (slot name, True) pieces, in order; {{film}} becomes text."""
    parts = SLOT.split(prompt)
    pieces = [
        (re.sub(r"\{\{(\w+)\}\}", r"{\1}", part) if i % 2 == 0 else part, i % 2 == 1) for i, part in enumerate(parts)
    ]
    return [(text, is_slot) for text, is_slot in pieces if text]


class Task(BaseModel):
    """One kind of question.

    Attributes:
        name: e.g. `summary`.
        slots: name of each slot -> space it takes vectors of.
        prompts: wordings of the question; each holds every slot at least once. Evaluation uses the first wording.
        about: the expression of the point that the answer is about (`film`, `lerp(a, b, 0.5)`), or None.
        states: attributes that a reference text states and that can be read back from an answer.
        pairs: how the second entity of a two-slot task is selected: `any`, or `neighbor` (the nearest training entity).
        facts: the facts teacher's grammar: sentences, each a list of wordings (see `grammar`).
        most: the most sentences of a text; sentences are tried in order until the text has this many.
        numbered: write the sentences as a numbered list.
        teacher: the instruction for an LLM teacher; when omitted, the first wording is used.
        names_title: whether a target may name the title of an entity in a slot.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    slots: dict[str, str] = Field(min_length=1, max_length=2)
    prompts: list[str] = Field(min_length=1)
    about: str | None = None
    states: list[str] = Field(default_factory=list)
    pairs: Literal["any", "neighbor"] = "any"
    facts: list[list[str]] = Field(default_factory=list)
    most: int | None = Field(None, ge=1)
    numbered: bool = False
    teacher: str | None = None
    names_title: bool = False

    @field_validator("facts", mode="before")
    @classmethod
    def _sentences_are_lists_of_wordings(cls, value: object) -> object:
        return [grammar.expand(item) for item in value] if isinstance(value, list) else value

    @model_validator(mode="after")
    def _slots_agree(self) -> "Task":
        problems = []
        for number, prompt in enumerate(self.prompts):
            slots = set(slots_in(prompt))
            if slots != set(self.slots):
                message = f"{prompt!r} holds the slots {sorted(slots)}, the task declares {sorted(self.slots)}"
                problems.append(FieldError(("prompts", number), message))
        if self.about is not None and not any(re.search(rf"\b{re.escape(slot)}\b", self.about) for slot in self.slots):
            message = f"{self.about!r} names none of the slots {sorted(self.slots)}"
            problems.append(FieldError(("about",), message))
        if problems:
            raise FieldErrors(problems)
        return self

    @property
    def between(self) -> str | None:
        """The space of the point that the task is about, if that point is not one of the slots; else None."""
        spaces = set(self.slots.values())
        return spaces.pop() if self.about is not None and self.about not in self.slots and len(spaces) == 1 else None


class Suite(BaseModel):
    """A set of tasks over some spaces, with the attributes that the texts of the tasks state.

    Attributes:
        name: name of the suite.
        attributes: space -> attribute name -> definition of the attribute.
        phrases: space -> wordings of a noun phrase that holds the facts of an entity, by the rules of `facts` (see
            `vectalk.tasks.teachers.told`).
        tasks: the tasks; each name is unique.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    description: str = ""
    attributes: dict[str, dict[str, Attribute]] = Field(default_factory=dict)
    phrases: dict[str, list[str]] = Field(default_factory=dict)
    tasks: list[Task] = Field(min_length=1)

    @field_validator("phrases", mode="before")
    @classmethod
    def _phrases_are_lists_of_wordings(cls, value: object) -> object:
        return {name: grammar.expand(item) for name, item in value.items()} if isinstance(value, dict) else value

    @model_validator(mode="after")
    def _fields_agree(self) -> "Suite":
        problems = [*self._attribute_problems(), *self._phrase_problems()]
        names = [task.name for task in self.tasks]
        for place, task in enumerate(self.tasks):
            if task.name in names[:place]:
                problems.append(FieldError(("tasks", place, "name"), f"task name {task.name!r} is used more than once"))
            for problem in self._task_problems(task):
                problem.path = ("tasks", place, *problem.path)
                problems.append(problem)
        if problems:
            raise FieldErrors(problems)
        return self

    def _attribute_problems(self) -> Iterator[FieldError]:
        for space, attributes in self.attributes.items():
            plain = [name for name, attribute in attributes.items() if attribute.kind not in COMPUTED]
            for name, attribute in attributes.items():
                named = [("of", attribute.of)] if attribute.of is not None else []
                named += [("where", key) for key in attribute.where] + [("without", key) for key in attribute.without]
                for field, other in named:
                    if other not in plain:
                        yield FieldError(
                            ("attributes", space, name, field),
                            f"{other!r} must be an attribute of {space!r} that has a column; such attributes are "
                            f"{', '.join(plain) or 'none'}",
                        )

    def _phrase_problems(self) -> Iterator[FieldError]:
        for space, wordings in self.phrases.items():
            for wording in (w for w in wordings if w != grammar.OTHERWISE):
                problem = _wording_problem(wording, {space: self.attributes.get(space, {})})
                if problem is not None:
                    yield FieldError(("phrases", space), f"phrase of {space!r}, {wording!r}: {problem}", wording)

    def _task_problems(self, task: Task) -> Iterator[FieldError]:
        unknown = [space for space in task.slots.values() if self.attributes and space not in self.attributes]
        if unknown and (task.facts or task.states):
            spaces = ", ".join(self.attributes)
            message = f"task {task.name!r}: the suite has attributes for {spaces}, but not for space {unknown[0]!r}"
            yield FieldError(("slots",), message)
            return
        known = {slot: self.attributes.get(space, {}) for slot, space in task.slots.items()}
        for number, name in enumerate(task.states):
            kinds = [attributes[name].kind for attributes in known.values() if name in attributes]
            if not kinds:
                message = f"task {task.name!r}: states {name!r}, but its spaces have no attribute of that name"
                yield FieldError(("states", number), message)
            elif kinds[0] in UNREAD:
                message = f"task {task.name!r}: states {name!r}, but kind {kinds[0]!r} cannot be read back"
                yield FieldError(("states", number), message)
        if task.between is not None:
            known[ABOUT] = {n: a for n, a in self.attributes.get(task.between, {}).items() if a.kind in SURROUNDINGS}
        for number, wordings in enumerate(task.facts):
            for wording in (w for w in wordings if w != grammar.OTHERWISE):
                problem = _wording_problem(wording, known)
                if problem is not None:
                    place = f"task {task.name!r}: facts[{number}] {wording!r}"
                    yield FieldError(("facts", number), f"{place}: {problem}", wording)

    @property
    def spaces(self) -> list[str]:
        """Names of the spaces that the tasks need."""
        return sorted({space for task in self.tasks for space in task.slots.values()})

    def task(self, name: str) -> Task:
        """Return a task by name."""
        for task in self.tasks:
            if task.name == name:
                return task
        raise SuiteError(f"suite {self.name!r} has no task {name!r}; it has {', '.join(t.name for t in self.tasks)}")

    def only(self, names: list[str]) -> "Suite":
        """Return the suite with just these tasks."""
        return self.model_copy(update={"tasks": [self.task(name) for name in names]})

    @classmethod
    def load(cls, path: str | Path) -> "Suite":
        """Load a suite from a YAML file; `load_suite` also takes the names of packaged and generic suites.

        Raises:
            SuiteError: the file does not exist or is malformed; the message names file, line and field.
        """
        return cls.parse(read_text(Path(path)), str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> "Suite":
        """Read a suite from YAML text; error messages call it `source`.

        Raises:
            SuiteError: the text is malformed; the message names line and field of the first mistakes.
        """
        suite, problems = cls.check(text)
        if suite is None:
            more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
            raise SuiteError(f"suite {source} is malformed: " + "; ".join(map(str, problems[:SHOWN])) + more)
        return suite

    @classmethod
    def check(cls, text: str) -> tuple["Suite | None", list[Problem]]:
        """Read a suite from YAML text; return (suite, []), or (None, problems with line and field)."""
        root = None
        try:
            root = compose(text)
            problems = repeated_keys(root)
            return (None, problems) if problems else (cls.model_validate(construct(root)), [])
        except YamlError as error:
            return None, [Problem(error.line, "suite", f"not valid YAML: {error.problem}")]
        except ValidationError as error:
            return None, problems_of(error, root)

    @classmethod
    def join(cls, suites: list["Suite"]) -> "Suite":
        """Merge several suites into one.

        Raises:
            SuiteError: two suites define the same task, or the same attribute differently.
        """
        if len(suites) == 1:
            return suites[0]
        attributes: dict[str, dict[str, Attribute]] = {}
        for suite in suites:
            for space, known in suite.attributes.items():
                for name, attribute in known.items():
                    if attributes.setdefault(space, {}).setdefault(name, attribute) != attribute:
                        raise SuiteError(
                            f"suites {', '.join(s.name for s in suites)}: attribute {space}.{name} has two "
                            "different definitions; rename one of the two attributes"
                        )
        try:
            return cls(
                name="+".join(suite.name for suite in suites),
                attributes=attributes,
                phrases={space: wordings for suite in suites for space, wordings in suite.phrases.items()},
                tasks=[task for suite in suites for task in suite.tasks],
            )
        except ValidationError as error:
            raise SuiteError(f"suites cannot be joined: {problems_of(error)[0].message}") from None

    def dump(self) -> str:
        """Return the suite as YAML."""
        return dump(self.model_dump(exclude_defaults=True))


def _wording_problem(wording: str, known: Mapping[str, Mapping[str, Attribute]]) -> str | None:
    """Return what is wrong with a wording whose slots have these attributes, or None."""
    try:
        used = grammar.facts_used(wording)
    except jinja2.TemplateSyntaxError as error:
        return str(error.message)
    except (
        SyntaxError,
        ValueError,
        ArithmeticError,
        RecursionError,
        MemoryError,
    ) as error:  # Jinja2 compiles it to Python
        return f"it cannot be read: {error}"
    for slot, attribute in sorted(used, key=str):
        if slot not in known:
            return f"{slot!r} is not a slot; slots are {sorted(known)}"
        if attribute is None:
            return (
                f"{slot!r} without an attribute has no value; write e.g. {slot}.{next(iter(known[slot]), 'ATTRIBUTE')}"
            )
        if attribute not in known[slot]:
            near = closest(attribute, list(known[slot])) or sorted(known[slot])
            return f"no attribute {attribute!r}; did you mean {', '.join(near)}?"
    return None


def read_text(path: Path) -> str:
    """Return the text of a suite's file, or raise a SuiteError."""
    if not path.is_file():
        raise SuiteError(
            f"suite file {path} does not exist" if not path.exists() else f"{path} is a folder, not a suite file"
        )
    return read_file(path, SuiteError)
