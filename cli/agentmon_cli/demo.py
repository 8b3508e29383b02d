"""make demo: the recording through a broker of our own into the lake, and the agents' status from it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from agentmon.errors import Exit, StackError
from agentmon.lake.ledger import read_positions
from agentmon.live.load import Pace, load
from agentmon.live.recording import read
from agentmon.settings import Settings, project_root
from agentmon.stack import up as stack
from agentmon.stack.job import JobProcess

WAIT_SECONDS = 120.0

# The demo plays into nothing that it did not make itself.
_IGNORED = (
    *("KAFKA_BOOTSTRAP_SERVERS", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM"),
    *("AGENTMON_LAKE", "AGENTMON_CHECKPOINTS"),
)
_ROWS = ("actions", "thoughts", "learning", "metrics", "events")
# The same digest as of the recording: over every row's topic, key and payload, in no order of arrival.
_DIGEST = (
    "SELECT count(*) AS messages, (SELECT count(*) FROM quarantine) AS quarantined,"
    " md5(coalesce(string_agg(one, '' ORDER BY one), '')) AS digest FROM ("
    + " UNION ALL ".join(
        f"SELECT md5(kafka_topic || chr(10) || coalesce(kafka_key, '') || chr(10) || payload) AS one FROM {table}"
        for table in _ROWS
    )
    + ")"
)


def recording() -> Path:
    """The recording that comes with the project."""
    return project_root() / "data" / "tau-airline-events.jsonl.gz"


def play(say: stack.Say) -> None:
    """Play the recording into a fresh home; leave any other alone. Raises StackError where it can't."""
    for name in _IGNORED:
        if os.environ.pop(name, None):
            say(f"{name} is ignored: the demo uses a broker and a lake of its own")
    settings = Settings.from_env()
    running = stack.is_up(settings)
    if running:
        raise StackError(
            f"{' and '.join(running)} already up for {settings.home}: run agentmon down first,"
            " or set AGENTMON_HOME to another folder for the demo"
        )
    if is_fresh(settings.home):
        _play_into(settings, say)
    elif Path(settings.lake).exists() and _holds_just_the_recording():
        say(f"{settings.home} holds just the recording already; it is not played again")
        _show_status()
    else:
        raise StackError(
            f"{settings.home} holds other data and is left alone: set AGENTMON_HOME to another folder for the demo"
        )


def is_fresh(home: Path) -> bool:
    """Whether nothing lies there but the logs and notes of an earlier start."""
    return not home.exists() or all(entry.name in ("run", "logs") for entry in home.iterdir())


def digest_of(path: Path) -> tuple[int, str]:
    """How many messages a recording has, and one digest over all of them, whatever their order."""
    ones = sorted(
        hashlib.md5(f"{r.topic}\n{r.key or ''}\n".encode() + r.payload(), usedforsecurity=False).hexdigest()
        for r in read(path)
    )
    return len(ones), hashlib.md5("".join(ones).encode(), usedforsecurity=False).hexdigest()


def _play_into(settings: Settings, say: stack.Say) -> None:
    stays = sys.stdin.isatty() and sys.stdout.isatty()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        stack.up(settings, say)
        sent = load(settings, recording(), Pace())
        say(f"recording: {sent} messages sent")
        _wait_for(settings, sent)
        if not _holds_just_the_recording():
            raise StackError(f"the lake in {settings.home} differs from the recording: see agentmon audit and its logs")
        say(f"lake: all {sent} messages are in {settings.lake}")
        _show_status()
    except BaseException:
        stack.down(settings, lambda _: None)
        raise
    if stays:
        say("It stays up. Look around with .venv/bin/agentmon --help; .venv/bin/agentmon down stops it.")
    else:
        stack.down(settings, say)


def _wait_for(settings: Settings, messages: int) -> None:
    job = JobProcess(settings)
    end = time.monotonic() + WAIT_SECONDS
    while (found := _events(settings)) < messages:
        if job.process() is None:
            raise StackError(f"the job ended before all was in the lake: {job.told().get('error') or job.log}")
        if time.monotonic() > end:
            raise StackError(
                f"only {found} of {messages} messages in the lake after {WAIT_SECONDS:.0f} s: see {job.log}"
            )
        time.sleep(0.5)


def _events(settings: Settings) -> int:
    # In this process: a command of its own for each look would take from the job what it waits for.
    return sum(position.end_offset for position in read_positions(settings.lake))


def _holds_just_the_recording() -> bool:
    rows = _ask("sql", _DIGEST, "--json")
    messages, digest = digest_of(recording())
    return bool(rows == [{"messages": messages, "quarantined": 0, "digest": digest}])


def _ask(*arguments: str) -> Any:
    """What a reading command says as JSON; None where there is no lake yet."""
    ran = subprocess.run([*_agentmon(), *arguments], capture_output=True, text=True, check=False)
    if ran.returncode == Exit.NO_LAKE:
        return None
    if ran.returncode != Exit.FINE:
        reason = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StackError(reason.removeprefix("agentmon: "))
    return json.loads(ran.stdout)


def _show_status() -> None:
    sys.stdout.flush()
    subprocess.run([*_agentmon(), "status"], check=True)


def _agentmon() -> list[str]:
    # Not `python -c`: DuckDB takes that for an interactive session and draws its progress bar into the JSON.
    return [str(Path(sys.executable).with_name("agentmon"))]
