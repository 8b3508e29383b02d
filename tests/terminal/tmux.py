"""A real terminal for tests: tmux, on a server of the test's own."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

AGENTMON = Path(sys.executable).with_name("agentmon")


class Terminal:
    """One tmux session that runs a shell; `type` and `keys` act as a person does, `screen` is what they see."""

    def __init__(self, name: str, env: Mapping[str, str], width: int = 80, height: int = 24) -> None:
        self._socket = f"agentmon-test-{name}"
        told = [f"{key}={value}" for key, value in {"PS1": "$ ", "TERM": "xterm-256color", **env}.items()]
        self._tmux("-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height),
                   *["env", *told, "bash", "--norc", "--noprofile"])  # fmt: skip
        self._tmux("set-option", "-g", "status", "off")

    def run(self, *arguments: str) -> None:
        """Type a command of agentmon and Enter."""
        self.keys(shlex.join([str(AGENTMON), *arguments]), "Enter")

    def keys(self, *keys: str) -> None:
        """Press keys, named as tmux names them."""
        self._tmux("send-keys", *keys)

    def resize(self, width: int, height: int) -> None:
        self._tmux("resize-window", "-x", str(width), "-y", str(height))

    def screen(self, *, styled: bool = False) -> str:
        """What the terminal shows; with its colours where `styled`."""
        return self._tmux("capture-pane", "-p", *(["-e"] if styled else []))

    def until(self, shows: str | Callable[[str], bool], seconds: float = 20.0) -> str:
        """Wait until the screen shows a text, or is as a function says; the screen."""
        is_so = shows if callable(shows) else lambda screen: shows in screen
        end = time.monotonic() + seconds
        while not is_so(screen := self.screen()):
            assert time.monotonic() < end, f"waited {seconds:.0f} s in vain for {shows}:\n{screen}"
            time.sleep(0.05)
        return screen

    def close(self) -> None:
        subprocess.run(["tmux", "-L", self._socket, "kill-server"], capture_output=True, check=False)

    def _tmux(self, *arguments: str) -> str:
        ran = subprocess.run(["tmux", "-L", self._socket, *arguments], capture_output=True, text=True, check=False)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout
