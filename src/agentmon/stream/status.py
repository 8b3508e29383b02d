"""AGENTMON_HOME/run/job.json: what `agentmon up`, `down` and `doctor` know of the running job."""

from __future__ import annotations

import json
import os
import time
from typing import Any

from agentmon.settings import Settings


class JobStatus:
    """One small file, replaced as a whole.

    `queries`, while it runs: name → the folder of its checkpoint.
    states: starting, running, waiting (for Kafka or room on the disk; `error` says which), stopping, stopped, failed.
    """

    def __init__(self, settings: Settings) -> None:
        self._path = settings.run / "job.json"
        self._facts: dict[str, Any] = {
            "driver_pid": os.getpid(),
            "jvm_pid": os.getppid(),
            "bootstrap": settings.bootstrap,
            "lake": settings.lake,
            "started_at": time.time(),
        }

    def write(self, state: str, error: str | None = None, **facts: Any) -> None:
        """Say what the job is doing now."""
        self._facts.update(facts, state=state, error=error, at=time.time())
        self._path.parent.mkdir(parents=True, exist_ok=True)
        fresh = self._path.with_suffix(".new")
        fresh.write_text(json.dumps(self._facts))
        fresh.replace(self._path)
