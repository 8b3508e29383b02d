"""What `agentmon doctor` looks at. Each check says what it found, why it matters, and the command that mends it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING, Any

from agentmon.errors import AgentmonError, JavaError, KafkaUnreachable, NoLakeError, first_line, interrupted
from agentmon.settings import Settings, config_file

if TYPE_CHECKING:
    from agentmon.live.client import Connection

OK, WARNING, BROKEN = "ok", "warning", "broken"

#: A day of one table in more files than these makes its readers slow.
MANY_FILES = 500
#: A log with more commits than these since its checkpoint misses some: one is due every 50.
MANY_COMMITS = 200
#: Clocks that differ by less are as good as the network lets them be, seconds.
SKEW_S = 5.0
#: A micro-batch of the job takes a second or two, seconds.
STUCK_S = 120.0
_LITTLE_SPACE = 2 * 2**30
_OWN_PREFIXES = ("AGENTMON_", "AGENT_", "KAFKA_", "FRONTEND_")


@dataclass(frozen=True)
class Finding:
    level: str
    what: str
    why: str = ""
    mend: str = ""


Check = Callable[[Settings], Iterator[Finding]]


def made(check: Check, settings: Settings) -> Iterator[Finding]:
    """What a check finds. That it can't be made is a finding too: the others say what they can."""
    try:
        yield from check(settings)
    except Exception as error:  # whatever it is, the other checks matter
        if interrupted(error):
            raise
        why = "this can't be checked; what is broken here may be what the other checks find"
        yield Finding(
            BROKEN, f"{check.__name__}: {first_line(error)}", why, "mend what the line names; agentmon doctor"
        )


def java(_: Settings) -> Iterator[Finding]:
    """Spark and Kafka run on it."""
    from agentmon.stack.java import find_java

    try:
        yield Finding(OK, f"Java: {find_java()}")
    except JavaError as error:
        yield Finding(BROKEN, str(error), "Spark and the embedded Kafka run on it", "install a JRE, e.g. openjdk-17")


def packages(_: Settings) -> Iterator[Finding]:
    """Versions that were tried together, and the jars that belong to them."""
    from packaging.requirements import Requirement

    from agentmon.stack.classes import KAFKA, SPARK, archive
    from agentmon.stack.jars import kafka_jars, spark_jars

    wrong = []
    for requirement in map(Requirement, requires("agentmon-stream") or ()):
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = str(requirement.specifier).removeprefix("==")
        try:
            has = version(requirement.name)
        except PackageNotFoundError:
            has = "missing"
        if has != wanted:
            wrong.append(f"{requirement.name} is {has}, not {wanted}")
    if wrong:
        yield Finding(BROKEN, "; ".join(wrong), "only these versions were tried together", "make setup")
    else:
        yield Finding(OK, "packages: the versions that were tried together")
    for jars in (spark_jars(), kafka_jars()):
        if jars.is_complete():
            yield Finding(OK, f"jars of {jars.name}: there")
        else:
            yield Finding(BROKEN, f"jars of {jars.name} are missing", "the job or the broker can't start", "make setup")
    for name in (KAFKA, SPARK):
        if not archive(name).exists():
            what, why = f"classes of {name} are not kept", "each start takes half as long again"
            yield Finding(WARNING, what, why, f"{sys.executable} -m agentmon_cli.classes")


def environment(_: Settings) -> Iterator[Finding]:
    """Variables that are set and mean nothing, and a foreign Spark."""
    known = {spec.metadata["env"] for spec in fields(Settings)}
    for name in sorted(os.environ):
        if name.startswith(_OWN_PREFIXES) and name not in known:
            near = get_close_matches(name, known, n=1)
            meant = f"unset {name}" + (f", or did you mean {near[0]}?" if near else "")
            yield Finding(WARNING, f"{name} is set but unknown", "it has no effect", meant)
    for name in ("SPARK_HOME", "SPARK_CONF_DIR"):
        if os.environ.get(name):
            why = "a bare spark-submit takes that Spark; agentmon up and spark-submit.sh use their own"
            yield Finding(WARNING, f"{name}={os.environ[name]} is set", why, f"unset {name}")
    there = config_file().exists()
    yield Finding(OK, f"settings: read, {config_file().name} {'too' if there else 'is not there'}")


