"""Archives of the classes that Kafka's and Spark's JVMs load: mapped at a start, not read, verified and linked anew.

Java makes one when a JVM ends that was started to do so, and takes it only for the very Java and jars that it was made
with; for others it does without. Set-up records both (cli/agentmon_cli/classes.py); spark-submit.sh knows the one of the
job by the same name. Source: https://docs.oracle.com/en/java/javase/17/vm/class-data-sharing.html
"""

from __future__ import annotations

from pathlib import Path

from agentmon.settings import project_root

KAFKA, SPARK = "kafka", "spark"


def archive(name: str) -> Path:
    """Where the archive of one JVM lies, be it there or not."""
    return project_root() / ".jars" / "classes" / f"{name}.jsa"


def taken_from(path: Path) -> list[str]:
    """A JVM's options to take classes from an archive where it is there, and to say nothing where it does not fit."""
    return [f"-XX:SharedArchiveFile={path}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"] if path.exists() else []


def kept_in(path: Path) -> list[str]:
    """A JVM's options to make an archive when it ends."""
    return [f"-XX:ArchiveClassesAtExit={path}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off"]


def is_whole(path: Path) -> bool:
    """Whether an archive was written to its end: its head comes last. (A JVM that takes one without its end crashes.)"""
    if not path.exists():
        return False
    with path.open("rb") as file:
        return any(file.read(4))
