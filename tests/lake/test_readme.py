"""The README's queries run."""

from __future__ import annotations

import re

import pytest

from agentmon.lake.adhoc import run_sql
from agentmon.settings import project_root

QUERIES = re.findall(r'agentmon sql "([^"]+)"', (project_root() / "README.md").read_text())


def test_there_are_queries() -> None:
    assert len(QUERIES) >= 3


@pytest.mark.parametrize("query", QUERIES)
def test_it_runs(empty_lake: str, query: str) -> None:
    assert run_sql(empty_lake, query).dicts() == []
