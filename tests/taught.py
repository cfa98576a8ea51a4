"""An LLM teacher of a few films behind a fake endpoint."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fake_endpoint import FakeEndpoint
from films import films_suite
from vectalk.llm import Budget, ChatClient, Endpoint, ReplyCache
from vectalk.space import VectorSpace
from vectalk.tasks import Corpus, Suite, build_corpus
from vectalk.tasks.teachers.llm import LLMTeacher

KEY = "sk-very-secret-4711"


@contextmanager
def teacher_of(
    fake: FakeEndpoint,
    films: VectorSpace,
    cache: Path,
    suite: Suite | None = None,
    budget: Budget | None = None,
    cached_only: bool = False,
    concurrency: int = 4,
    patience: int = 5,
    **options: Any,
) -> Iterator[LLMTeacher]:
    place = Endpoint(model="fake", base_url=fake.url, concurrency=concurrency)
    with ChatClient(place, ReplyCache(cache), budget, cached_only=cached_only, patience=patience) as client:
        yield LLMTeacher(client, suite or films_suite(), {"film": films}, **options)


def build(teacher: LLMTeacher, films: VectorSpace, out: Path, suite: Suite | None = None, **options: Any) -> Corpus:
    return build_corpus({"film": films}, suite or films_suite(), teacher, out, **options)


def told(request: dict[str, Any]) -> str:
    return "\n".join(message["content"] for message in request["messages"])
