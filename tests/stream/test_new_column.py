"""A column is declared once: a line in contracts/tables.py, and messages, files and readers of the lake have it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import agentmon

MOOD = 'Column("mood", "string", "How the agent felt", "text"),'
BEFORE = 'Column("span_id",'


def test_a_line_in_contracts_is_a_column_from_messages_to_the_lake(tmp_path: Path) -> None:
    copy = tmp_path / "agentmon"
    shutil.copytree(Path(agentmon.__file__).parent, copy, ignore=shutil.ignore_patterns("__pycache__"))
    tables = copy / "contracts" / "tables.py"
    text = tables.read_text()
    assert text.count(BEFORE) == 1
    tables.write_text(text.replace(BEFORE, f"{MOOD}\n        {BEFORE}"))
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("with_a_new_column.py"), tmp_path / "lake"],
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    moods = ["calm", "7", None, "tense", '{"joy": 1.0}']
    assert json.loads(ran.stdout) == {
        "agentmon": str(copy / "__init__.py"),
        "usual": [True, True, True, False, False],
        "stored": moods,
        "live": moods,
    }
