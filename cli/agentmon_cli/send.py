"""publish, feedback, selftest, bridge and serve: the ways in from a shell."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Form = Annotated[str, typer.Option("--format", help="table, json or csv.")]
AsJson = Annotated[bool, typer.Option("--json", help="Short for --format json.")]

#: What the help of each command ends with.
_EXAMPLES = {
    "publish": """agentmon publish thoughts '{"agent_id": "planner", "thought": "hm"}'; agentmon publish actions < a.jsonl""",
    "feedback": "agentmon feedback run-7 --reward 1 --note 'found it at once'",
    "selftest": "agentmon selftest; agentmon selftest --timeout 120 --json",
    "bridge": "agentmon bridge ~/project; agentmon bridge ~/project --once",
    "serve": "agentmon serve; agentmon serve --port 8090",
}


def register(app: typer.Typer) -> None:
    """Add the commands that publish."""
    for command in (publish, feedback, selftest, bridge, serve):
        app.command(epilog=f"Examples: {_EXAMPLES[command.__name__]}")(command)


def publish(
    kind: Annotated[str, typer.Argument(help="actions, thoughts, learning, metrics, or a topic agent.NAME.")],
    messages: Annotated[list[str] | None, typer.Argument(help="JSON objects; none: JSON lines from stdin.")] = None,
    agent: Annotated[str | None, typer.Option(help="Agent of messages that name none.")] = None,
    session: Annotated[str | None, typer.Option(help="Session of messages that name none.")] = None,
) -> None:
    """Publish JSON lines from stdin, or the given objects; exit 1 if any line is bad."""
    from agentmon.errors import Exit, UsageError
    from agentmon.publish.shell import home_publisher, publish_lines, topic_of
    from agentmon.settings import Settings

    settings, topic = Settings.from_env(), topic_of(kind)
    if not messages and sys.stdin.isatty():
        raise UsageError("nothing to publish: give a JSON object, or JSON lines on stdin")
    with home_publisher(settings, agent, session or settings.session_id) as publisher:
        told = publish_lines(publisher, topic, messages or sys.stdin.buffer)
    for line in told.bad:
        _note(f"agentmon: {line}")
    _note(f"{told.sent} messages to {topic}, all acknowledged by Kafka")
    if told.bad:
        raise typer.Exit(int(Exit.FAILED))


def feedback(
    session: Annotated[str, typer.Argument(help="The run, as agentmon sessions shows it.")],
    reward: Annotated[str, typer.Option(help="How good it was: 1 or true good, 0 or false bad, or your own scale.")],
    note: Annotated[str | None, typer.Option(help="Why.")] = None,
    agent: Annotated[str | None, typer.Option(help="Whose run, where agents share the session's id.")] = None,
    by: Annotated[str | None, typer.Option(help="Who says so; you, if left out.")] = None,
) -> None:
    """Give a run a person's reward, which ends it."""
    import getpass

    from agentmon.errors import UsageError
    from agentmon.publish.shell import give_feedback, given_reward, home_publisher
    from agentmon.settings import Settings

    score = given_reward(reward)
    if score is None:
        raise UsageError(
            f"--reward {reward} can't be used: it takes a number, true or false, or an object with a score"
        )
    settings = Settings.from_env()
    agent_id, session_id, at = _whose(settings, session, agent)
    with home_publisher(settings, agent_id, session_id) as publisher:
        give_feedback(publisher, score, by=by or getpass.getuser(), note=note, at=at)
    _note(f"reward {score:g} for {session} of {agent_id}: acknowledged by Kafka")


def selftest(
    timeout: Annotated[float, typer.Option(help="Seconds to wait for each hop, more than 0.")] = 60.0,
    form: Form = "table",
    as_json: AsJson = False,
) -> None:
    """Publish one of each kind and follow it to its live message and its row; exit 1 names where it got stuck."""
    from agentmon.errors import UsageError
    from agentmon.settings import Settings
    from agentmon_cli.render import FORMATS, write
    from agentmon_cli.selftest import COLUMNS, follow

    if form not in FORMATS:
        raise UsageError(f"--format {form} can't be used: it takes table, json or csv")
    if not 0 < timeout < float("inf"):
        raise UsageError(f"--timeout {timeout:g} can't be used: it takes a number of seconds > 0")
    paths = follow(Settings.from_env(), timeout)
    write("json" if as_json else form, COLUMNS, ([getattr(path, name) for name in COLUMNS] for path in paths))
    stuck = [path.stuck() for path in paths]
    for line in filter(None, stuck):
        _note(f"agentmon: {line}")
    if any(stuck):
        raise typer.Exit(1)
    _note("all arrived")


