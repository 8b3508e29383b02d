"""Run a micro-batch's tasks on the executors.

In: a frame of Kafka's messages and the batch that they are. Out: what the tasks wrote and counted (stream/output.py).
"""

from __future__ import annotations

import math
from dataclasses import replace

from pyspark.sql import DataFrame

from agentmon.contracts.message import Limits
from agentmon.errors import AgentmonError
from agentmon.lake.files import is_local, local_path
from agentmon.settings import Settings
from agentmon.stream.batch import Batch
from agentmon.stream.files import files_of, remove
from agentmon.stream.locks import WRITER_FILE
from agentmon.stream.output import RESULT, Output
from agentmon.stream.repeats import Places, second_copies
from agentmon.stream.task import Task
from agentmon.stream.updates import MOST, MOST_BEHIND

#: A task is worth its start for so many messages: a small micro-batch is one task, and so one file a table and day.
MESSAGES_A_TASK = 10_000


def run_tasks(messages: DataFrame, batch: Batch, settings: Settings) -> Output:
    """Parse a batch's messages and write their rows; second copies are in quarantine.

    Raises AgentmonError where an executor does not see the lake, and what Spark raises for a task that failed too often.
    """
    most = MOST if batch.messages < settings.max_batch_messages else MOST_BEHIND
    task = Task(
        lake=settings.lake,
        batch=batch.name,
        writer=_writer(settings.lake),
        limits=Limits(settings.max_message_bytes, settings.max_depth, settings.max_ahead_s),
        topic_ids={r.topic: r.topic_id for r in batch.ranges},
        ingest_time=batch.ingest_time,
        window_s=settings.window_s,
        newest=(settings.newest_rows, most),
    )
    output = _run(messages, task, batch.messages)
    if repeats := _second_copies(output, settings.lake, batch):
        for table, files in output.files().items():
            remove([file.path for file in files], files_of(settings.lake, table))
        output = _run(messages, replace(task, repeats=repeats), batch.messages)
    return output


def _run(messages: DataFrame, task: Task, count: int) -> Output:
    cores = messages.sparkSession.sparkContext.defaultParallelism
    tasks = max(1, min(cores, math.ceil(count / MESSAGES_A_TASK)))
    output = Output.decode(messages.coalesce(tasks).mapInArrow(task.run, RESULT).toArrow())
    if hosts := output.hosts_without_lake():
        raise AgentmonError(
            f"the lake {task.lake} is a folder of this machine, and {', '.join(hosts)} runs tasks without it: on a cluster it "
            "must be a folder that all machines share, or an object store (AGENTMON_LAKE)"
        )
    return output


def _second_copies(output: Output, lake: str, batch: Batch) -> Places:
    tables = output.marked_tables() - {"quarantine"}
    files = {table: actions for table, actions in output.files().items() if table in tables}
    places = [
        (t, action.path, str(*action.partition_values.values())) for t, actions in files.items() for action in actions
    ]
    return second_copies(places, {table: files_of(lake, table) for table in tables}, lake, batch.ranges)


def _writer(lake: str) -> str | None:
    """What the lake's folder says of who writes it: an executor that reads something else there sees another folder."""
    return (local_path(lake) / WRITER_FILE).read_text() if is_local(lake) else None
