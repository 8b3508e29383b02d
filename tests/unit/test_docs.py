"""What the documentation says exists, and what is derived is up to date."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from scripts.docs import pages
from typer.main import get_command

from agentmon.settings import Settings, project_root
from agentmon_cli.app import build

ROOT = project_root()
README = (ROOT / "README.md").read_text()
WRITTEN = ["README.md", "CHANGELOG.md", "docs/decisions.md", "docs/settings.md", "docs/tables.md"]


@pytest.mark.parametrize("page", pages())
def test_derived_pages_are_up_to_date(page: str) -> None:
    assert (ROOT / page).read_text() == pages()[page], "run .venv/bin/python scripts/docs.py"


def test_every_setting_is_listed() -> None:
    listed = (ROOT / "docs" / "settings.md").read_text()
    assert [f.name for f in fields(Settings) if f"| `{f.metadata['env']}` |" not in listed] == []


def test_settings_in_the_readme_exist() -> None:
    known = {f.metadata["env"] for f in fields(Settings)}
    assert set(re.findall(r"\b(?:KAFKA|AGENT|AGENTMON|FRONTEND)_[A-Z_]+\b", README)) <= known


def test_commands_in_the_readme_exist() -> None:
    there = set(get_command(build()).commands)  # type: ignore[attr-defined]
    mentioned = set(re.findall(r"(?:bin/|`|job )agentmon ([a-z]+)", README))
    assert len(mentioned) > 10
    assert mentioned <= there


@pytest.mark.parametrize("page", WRITTEN)
def test_links_lead_somewhere(page: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text())
    local = [link for link in links if not link.startswith("https://")]
    assert [link for link in local if not (ROOT / Path(page).parent / link).exists()] == []


def test_the_picture_shows_the_recording() -> None:
    picture = (ROOT / "docs" / "status.svg").read_text().replace("&#160;", " ")
    assert "2,744 events" in picture
    assert "1,072 actions + 1,472 thoughts + 200 learning" in picture


def test_the_captured_screen_shows_the_recording() -> None:
    screen = README.partition("```text\n")[2].partition("```")[0].splitlines()
    assert screen[0].split() == ["agentmon", "2,744", "events", "success", "93.2%", "reward", "0.420", "4", "agents"]
    for title in ("Recent Actions", "Agent Thoughts", "Learning Stats", "Learning Progress"):
        assert any(title in line for line in screen)
    assert any(re.search(r"get_reservation_details +377 ", line) for line in screen)
    assert max(map(len, screen)) <= 90