def bridge(
    folder: Annotated[Path, typer.Argument(help="The agent's project, with .dspy_rl_events.jsonl.")] = Path(),
    agent: Annotated[str | None, typer.Option(help="Who these files are of, if not the folder's name.")] = None,
    session: Annotated[str | None, typer.Option(help="Session of lines that name none.")] = None,
    once: Annotated[bool, typer.Option("--once", help="To the end of the files, not further.")] = False,
) -> None:
    """Follow an agent's learning files into Kafka, each line once, until Ctrl-C."""
    import signal
    import threading

    from agentmon.publish.bridge import Bridge
    from agentmon.settings import Settings

    settings = Settings.from_env()
    own = Bridge(folder.expanduser().absolute(), settings, agent_id=agent, session_id=session, say=_note)
    _note(f"bridge: {folder.absolute()} to Kafka at {settings.bootstrap} as {own.publisher.agent_id}")
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stopping.set())
    try:
        if once:
            own.once(30.0)
        else:
            own.run(stopping.is_set)
    finally:
        done = own.close()
    mark = own.bookmark
    bad = f", {mark.bad} bad lines set aside in {own.aside}" if mark.bad else ""
    _note(f"bridge: {mark.lines} lines so far{bad}")
    if not done:
        raise typer.Exit(1)


def serve(
    host: Annotated[str, typer.Option(help="Where to listen; only this machine reaches 127.0.0.1.")] = "127.0.0.1",
    port: Annotated[int | None, typer.Option(min=1, max=65_535, help="FRONTEND_API_PORT, if left out.")] = None,
) -> None:
    """The gateway: takes OpenTelemetry (OTLP/HTTP) at /v1/traces and /v1/logs, until Ctrl-C."""
    from contextlib import ExitStack, suppress

    import uvicorn

    from agentmon.gateway.app import create_app
    from agentmon.live.client import client_config
    from agentmon.settings import Settings

    settings = Settings.from_env()
    place = port or settings.frontend_api_port
    client_config(settings)  # what can never reach Kafka is said now, not to each sender
    config = uvicorn.Config(create_app(settings), log_level=settings.log_level.lower(), access_log=False)
    with ExitStack() as held, suppress(KeyboardInterrupt):
        listening = [held.enter_context(one) for one in _listen(host, place)]
        _note(f"gateway: http://{host}:{place}, to Kafka at {settings.bootstrap}")
        uvicorn.Server(config).run(sockets=listening)


def _listen(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host. Raises AgentmonError where that can't be."""
    from agentmon.errors import AgentmonError

    try:
        places = {(family, place[0]) for family, *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
        return [socket.create_server((address, port), family=family) for family, address in sorted(places)]
    except OSError as error:
        reason = str(error.strerror).partition(" (")[0]  # Python adds the address
        raise AgentmonError(f"can't listen at {host}:{port} ({reason}): try another --port or --host") from error


def _whose(settings: Any, session: str, agent: str | None) -> tuple[str, str | None, float | None]:
    """(agent, session_id, time) for feedback; time only for a session without an id: it is found by its time."""
    from agentmon.errors import NoLakeError, UsageError
    from agentmon.lake.run import one_of
    from agentmon.lake.selection import Selection
    from agentmon.lake.sessions import read_sessions

    try:
        found = read_sessions(settings.lake, Selection(agent=agent, session=session)).dicts()
    except NoLakeError:
        found = []
    if found:
        one = one_of(found)
        if one["nameless"]:
            return one["agent_id"], None, one["last_event_time"].timestamp()
        return one["agent_id"], session, None
    if agent is None:
        raise UsageError(f"there is no session {session} in the lake yet: see agentmon sessions, or say --agent too")
    return agent, session, None


def _note(line: str) -> None:
    from agentmon_cli.render import note

    note(line)
