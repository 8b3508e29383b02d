"""What the running figures keep, as `agentmon lag` tells it."""

from __future__ import annotations

import threading

from tests.builders import row, take_in

from agentmon.contracts.running import Agent, Window
from agentmon.stream.figures import Figures
from agentmon.stream.state import state_of


def figures_of(agents: int, tools: int = 1) -> Figures:
    figures = Figures(60, 600, 3600)
    rows = (
        row(seconds=n, offset=n * tools + t, agent_id=f"agent-{n}", tool=f"tool-{t}", reward=1.0)
        for n in range(agents)
        for t in range(tools)
    )
    take_in(figures, *rows)
    return figures


def test_it_tells_how_much_is_kept_and_the_watermark_of_the_agent_furthest_behind() -> None:
    told = state_of(figures_of(agents=3).agents, watermark_s=600)
    assert (told["agents"], told["windows"]) == (3, 3)
    assert told["watermark"] == "2026-11-01T11:50:00.000Z"
    assert state_of({}, 600) == {"agents": 0, "windows": 0, "bytes": 64, "watermark": None}


def test_bytes_grow_with_what_is_kept() -> None:
    few, many, wide = (state_of(figures_of(n, t).agents, 600)["bytes"] for n, t in ((100, 1), (1000, 1), (100, 50)))
    assert 8 * few < many < 12 * few
    assert wide > 3 * few


def test_it_may_be_asked_while_the_figures_change() -> None:
    agents: dict[str, Agent] = {}
    done = threading.Event()

    def change() -> None:
        for n in range(30_000):
            agents[f"agent-{n % 7000}"] = Agent(windows={n: Window()})
            agents.pop(f"agent-{(n - 50) % 7000}", None)
        done.set()

    changing = threading.Thread(target=change)
    changing.start()
    while not done.is_set():
        state_of(agents, 600)
    changing.join()
