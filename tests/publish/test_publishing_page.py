"""Every Python example of docs/publishing.md, as it stands there, and its shell lines."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentmon.settings import Settings, project_root

Published = Callable[..., list[dict[str, Any]]]
PAGE = (project_root() / "docs" / "publishing.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
LINES = [
    line[2:].partition("  #")[0]
    for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    for line in block.splitlines()
]
COMMANDS = [line for line in LINES if line.startswith(("agentmon publish", "agentmon feedback"))]


@pytest.fixture
def env(settings: Settings) -> dict[str, str]:
    return {**os.environ, "AGENTMON_HOME": str(settings.home), "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap,
            "OPENAI_AGENTS_DISABLE_TRACING": "0",
        "AGENTMON_EXIT_WAIT": "30"}  # fmt: skip


def test_the_page_has_an_example_of_each_way() -> None:
    assert len(PYTHON) == 6
    assert len(COMMANDS) == 3


@pytest.mark.parametrize("number", range(6))
def test_python_example(project: Path, env: dict[str, str], published: Published, number: int) -> None:
    code = PYTHON[number]
    ran = subprocess.run(
        [sys.executable, "-c", code], cwd=project, env=env, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 0, ran.stderr
    assert "agentmon" not in ran.stderr
    agent = re.search(r'agent_id="([\w-]+)"', code)
    assert agent is not None
    (first, *_) = published("agent.actions", agent[1], 1)
    assert first["tool"]
    assert not (project / ".agentmon-spill").exists()


@pytest.mark.parametrize("number", range(3))
def test_shell_line(project: Path, env: dict[str, str], number: int) -> None:
    (project / "thoughts.jsonl").write_text('{"thought": "a"}\n')
    command = COMMANDS[number].replace("agentmon", shlex.quote(str(Path(sys.executable).with_name("agentmon"))), 1)
    ran = subprocess.run(command, shell=True, cwd=project, env=env, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (0, ""), ran.stderr
