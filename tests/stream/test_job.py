"""One lake's life: what its job does when Kafka loses things, when others write, when it is cut off. In this order."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest
from deltalake import DeltaTable
from kafka import KafkaProducer
from tests.lake.rows import sealed
from tests.stream.life import Life, figures, wait, wait_ended

from agentmon.contracts.topics import FRONTEND
from agentmon.errors import IncarnationError, LakeBusyError, OffsetsLostError
from agentmon.lake.ledger import has_batch
from agentmon.live.client import client_config
from agentmon.live.offsets import committed
from agentmon.live.topics import describe
from agentmon.settings import Settings
from agentmon.stack.addresses import LOOPBACK
from agentmon.stack.broker import Broker
from agentmon.stream.query import NAME
from agentmon.stream.resume import ACCEPT_LOSS, ACCEPT_NEW_TOPICS, unsealed_batch

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

Audit = Callable[[], tuple[int, dict[str, list[dict[str, Any]]]]]


#: Takes a lock, says so, and keeps it until its standard input ends.
_HOLD = "import fcntl, sys; f = open(sys.argv[1], 'a'); fcntl.lockf(f, fcntl.LOCK_EX | fcntl.LOCK_NB); print(flush=True); sys.stdin.read()"


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """A lock as another process has it. Raises BlockingIOError where somebody else does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(path)], **pipes) as holder:
        assert holder.stdout is not None
        if not holder.stdout.readline():
            raise BlockingIOError(f"{path} is locked")
        yield
        holder.communicate()


@pytest.mark.parametrize("folder", ["lake", "checkpoints"])
def test_another_process_on_the_lake_or_the_checkpoints_keeps_the_job_out(life: Life, folder: str) -> None:
    place = life.settings.home / folder
    with locked(place / ".writer.lock"):
        (place / ".writer.json").write_text(json.dumps({"pid": 4711, "host": "laptop", "since": "noon"}))
        with pytest.raises(LakeBusyError) as told, life.job() as running:
            wait_ended(running)
    assert f"{place} is being written by the job with pid 4711 on laptop since noon" in str(told.value)
    assert told.value.exit_code == 1
    assert not (life.settings.run / "job.json").exists(), "the word of the one that runs is left alone"


def send_transactions(life: Life, topic: str) -> None:
    """Two transactions of two messages, each with a marker after them."""
    producer = KafkaProducer(**client_config(life.settings), transactional_id="t")
    producer.init_transactions()
    for _ in range(2):
        producer.begin_transaction()
        for text in (b"{}", b"{}"):
            producer.send(topic, text)
        producer.commit_transaction()
    producer.close()


def test_topics_that_come_later_are_read_without_a_restart(life: Life, audit: Audit) -> None:
    """And the markers of transactions are no holes in them."""
    life.make_topic("agent.actions")
    life.send("agent.actions", 5, tool="grep", reward=1)
    with life.job() as running:
        life.wait_sealed("agent.actions", 5, running)
        life.make_topic("agent.later", partitions=2)
        life.make_topic("agent.transactions")
        life.send("agent.later", 3, type="x")
        send_transactions(life, "agent.transactions")
        life.wait_sealed("agent.later", 3, running)
        life.wait_sealed("agent.transactions", 6, running)
    assert len(list(Path(life.settings.checkpoints).glob(f"{NAME}-*"))) == 1, (
        "each start has a checkpoint of its own, the last stays"
    )
    noted = committed(life.connection, "agentmon")
    assert (noted["agent.actions", 0], noted["agent.transactions", 0]) == (5, 6), "Kafka's own tools show the lag"
    assert life.rows("SELECT count(*) FROM events WHERE kafka_topic = 'agent.later'") == [(3,)]
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.actions"], "stored", "holes", "repeats", "pending") == [(5, 0, 0, 0)]
    assert figures(rows["agent.transactions"], "in_kafka", "stored", "no_record", "holes") == [(6, 4, 2, 0)]


def workers() -> list[psutil.Process]:
    """Spark's Python workers: children of its daemon, which is a child of the JVM."""
    below = psutil.Process().children(recursive=True)
    return [p for p in below if "pyspark.daemon" in " ".join(p.parent().cmdline() if p.parent() else [])]


