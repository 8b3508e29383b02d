"""`agentmon up` and `down`: have broker, topics and job, starting only what is missing; and stop them again."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from agentmon.errors import StackError
from agentmon.live.client import Connection
from agentmon.live.topics import ensure, wanted_topics
from agentmon.settings import Settings, project_root
from agentmon.stack import home
from agentmon.stack.addresses import parse_bootstrap
from agentmon.stack.broker import Broker
from agentmon.stack.choice import Choice, Kind, carry_out, choose
from agentmon.stack.job import JobProcess

#: Takes what is to be told, a line at a time.
Say = Callable[[str], None]


def up(settings: Settings, say: Say, job_flags: Sequence[str] = ()) -> None:
    """Start what is missing and say what is where. Raises AgentmonError where something can't be started."""
    home.check_space(settings)
    with home.locked(settings):
        choice = choose(settings)
        job = JobProcess(settings)
        _check_same_kafka(job, choice)
        # The broker first, and alone: publishers wait for it, and two JVMs that start at once take twice as long each.
        _say_broker(settings, choice, carry_out(settings, choice), say)
        with _job_beside(job, choice, say, job_flags):
            _have_topics(settings, say)


def down(settings: Settings, say: Say) -> None:
    """Stop the job, which first commits its batch, and then the broker; a Kafka of the user's is left alone."""
    if not settings.run.exists():
        say(f"nothing runs for {settings.home}")
        return
    with home.locked(settings):
        say("job: stopped" if JobProcess(settings).stop() else "job: was not running")
        broker = Broker(settings)
        external = broker.bootstrap() if not broker.is_embedded() else None
        stopped = broker.stop()
        if external:
            say(f"kafka: {external} is yours and left alone")
        else:
            say("broker: stopped" if stopped else "broker: was not running")


def is_up(settings: Settings) -> list[str]:
    """What runs for this home, in words; nothing where nothing does."""
    broker, job = Broker(settings), JobProcess(settings)
    running = []
    if broker.process() is not None:
        running.append(f"the broker at {broker.bootstrap()}")
    if job.process() is not None or job.driver() is not None:
        running.append("the job")
    return running


def compose(*arguments: str) -> None:
    """Run docker compose with the project's file. Raises StackError where there is no Docker or it refuses."""
    docker = ("docker", "compose")
    command = [*docker, "-f", str(project_root() / "docker-compose.yml"), *arguments]
    try:
        if subprocess.run([*docker, "version"], capture_output=True, check=False).returncode != 0:
            raise StackError("this docker has no compose: install its compose plugin, or leave out --docker")
        ran = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError as error:
        raise StackError("there is no docker on PATH: install Docker, or leave out --docker") from error
    if ran.returncode != 0:
        reason = (ran.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise StackError(f"docker compose failed ({reason}): see that Docker runs, or leave out --docker")


def _check_same_kafka(job: JobProcess, choice: Choice) -> None:
    told = job.told().get("bootstrap")
    if not told or (job.process() is None and not job.is_foreign()):
        return
    if not _places(str(told)) & _places(choice.bootstrap):
        raise StackError(f"the job reads from {told}, not from {choice.bootstrap}: run agentmon down first")


def _places(bootstrap: str) -> set[tuple[str, int]]:
    return {(address.local_ip() or address.host, address.port) for address in parse_bootstrap(bootstrap)}


def _say_broker(settings: Settings, choice: Choice, started: bool, say: Say) -> None:
    if choice.kind is Kind.EXTERNAL:
        say(f"kafka: {choice.bootstrap} (KAFKA_BOOTSTRAP_SERVERS)")
    else:
        how = "started" if started else "up"
        say(f"broker: {how} at {choice.bootstrap}, log {settings.logs / 'broker.log'}")


def _have_topics(settings: Settings, say: Say) -> None:
    with Connection(settings) as connection:
        reports = ensure(connection, wanted_topics())
    created = [report.spec.name for report in reports if report.created]
    if created:
        say(f"topics: created {', '.join(created)}")
    for report in reports:
        if report.drift:
            say(f"topics: {report.spec.name} differs from conf/topics.json: {'; '.join(report.drift)}")


@contextmanager
def _job_beside(job: JobProcess, choice: Choice, say: Say, flags: Sequence[str]) -> Iterator[None]:
    """Have the job; topics are made while its JVM starts, which takes longest."""
    if job.end_remains():
        say("job: ended what a killed job had left behind")
    if job.is_foreign():
        yield
        say("job: up, started by hand")
        return
    running = job.process()
    process = running or job.start(choice.bootstrap, flags)
    try:
        yield
    except BaseException:
        if running is None:
            job.stop()
        raise
    job.wait_ready(process)
    say(f"job: {'up' if running else 'started'}, log {job.log}")
