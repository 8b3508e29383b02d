"""Take the README's picture: docs/status.svg, `agentmon status` of the lake of AGENTMON_HOME, as rich draws it.

After `make demo`: .venv/bin/python scripts/picture.py
"""

from __future__ import annotations

import io
import re

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from agentmon.lake.status import read_status
from agentmon.settings import Settings, project_root
from agentmon_cli import overview

WIDTH = 80
#: rich asks a server for its font, which a picture on a page may not do: the reader's own instead.
_FONTS = "ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace"


def main() -> None:
    """Draw the same screen as the command does, on a console that remembers it."""
    found = read_status(Settings.from_env().lake)
    recorder = Console(
        record=True, file=io.StringIO(), width=WIDTH, force_terminal=True, color_system="truecolor",
        highlight=False, markup=False, emoji=False, legacy_windows=False, height=40,
    )  # fmt: skip
    recorder.print(Text("$ .venv/bin/agentmon status", style="bold"))
    overview.console = lambda: recorder
    overview.show(found)
    recorder.print()
    # A fixed id: the same screen gives the same file.
    picture = recorder.export_svg(title="agentmon", theme=MONOKAI, unique_id="agentmon")
    picture = re.sub(r"@font-face \{.*?\}\n", "", picture, flags=re.DOTALL).replace("Fira Code, monospace", _FONTS)
    target = project_root() / "docs" / "status.svg"
    target.parent.mkdir(exist_ok=True)
    target.write_text("\n".join(line.rstrip() for line in picture.splitlines()) + "\n")


if __name__ == "__main__":
    main()