def is_busy(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_RUNNING and "pyspark.daemon" in process.cmdline()
    except psutil.NoSuchProcess:
        return False


def test_a_worker_that_is_killed_costs_a_retry_and_nothing_else(
    life: Life, audit: Audit, caplog: pytest.LogCaptureFixture, spark: SparkSession
) -> None:
    life.make_topic("agent.killed")
    killed = 0
    sent = 0
    with life.job() as running:
        while not failed_tasks(spark):  # until a kill has hit a task: a worker between two tasks is just replaced
            life.send("agent.killed", 20_000, type="x")
            sent += 20_000
            while life.sealed("agent.killed") < sent and not failed_tasks(spark):
                for worker in filter(is_busy, workers()):
                    worker.kill()
                    killed += 1
                    break
        life.wait_sealed("agent.killed", sent, running)
    assert killed
    assert not [text for text in caplog.messages if "started again" in text]
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.killed"], "stored", "holes", "repeats", "pending") == [(sent, 0, 0, 0)]
    assert life.rows("SELECT sum(other) FROM summaries WHERE agent_id = 'a'")[0][0] >= sent


def failed_tasks(spark: SparkSession) -> int:
    """Of the running query's stages, as far as Spark remembers them."""
    tracker = spark.sparkContext.statusTracker()
    jobs = [job for query in spark.streams.active for job in tracker.getJobIdsForGroup(str(query.runId))]
    stages = [stage for job in jobs if (info := tracker.getJobInfo(job)) for stage in info.stageIds]
    return sum(info.numFailedTasks for stage in stages if (info := tracker.getStageInfo(stage)))


def test_markers_alone_are_no_messages_and_no_loss(life: Life, audit: Audit) -> None:
    """An aborted transaction ends a partition; retention drops it all: lag is 0, and nothing is asked of the user."""
    life.make_topic("agent.aborted")
    producer = KafkaProducer(**client_config(life.settings), transactional_id="aborted")
    producer.init_transactions()
    life.send("agent.aborted", 2, type="x")
    with life.job() as running:
        life.wait_sealed("agent.aborted", 2, running)
        producer.begin_transaction()
        for _ in range(3):
            producer.send("agent.aborted", b'{"type": "never said"}').get(10)
        producer.abort_transaction()
        producer.close()
        life.wait_sealed("agent.aborted", 6, running)
        wait(lambda: position(life, "agent.aborted") == 6, "the job's own position")
    assert life.rows("SELECT count(*) FROM events WHERE kafka_topic = 'agent.aborted'") == [(2,)]
    life.drop_records("agent.aborted", before=6)
    with life.job() as running:
        life.send("agent.aborted", 1, type="x")
        life.wait_sealed("agent.aborted", 7, running)
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.aborted"], "stored", "lost", "holes", "pending") == [(3, 0, 0, 0)]


def position(life: Life, topic: str) -> int:
    """The next offset of a topic's one partition, as the job reports it."""
    report = json.loads((life.settings.run / "progress.json").read_text())["queries"][NAME]
    return int(report.get("position", {}).get(topic, {}).get("0", 0))


def test_every_write_is_under_the_lock_that_other_processes_take(life: Life) -> None:
    """Two processes must never commit at once: on a local file system the later rename wins (stream/locks.py)."""
    path = Path(life.settings.lake) / ".commit.lock"
    free: dict[str, bool] = {}

    def try_lock(table: str) -> None:
        try:
            with locked(path):
                free[table] = True
        except OSError:
            free[table] = False

    with life.job(before_write=try_lock) as running:
        with locked(path):  # as the nightly job holds it
            life.send("agent.actions", 1, tool="grep")
            wait(lambda: somebody_waits_for(path), "the batch to ask for the lock")
            assert free == {}
        life.wait_sealed("agent.actions", 6, running)
    assert free == dict.fromkeys(("actions", "summaries", "sessions", "ledger"), False)


def somebody_waits_for(lock: Path) -> bool:
    """Whether the kernel has a process waiting for a lock on this file."""
    inode = f":{lock.stat().st_ino} "
    return any("->" in line and inode in line for line in Path("/proc/locks").read_text().splitlines())


def cut_off_before(life: Life, table: str) -> None:
    """A job that never gets any further than this table, and is then ended."""
    reached = []

    def die(at: str) -> None:
        if at == table:
            reached.append(at)
            raise RuntimeError(f"killed before {table}")

    with life.job(before_write=die):
        wait(lambda: bool(reached), f"a batch to reach {table}")


def is_half_done(lake: str) -> bool:
    return unsealed_batch(lake, lambda query, batch: has_batch(lake, query, batch)) is not None


def test_a_half_done_batch_is_finished_without_a_checkpoint_and_beside_archived_rows(life: Life, audit: Audit) -> None:
    """What was archived or purged since is not read again, what was stored is not stored twice."""
    life.make_topic("agent.thoughts")
    life.send("agent.thoughts", 4, thought="hm")
    life.send("agent.actions", 4, tool="sed")
    cut_off_before(life, "thoughts")
    lake = life.settings.lake
    assert is_half_done(lake)
    DeltaTable(f"{lake}/actions").delete("kafka_offset < 3")
    topic_id = describe(life.connection).topics["agent.actions"].topic_id
    taken = {"kafka_topic_id": topic_id, "query_id": "nightly"}
    life.enter(sealed(0, end=2, kind="archived", **taken), sealed(1, start_offset=2, end=3, kind="purged", **taken))
    shutil.rmtree(life.settings.checkpoints)
    with life.job() as running:
        life.wait_sealed("agent.thoughts", 4, running)
        life.wait_sealed("agent.actions", 10, running)
    assert not is_half_done(lake)
    code, rows = audit()
    assert code == 0
    names = ("stored", "archived", "purged", "holes", "repeats", "pending")
    assert figures(rows["agent.actions"], *names) == [(7, 2, 1, 0, 0, 0)]
    assert figures(rows["agent.thoughts"], *names) == [(4, 0, 0, 0, 0, 0)]
    assert life.rows("SELECT sum(actions), sum(thoughts) FROM summaries") == [(10, 4)]


def test_offsets_that_kafka_dropped_unread_stop_the_job_until_accepted(life: Life, audit: Audit) -> None:
    life.send("agent.actions", 10, tool="grep")
    life.drop_records("agent.actions", before=16)
    with pytest.raises(OffsetsLostError) as told, life.job() as running:
        wait_ended(running)
    assert "agent.actions[0] 10..15 (6 offsets)" in str(told.value)
    assert ACCEPT_LOSS in str(told.value)
    assert told.value.exit_code == 1
    with life.job(accept_loss=True) as running:
        life.wait_sealed("agent.actions", 14, running)
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.actions"], "stored", "lost", "holes", "repeats") == [(11, 6, 0, 0)]


def test_a_half_done_batch_that_kafka_has_dropped_in_part(life: Life, audit: Audit) -> None:
    life.send("agent.thoughts", 10, thought="hm")
    cut_off_before(life, "summaries")  # without a flag: the loss before is on record
    assert is_half_done(life.settings.lake)
    life.drop_records("agent.thoughts", before=9)
    with pytest.raises(OffsetsLostError, match=r"agent.thoughts\[0\] 4..8 \(5 offsets\)"), life.job() as running:
        wait_ended(running)
    with life.job(accept_loss=True) as running:
        life.wait_sealed("agent.thoughts", 9, running)
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.thoughts"], "stored", "lost", "holes", "repeats", "pending") == [(14, 0, 0, 0, 0)]
    assert life.rows("SELECT sum(thoughts) FROM summaries") == [(14,)], "what the table had got is in figures too"


def test_of_a_half_done_batch_that_kafka_has_dropped_only_what_no_table_has_is_lost(life: Life, audit: Audit) -> None:
    life.make_topic("agent.mixed")
    producer = KafkaProducer(**client_config(life.settings))
    for value in (b'{"type": "x"}', b"no JSON") * 3:
        producer.send("agent.mixed", value, b"mixed")
    producer.close()
    cut_off_before(life, "quarantine")
    assert is_half_done(life.settings.lake)
    life.drop_records("agent.mixed", before=6)
    with life.job(accept_loss=True) as running:
        life.wait_sealed("agent.mixed", 6, running)
    assert not is_half_done(life.settings.lake)
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.mixed"], "stored", "quarantined", "lost", "holes", "repeats") == [(3, 0, 3, 0, 0)]
    assert life.rows("SELECT sum(other), sum(quarantined) FROM summaries WHERE agent_id = 'mixed'") == [(3, 0)]


def test_of_a_half_done_batch_that_has_its_figures_nothing_is_lost(life: Life, audit: Audit) -> None:
    life.make_topic("agent.counted")
    life.send("agent.counted", 5, type="x", agent_id="counted")
    cut_off_before(life, "ledger")
    assert is_half_done(life.settings.lake)
    life.drop_records("agent.counted", before=5)
    with life.job(accept_loss=True) as running:
        life.wait_sealed("agent.counted", 5, running)
    assert not is_half_done(life.settings.lake)
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.counted"], "stored", "lost", "holes", "repeats") == [(5, 0, 0, 0)]
    assert life.rows("SELECT sum(other) FROM summaries WHERE agent_id = 'counted'") == [(5,)]


def test_what_is_lost_whole_is_on_record_and_in_no_figure(life: Life, audit: Audit) -> None:
    life.make_topic("agent.gone")
    life.send("agent.thoughts", 2, thought="kept", agent_id="kept")
    life.send("agent.gone", 5, type="x", agent_id="gone")
    cut_off_before(life, "events")
    life.drop_records("agent.gone", before=5)
    with life.job(accept_loss=True) as running:
        life.wait_sealed("agent.thoughts", 16, running)
    code, rows = audit()
    assert code == 0
    assert figures(rows["agent.gone"], "stored", "lost", "holes") == [(0, 5, 0)]
    counted = "SELECT agent_id, sum(thoughts), sum(other) FROM summaries WHERE agent_id IN ('kept', 'gone') GROUP BY 1"
    assert life.rows(counted) == [("kept", 2, 0)]


def test_a_topic_made_anew_while_the_job_runs_stops_it_until_accepted(life: Life, audit: Audit) -> None:
    """However long it was away: the job has gone on without it by then."""
    checkpoints = Path(life.settings.checkpoints)
    job = life.settings.run / "job.json"

    def rounds() -> list[str]:
        return sorted(folder.name for folder in checkpoints.glob(f"{NAME}-*"))

    before_it = rounds()

    def remade(running: threading.Thread) -> None:
        wait(lambda: rounds() != before_it, "the job to begin")
        wait(lambda: json.loads(job.read_text())["state"] == "running", "the job to read")
        before = rounds()
        life.delete_topic("agent.later")
        wait(lambda: rounds() != before, "the job to go on without the topic")
        life.make_topic("agent.later", partitions=2)
        life.send("agent.later", 2, type="y")
        wait_ended(running)

    with pytest.raises(IncarnationError) as told, life.job() as running:
        remade(running)
    assert "agent.later was deleted and made anew" in str(told.value)
    assert ACCEPT_NEW_TOPICS in str(told.value)
    with life.job(accept_new_topics=True) as running:
        life.wait_sealed("agent.later", 2, running)
    code, rows = audit()
    assert code == 0
    assert sum(row["stored"] for row in rows["agent.later"] if row["in_kafka"] is None) == 3
    assert sum(row["stored"] for row in rows["agent.later"] if row["in_kafka"]) == 2
    assert not any(row["holes"] or row["repeats"] for row in rows["agent.later"])


@pytest.fixture
def wiped(own_broker: Settings, tmp_path: Path) -> Iterator[None]:
    """The broker's data is gone: another one listens at its address."""
    bootstrap = own_broker.bootstrap
    Broker(own_broker).stop()
    broker = Broker(Settings(home=tmp_path))
    try:
        broker.start(bootstrap, LOOPBACK, int(bootstrap.rsplit(":", 1)[1]))
        yield
    finally:
        broker.stop()


@pytest.mark.usefixtures("wiped")
def test_a_wiped_broker_under_the_lake_stops_the_job_until_accepted(life: Life, audit: Audit) -> None:
    life.make_topic(FRONTEND)
    life.make_topic("agent.actions")
    life.send("agent.actions", 3, tool="grep")
    with pytest.raises(IncarnationError, match=f"another Kafka cluster .*{ACCEPT_NEW_TOPICS}"), life.job() as running:
        wait_ended(running)
    with life.job(accept_new_topics=True) as running:
        life.wait_sealed("agent.actions", 3, running)
    code, rows = audit()
    assert code == 0, "the markers of transactions that are no longer in Kafka included"
    names = ("in_kafka", "stored", "lost", "holes", "repeats")
    assert figures(rows["agent.actions"], *names) == [(None, 11, 6, 0, 0), (3, 3, 0, 0, 0)]
