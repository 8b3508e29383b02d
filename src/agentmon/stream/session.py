"""The job's Spark session. What can be set before the JVM starts is in conf/spark-defaults.conf."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from pyspark.sql import SparkSession

#: Session settings that the queries depend on, however spark-submit was called.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",  # it re-plans each small stage: all cost, no gain in micro-batches
    "spark.sql.streaming.pollingDelay": "20ms",
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.databricks.delta.snapshotPartitions": "1",
}


def start_session(name: str = "agentmon") -> SparkSession:
    """The session of this process, with the settings that the queries depend on."""
    builder = SparkSession.builder.appName(name)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def begin_session() -> Callable[[], SparkSession]:
    """Start the session in a thread: its JVM takes seconds. Call what is returned where it is needed.

    That waits for the session, and raises what its start failed with.
    """
    pool = ThreadPoolExecutor(1, "session")
    session = pool.submit(start_session)
    pool.shutdown(wait=False)
    return session.result