def kafka(settings: Settings) -> Iterator[Finding]:
    """The broker, and topics against conf/topics.json."""
    from agentmon.live.client import Connection
    from agentmon.live.topics import differences, wanted_topics

    try:
        with Connection(settings, timeout_s=5.0) as connection:
            missing, drifted = differences(connection, wanted_topics())
            newest = _newest_times(connection)
    except KafkaUnreachable as error:
        yield Finding(BROKEN, str(error), "nothing can be published or seen live", "agentmon up")
        return
    yield Finding(OK, f"Kafka: answers at {settings.bootstrap}")
    yield from message_clocks(newest)
    if missing:
        yield Finding(BROKEN, f"topics missing: {', '.join(missing)}", "what is sent there is lost", "agentmon topics")
    for name, how in drifted.items():
        yield Finding(WARNING, f"topic {name}: {'; '.join(how)}", "it differs from conf/topics.json", "kafka-configs")
    if not missing and not drifted:
        yield Finding(OK, "topics: all there, as conf/topics.json has them")


def _newest_times(connection: Connection) -> dict[str, float]:
    from agentmon.live.lag import read_partitions
    from agentmon.live.offsets import newest_times

    newest: dict[str, float] = {}
    try:
        times = newest_times(connection, read_partitions(connection))
    except KafkaUnreachable:  # it answers, but Kafka before 3.0 does not know
        return newest
    for (topic, _), at in times.items():
        newest[topic] = max(at, newest.get(topic, at))
    return newest


def message_clocks(newest: Mapping[str, float]) -> Iterator[Finding]:
    """What Kafka has already was not sent in the future. A clock that is behind can't be told from an old message."""
    for topic, at in sorted(newest.items()):
        if (ahead := at - time.time()) > SKEW_S:
            yield _ahead(f"{topic}: Kafka has a message dated {ahead:,.0f} s ahead of this machine's clock")
    if newest and not any(at - time.time() > SKEW_S for at in newest.values()):
        yield Finding(OK, "clocks: no message in Kafka is dated ahead of this machine's")


def _ahead(what: str) -> Finding:
    why = "this clock or the other one is wrong; ages, lag and alerts by time are off by as much"
    return Finding(WARNING, what, why, "timedatectl set-ntp true, on both machines")


def job(settings: Settings) -> Iterator[Finding]:
    """Whether it lives and keeps up."""
    from agentmon.live.lag import is_rising
    from agentmon.stack.home import read_note
    from agentmon.stack.job import JobProcess

    own = JobProcess(settings)
    told = own.told()
    if own.driver() is None:
        reason = f" ({told['error']})" if told.get("error") else ""
        yield Finding(
            BROKEN, f"the job does not run{reason}", "nothing is stored, live figures stand still", "agentmon up"
        )
        return
    if told.get("state") != "running":
        yield Finding(
            WARNING, f"the job is {told.get('state')}: {told.get('error') or ''}", "nothing is stored", str(own.log)
        )
    else:
        yield Finding(OK, "job: running")
    for name, query in read_note(settings.run / "progress.json").get("queries", {}).items():
        lag = query.get("lag_messages") or 0
        if is_rising(list(query.get("lag_history", [])), lag):
            yield Finding(WARNING, f"{name}: lag rises, {lag:,} messages", "it can't keep up", "agentmon lag")


def checkpoint(settings: Settings) -> Iterator[Finding]:
    """Whether the running job's micro-batches end, and what it has read gets stored."""
    from agentmon.lake.files import is_local, local_path
    from agentmon.stack.checkpoint import is_writable, read_checkpoint
    from agentmon.stack.home import read_note
    from agentmon.stack.job import JobProcess

    if not is_local(settings.checkpoints):
        yield Finding(OK, f"checkpoints: {settings.checkpoints}, which is not looked into")
        return
    folder = local_path(settings.checkpoints)
    if not is_writable(folder):
        yield Finding(
            BROKEN, f"checkpoints: {folder} can't be written", "the job can't start a batch", f"ls -ld {folder}"
        )
        return
    own = JobProcess(settings)
    told = own.told()
    if own.driver() is None or told.get("state") != "running":
        yield Finding(OK, "checkpoints: the job goes on from the ledger when it starts")
        return
    for name, its_folder in told.get("queries", {}).items():
        found = read_checkpoint(folder / its_folder)
        if found is None and not (folder / its_folder).exists():
            what = f"checkpoints: {folder / its_folder} is gone while the job runs"
            yield Finding(
                BROKEN, what, "its next batch fails", "agentmon down; agentmon up (it goes on from the ledger)"
            )
        elif found and (found.running_s or 0) > STUCK_S:
            what = f"checkpoints: {name} has been at batch {found.batch_id} for {found.running_s:,.0f} s"
            yield Finding(WARNING, what, "nothing new is read until it ends", f"see the end of {own.log}")
        else:
            yield Finding(OK, f"checkpoints: {name}, {f'at batch {found.batch_id}' if found else 'no batch yet'}")
        progress = read_note(settings.run / "progress.json").get("queries", {})
        yield from _unsealed(settings, name, progress.get(name, {}))


