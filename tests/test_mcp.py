"""The tools for assistants, called by the SDK's own client in this process."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from mcp import Client

import vectalk as vt
from vectalk.model.run import Run
from vectalk.serving.limits import Limits
from vectalk.serving.tools import make_tool_server
from vectalk.talk import ELM


@pytest.fixture(scope="module")
def elm(short_run: Run) -> ELM:
    return vt.ELM.from_pretrained(short_run.path, device="cpu")


@pytest.fixture(scope="module")
def use(elm: ELM) -> Callable[..., Any]:
    """Call a tool; returns whether it failed, its values and its text."""

    def used(name: str, **arguments: Any) -> tuple[bool, Any, str]:
        async def called() -> tuple[bool, Any, str]:
            async with Client(make_tool_server(elm, "islands", Limits(default_tokens=12))) as client:
                result = await client.call_tool(name, arguments)
                return result.is_error, result.structured_content, result.content[0].text

        return asyncio.run(called())

    return used


def test_the_tools_are_listed_with_their_arguments(elm: ELM) -> None:
    async def listed() -> Any:
        async with Client(make_tool_server(elm, "islands")) as client:
            return (await client.list_tools()).tools

    tools = {tool.name: tool for tool in asyncio.run(listed())}
    assert set(tools) == {"describe", "compare", "neighbors", "support"}
    assert all("Args:" in tool.description for tool in tools.values())
    assert tools["compare"].input_schema["required"] == ["first", "second"]


def test_describe_and_compare_say_what_elm_says(use: Callable[..., Any], elm: ELM) -> None:
    failed, values, _ = use("describe", point="lerp('1', '2', 0.5)", question="Describe {island}.")
    expected = elm.ask("Describe {island}.", {"island": "lerp('1', '2', 0.5)"}, max_new_tokens=12)
    assert (failed, values["text"]) == (False, expected.text)
    assert values["points"]["island"]["verdict"] == expected.support.verdict
    failed, values, _ = use("describe", point="'3'", space="island")
    assert values["question"] in [prompt for task in elm.suite.tasks for prompt in task.prompts]
    failed, values, _ = use("compare", first="'1'", second="'2'", question="How do {a} and {b} differ?")
    assert values["text"] == elm.ask("How do {a} and {b} differ?", {"a": "1", "b": "2"}, max_new_tokens=12).text


def test_neighbours_and_support(use: Callable[..., Any], elm: ELM) -> None:
    space = elm.spaces["island"]
    _, values, _ = use("neighbors", point="'3'", count=4)
    rows, _ = space.neighbors(space["3"], 4)
    assert [near["title"] for near in values["neighbors"]] == [space.title(int(row)) for row in rows]
    _, values, _ = use("support", point="'3'")
    assert values["support"]["entity"]
    assert values["support"]["percentile"] == pytest.approx(space.support(space["3"]).percentile)


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("describe", {"point": "'Nowhere'"}, "has no entity 'Nowhere'"),
        ("describe", {"point": "'1'", "space": "iland"}, "did you mean island"),
        ("describe", {"point": "'1'", "question": "What is it?"}, "needs one slot"),
        ("compare", {"first": "'1'", "second": "lerp('1'"}, "expected ')'"),
        ("neighbors", {"point": "'1'", "count": 0}, "allowed is 1 to 100"),
        ("support", {"point": "'1' * 1e30"}, "standard deviations"),
    ],
)
def test_mistakes_are_named(use: Callable[..., Any], name: str, arguments: dict, text: str) -> None:
    failed, _, message = use(name, **arguments)
    assert failed
    assert text in message
