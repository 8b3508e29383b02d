"""The job's Spark session. What can be set before the JVM starts is in conf/spark-defaults.conf."""

from __future__ import annotations

from pyspark.sql import SparkSession

#: Session settings that the queries depend on, however spark-submit was called.
SETTINGS = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.mapKeyDedupPolicy": "LAST_WIN",
    "spark.sql.shuffle.partitions": "2",
    "spark.sql.adaptive.enabled": "false",  # it re-plans each small stage: all cost, no gain in micro-batches
    "spark.sql.inMemoryColumnarStorage.compressed": "false",
    "spark.sql.parquet.compression.codec": "zstd",
    # INT96, Spark's default, is larger, has no statistics, and other readers take a year above 2262 for another.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.sql.streaming.pollingDelay": "50ms",
    "spark.sql.streaming.minBatchesToRetain": "20",
    "spark.sql.maxConcurrentOutputFileWriters": "8",  # else every write sorts its rows by partition first
    # The JVM never compiles a longer method; Spark's own limit lets it make some that are interpreted for good.
    "spark.sql.codegen.hugeMethodLimit": "8000",
    # Above so many groups Spark would sort all rows instead; the newest rewards of 100,000 groups are some 100 MB.
    "spark.sql.objectHashAggregate.sortBased.fallbackThreshold": "100000",
    "spark.databricks.delta.snapshotPartitions": "1",
}


def start_session(name: str = "agentmon") -> SparkSession:
    """The session of this process, with the settings that the queries depend on."""
    builder = SparkSession.builder.appName(name)
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    return builder.getOrCreate()