def _unsealed(settings: Settings, name: str, told: Mapping[str, Any]) -> Iterator[Finding]:
    """What the job has read and the ledger lacks, where that has been so for longer than a commit takes."""
    from agentmon.lake.ledger import read_positions

    sealed = {(at.topic, at.partition): at.end_offset for at in read_positions(settings.lake)}
    waiting = sum(
        max(0, offset - sealed.get((topic, int(partition)), offset))
        for topic, partitions in (told.get("position") or {}).items()
        for partition, offset in partitions.items()
    )
    since = time.time() - (told.get("sealed_at") or time.time())
    if waiting and since > STUCK_S:
        what = f"{name}: {waiting:,} messages are read but not stored, the last commit was {since:,.0f} s ago"
        yield Finding(
            BROKEN, what, "history stands still; nothing is lost, Kafka has them", "agentmon down; agentmon up"
        )


def lake(settings: Settings) -> Iterator[Finding]:
    """Whether there is one, how fresh, in how many files, and what producers' clocks did."""
    from agentmon.lake.connection import DamagedError
    from agentmon.lake.health import damaged_files, read_health

    damaged = damaged_files(settings.lake)
    yield from map(_damaged, damaged)
    try:
        health = read_health(settings.lake, datetime.now(UTC) - timedelta(days=1))
    except NoLakeError as error:
        yield Finding(BROKEN, str(error), "there is nothing to read", "agentmon up")
        return
    except DamagedError as error:
        if error.path not in damaged:
            yield _damaged(error.path)
        return
    except AgentmonError as error:
        yield Finding(BROKEN, str(error), "the tables can't be read", "agentmon audit; restore a backup")
        return
    yield Finding(OK, f"lake: {settings.lake}, {len(health.files)} tables")
    for table, (day, count) in sorted(health.files.items()):
        if count > MANY_FILES:
            why = "every reader opens each of them"
            yield Finding(WARNING, f"{table}: {count:,} files on {day}", why, "the nightly job compacts closed days")
    for table, commits in sorted(health.commits.items()):
        if commits > MANY_COMMITS:
            why = "every reader goes through each of them; the job writes a checkpoint every 50"
            what = f"{table}: {commits:,} commits in its log since the last checkpoint"
            yield Finding(WARNING, what, why, "agentmon up, and see the job's log if this stays")
    if health.last_commit and (ahead := health.last_commit.timestamp() - time.time()) > SKEW_S:
        yield _ahead(f"the lake's last commit is dated {ahead:,.0f} s ahead of this machine's clock")
    for agent, count in health.clamped:
        why = "its clock is off: Kafka's time was taken instead"
        yield Finding(
            WARNING, f"{agent}: {count:,} actions of the last day had an absurd time", why, "set its clock (NTP)"
        )
    if health.quarantined:
        why = "they are no JSON objects, or too long"
        yield Finding(WARNING, f"{health.quarantined:,} messages of the last day in quarantine", why,
                      'agentmon sql "SELECT reason, error, kafka_topic FROM quarantine ORDER BY event_time DESC LIMIT 20"')  # fmt: skip


def _damaged(path: str) -> Finding:
    why = "what needs this file can't be read; other files and tables are safe"
    return Finding(BROKEN, f"{path} is damaged or gone", why, "put it back from a backup")


def machine(settings: Settings) -> Iterator[Finding]:
    """Room on the disk, and the gateway's port."""
    from agentmon.stack.home import MINIMUM_FREE_BYTES

    place = next(path for path in (settings.home, *settings.home.parents) if path.exists())
    free = shutil.disk_usage(place).free
    text = f"disk: {free / 2**30:,.1f} GiB free for {settings.home}"
    if free < MINIMUM_FREE_BYTES:
        yield Finding(BROKEN, text, "the job stops writing", "free some space or move AGENTMON_HOME")
    else:
        yield Finding(WARNING if free < _LITTLE_SPACE else OK, text, "the tables grow", "free some space")
    with socket.socket() as probe:
        probe.settimeout(1)
        answers = probe.connect_ex(("127.0.0.1", settings.frontend_api_port)) == 0
    yield Finding(OK, f"port {settings.frontend_api_port}: {'something answers there' if answers else 'free'}")


CHECKS: tuple[Check, ...] = (java, packages, environment, machine, kafka, job, checkpoint, lake)
