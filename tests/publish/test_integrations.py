"""The real libraries with dummy models: what a program does shows, in order, in one session."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentmon import AgentStreamingPublisher
from agentmon.settings import Settings

Published = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def make(project: Path, settings: Settings) -> Iterator[Callable[[str], AgentStreamingPublisher]]:
    """A publisher for an agent of this name."""
    made: list[AgentStreamingPublisher] = []

    def publisher(agent: str) -> AgentStreamingPublisher:
        made.append(AgentStreamingPublisher(project, agent_id=agent, settings=settings, reports=False))
        return made[-1]

    yield publisher
    for one in made:
        one.close()


def ended(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [m for m in messages if m["type"] == "agent_action"]


def test_dspy_react_shows_tools_and_reasoning_in_order(
    make: Callable[[str], AgentStreamingPublisher], published: Published
) -> None:
    import dspy
    from dspy.utils import DummyLM

    from agentmon.publish.dspy import AgentmonCallback

    def search(query: str) -> str:
        """Search the flights."""
        return f"found {query}"

    def book(flight: str) -> str:
        """Book a flight."""
        raise ValueError(f"{flight} is full")

    model = DummyLM(
        [
            {"next_thought": "look for flights", "next_tool_name": "search", "next_tool_args": {"query": "SFO"}},
            {"next_thought": "book it", "next_tool_name": "book", "next_tool_args": {"flight": "AA1"}},
            {"next_thought": "that is all", "next_tool_name": "finish", "next_tool_args": {}},
            {"reasoning": "the flight was full", "answer": "no"},
        ]
    )
    publisher = make("dspy")
    with dspy.context(lm=model, callbacks=[AgentmonCallback(publisher)]):
        program = dspy.ReAct("question -> answer", tools=[search, book])
        assert program(question="can I fly?").answer == "no"
    assert publisher.flush(20)
    thoughts = published("agent.thoughts", "dspy", 4)
    assert [m["thought"] for m in thoughts] == ["look for flights", "book it", "that is all", "the flight was full"]
    assert thoughts[0]["context"] == {"tool": "search"}
    actions = ended(published("agent.actions", "dspy"))
    tools = [m for m in actions if m["action"] == "call"]
    assert [(m["tool"], m["success"], m.get("error")) for m in tools] == [
        ("search", True, None),
        ("book", False, "ValueError: AA1 is full"),
    ]
    assert tools[0]["context"]["arguments"] == {"query": "SFO"}
    assert tools[0]["result"] == "found SFO"
    models = [m for m in actions if m["action"] == "chat"]
    assert len(models) == 4
    assert all(m["duration_ms"] >= 0 for m in models)
    (run,) = published("agent.tasks", "dspy", 1)
    assert (run["module"], run["outputs"]["answer"]) == ("ReAct", "no")
    assert {m["session_id"] for m in (*thoughts, *actions, run)} == {publisher.session_id}
    # In order across the topics: each thought before the tool that it led to.
    times = {m.get("thought", m.get("tool")): m["timestamp"] for m in (*thoughts, *tools)}
    order = ["look for flights", "search", "book it", "book", "that is all", "the flight was full"]
    assert [times[name] for name in order] == sorted(times.values())


def test_dspy_tokens_and_metric_values(make: Callable[[str], AgentStreamingPublisher], published: Published) -> None:
    import dspy
    from dspy.utils import DummyLM

    from agentmon.publish.dspy import AgentmonCallback

    def exact(example: Any, prediction: Any, trace: Any = None) -> float:
        return float(example.answer == prediction.answer)

    publisher = make("dspy-eval")
    model = DummyLM([{"answer": "4"}, {"answer": "5"}])
    devset = [dspy.Example(question=q, answer="4").with_inputs("question") for q in ("2+2", "1+3")]
    with dspy.context(lm=model, callbacks=[AgentmonCallback(publisher)]):
        dspy.Evaluate(devset=devset, metric=exact, num_threads=1)(dspy.Predict("question -> answer"))
    assert publisher.flush(20)
    learning = published("agent.learning", "dspy-eval", 3)
    assert [m["reward"] for m in learning if "reward" in m] == [1.0, 0.0]
    (progress,) = [m for m in learning if m["type"] == "learning_progress"]
    assert progress["data"] == {"total_events": 2, "avg_reward": 0.5, "metric": "exact"}
    calls = ended(published("agent.actions", "dspy-eval"))
    assert all(m["input_tokens"] >= 0 and m["output_tokens"] >= 0 for m in calls)


def graph(tools: list[Any], answers: list[Any]) -> Any:
    from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
    from langgraph.graph import END, START, MessagesState, StateGraph
    from langgraph.prebuilt import ToolNode

    model = GenericFakeChatModel(messages=iter(answers))

    def think(state: Any) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    def has_calls(state: Any) -> str:
        return "tools" if state["messages"][-1].tool_calls else END

    built = StateGraph(MessagesState)
    built.add_node("think", think)
    built.add_node("tools", ToolNode(tools, handle_tool_errors=True))
    built.add_edge(START, "think")
    built.add_conditional_edges("think", has_calls)
    built.add_edge("tools", "think")
    return built.compile()


def test_langgraph_agent(make: Callable[[str], AgentStreamingPublisher], published: Published) -> None:
    from langchain_core.messages import AIMessage
    from langchain_core.tools import tool

    from agentmon.publish.langchain import AgentmonHandler

    @tool
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    @tool
    def fail(why: str) -> str:
        """Fail."""
        raise RuntimeError(why)

    answers = [
        AIMessage("I add them", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": "1"}]),
        AIMessage("", tool_calls=[{"name": "fail", "args": {"why": "no"}, "id": "2"}]),
        AIMessage("3", additional_kwargs={"reasoning_content": "it is three"},
                  usage_metadata={"input_tokens": 11, "output_tokens": 2, "total_tokens": 13}),
    ]  # fmt: skip
    publisher = make("langgraph")
    config = {"callbacks": [AgentmonHandler(publisher)], "configurable": {"thread_id": "thread-7"}}
    graph([add, fail], answers).invoke({"messages": [("user", "1 + 2?")]}, config)
    assert publisher.flush(20)
    actions = ended(published("agent.actions", "langgraph", 5))
    tools = [m for m in actions if m["action"] == "call"]
    assert [(m["tool"], m["success"]) for m in tools] == [("add", True), ("fail", False)]
    assert (tools[0]["context"]["arguments"], tools[0]["result"]) == ({"a": 1, "b": 2}, "3")
    assert "no" in tools[1]["error"]
    models = [m for m in actions if m["action"] == "chat"]
    assert (models[-1]["input_tokens"], models[-1]["output_tokens"], models[-1]["result"]) == (11, 2, "3")
    thoughts = published("agent.thoughts", "langgraph", 2)
    assert [m["thought"] for m in thoughts] == ["I add them", "it is three"]
    (run,) = published("agent.tasks", "langgraph", 1)
    assert {m["session_id"] for m in (*actions, *thoughts, run)} == {"thread-7"}


def test_langchain_errors_and_async(make: Callable[[str], AgentStreamingPublisher], published: Published) -> None:
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import RunnableLambda

    from agentmon.publish.langchain import AgentmonHandler

    class Broken(BaseRetriever):
        def _get_relevant_documents(self, query: str, **_: Any) -> Any:
            raise TimeoutError("index away")

    publisher = make("langchain")
    config = {"callbacks": [AgentmonHandler(publisher)]}
    with pytest.raises(TimeoutError):
        Broken().invoke("q", config)

    async def shout(text: str) -> str:
        return text.upper()

    assert asyncio.run(RunnableLambda(shout).ainvoke("a", config)) == "A"
    assert publisher.flush(20)
    (action,) = ended(published("agent.actions", "langchain", 1))
    assert (action["action"], action["error"]) == ("retrieve", "TimeoutError: index away")
    (run,) = published("agent.tasks", "langchain", 1)
    assert run["outputs"] == "A"


def test_openai_agents(make: Callable[[str], AgentStreamingPublisher], published: Published) -> None:
    from agents import Agent, ModelResponse, RunConfig, Runner, Usage, function_tool, set_trace_processors
    from agents.models.interface import Model
    from agents.tracing import generation_span
    from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

    from agentmon.publish.openai_agents import AgentmonProcessor

    @function_tool
    def weather(city: str) -> str:
        """The weather."""
        return f"sun in {city}"

    class Dummy(Model):
        """A model that calls the tool and then answers."""

        turn = 0

        async def get_response(self, *_: Any, **__: Any) -> ModelResponse:
            self.turn += 1
            call = ResponseFunctionToolCall(
                type="function_call", call_id="c", name="weather", arguments='{"city": "Bern"}'
            )
            text = ResponseOutputText(type="output_text", text="sunny", annotations=[])
            answer = ResponseOutputMessage(id="m", type="message", role="assistant", status="completed", content=[text])
            with generation_span(input=[], model="dummy") as span:
                reasoning = {"type": "reasoning", "summary": [{"type": "summary_text", "text": f"turn {self.turn}"}]}
                span.span_data.output = [reasoning, {"role": "assistant"}]
                span.span_data.usage = {"input_tokens": 3, "output_tokens": 4}
            return ModelResponse(output=[call if self.turn == 1 else answer], usage=Usage(), response_id=None)

        def stream_response(self, *_: Any, **__: Any) -> Any:
            raise NotImplementedError

    publisher = make("openai-agents")
    set_trace_processors([AgentmonProcessor(publisher)])
    try:
        agent = Agent(name="helper", model=Dummy(), tools=[weather])
        config = RunConfig(group_id="chat-1")
        assert asyncio.run(Runner.run(agent, "weather?", run_config=config)).final_output == "sunny"
    finally:
        set_trace_processors([])
    assert publisher.flush(20)
    messages = published("agent.actions", "openai-agents", 4)
    actions = ended(messages)
    (tool,) = [m for m in actions if m["tool"] == "weather"]
    assert (tool["context"]["arguments"], tool["result"], tool["success"]) == ({"city": "Bern"}, "sun in Bern", True)
    assert [m["span_id"] for m in messages if m["type"] == "action_started"] == [tool["span_id"]]
    models = [m for m in actions if m["tool"] == "dummy"]
    assert [(m["input_tokens"], m["output_tokens"]) for m in models] == [(3, 4), (3, 4)]
    thoughts = published("agent.thoughts", "openai-agents", 2)
    assert [m["thought"] for m in thoughts] == ["turn 1", "turn 2"]
    assert {m["session_id"] for m in (*messages, *thoughts)} == {"chat-1"}, json.dumps(messages)
