"""The embedded broker: one Apache Kafka node in KRaft mode, from its jars, for this machine alone."""

from __future__ import annotations

import base64
import fcntl
import re
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from agentmon.errors import AgentmonError, StackError
from agentmon.settings import Settings, project_root
from agentmon.stack import home
from agentmon.stack.addresses import LOOPBACK, accepts, free_port
from agentmon.stack.classes import KAFKA, archive, taken_from
from agentmon.stack.jars import kafka_jars
from agentmon.stack.java import find_java

START_SECONDS = 60.0
STOP_SECONDS = 30.0

# Start-up is most of a short life: the serial collector and, for the formatting tool, the quick compiler.
#: C1 alone, as in the job's JVM (conf/spark-defaults.conf): C2 took 3 s of CPU from the job's start beside it.
_BROKER_FLAGS = ("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:+ExitOnOutOfMemoryError")
_TOOL_FLAGS = ("-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")

# After kill -9 the controller grants the dead broker the rest of its session before it takes the new one in:
# 9 s with Kafka's default.
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{loopback}:{controller_port}
listeners=PLAINTEXT://{listen},CONTROLLER://{loopback}:{controller_port}
advertised.listeners=PLAINTEXT://{advertised}
controller.listener.names=CONTROLLER
log.dirs={data}
auto.create.topics.enable=false
broker.heartbeat.interval.ms=500
broker.session.timeout.ms=3000
group.initial.rebalance.delay.ms=0
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
"""


class Broker:
    """The broker of one AGENTMON_HOME: its data outlives it, however it ends.

    `classes`: its JVM's options about these; to take them from their archive by default.
    """

    def __init__(self, settings: Settings, classes: Sequence[str] | None = None) -> None:
        self._settings = settings
        self._classes = taken_from(archive(KAFKA)) if classes is None else classes
        self._folder = settings.home / "kafka"
        self._data = self._folder / "data"
        self._note = settings.run / "broker.json"
        # The folder itself, whatever link leads to it.
        self._marker = f"-Dagentmon.home={settings.home.resolve()}"
        self.log = settings.logs / "broker.log"

    def process(self) -> psutil.Process | None:
        """The running broker, also where its note was lost; such a note is written again."""
        note = home.read_note(self._note)
        process = home.process_of(note)
        if process is not None or not self._data.exists():
            return process
        process = home.find_marked(self._marker)
        if process is not None:
            self._write_note(process, _bootstrap_in(process.cmdline()))
        return process

    def bootstrap(self) -> str | None:
        """The address that was noted last, be the broker alive or not."""
        noted = home.read_note(self._note).get("bootstrap")
        return str(noted) if noted else None

    def is_embedded(self) -> bool:
        """Whether the note is about a broker of ours, alive or not, rather than about somebody's Kafka."""
        return home.read_note(self._note).get("pid") is not None

    def note_external(self, bootstrap: str) -> None:
        """Note a Kafka that is not ours, so that later commands find it."""
        home.write_note(self._note, {"pid": None, "bootstrap": bootstrap, "started_at": time.time()})

    def start(self, bootstrap: str, ip: str, port: int) -> psutil.Process:
        """Start listening on ip:port and wait for it; clients are told `bootstrap`.

        Raises StackError, with the reason in the log, where it does not come up.
        """
        java = find_java()
        if not kafka_jars().is_complete():
            raise StackError("the broker's jars are not there: run make setup")
        home.check_space(self._settings)
        self._data.mkdir(parents=True, exist_ok=True)
        _check_unused(self._data)
        self.log.parent.mkdir(parents=True, exist_ok=True)
        properties = self._write_properties(ip, port)
        if not (self._data / "meta.properties").exists():
            self._format(java)
        process = self._spawn(java, properties, bootstrap)
        self._write_note(process, bootstrap)
        self.wait_ready(process, ip, port)
        return process

    def wait_ready(self, process: psutil.Process, ip: str, port: int) -> None:
        """Wait until a started broker takes connections. Raises StackError if it ends or does not."""
        home.wait_until(lambda: accepts(ip, port) or not home.is_alive(process), START_SECONDS)
        if not home.is_alive(process):
            raise StackError(f"the broker ended at its start: {self._reason()}")
        if not accepts(ip, port):
            raise StackError(f"the broker does not listen on {ip}:{port} after {START_SECONDS:.0f} s: see {self.log}")

    def stop(self) -> bool:
        """Stop the broker, gently first; whether there was one."""
        process = self.process()
        if process is not None:
            home.end(process, STOP_SECONDS)
        self._note.unlink(missing_ok=True)
        return process is not None

    def _write_properties(self, ip: str, port: int) -> Path:
        host = f"[{ip}]" if ":" in ip else ip
        path = self._folder / "server.properties"
        path.write_text(_properties(f"{host}:{port}", self._data))
        return path

    def _format(self, java: Path) -> None:
        """Fill the empty data folder: from the one that set-up has formatted, where it has, under ids of its own."""
        template = template_folder()
        if not (template / "meta.properties").exists():
            format_folder(java, self._data)
            return
        for file in template.iterdir():
            if file.name != "meta.properties":
                shutil.copy(file, self._data)
        told = (template / "meta.properties").read_text()
        for name in ("cluster.id", "directory.id"):
            told = re.sub(rf"(?m)^{re.escape(name)}=.*$", f"{name}={_kafka_uuid()}", told)
        # Last, as it is what says that the folder is formatted.
        (self._data / "meta.properties").write_text(told)

    def _spawn(self, java: Path, properties: Path, bootstrap: str) -> psutil.Process:
        command = [
            *(str(java), *_BROKER_FLAGS, *self._classes, self._marker, f"-Dagentmon.bootstrap={bootstrap}"),
            *(f"-Dagentmon.log={self.log}", f"-Dlog4j2.configurationFile={_log_config()}"),
            *("-cp", _class_path(), "kafka.Kafka", str(properties)),
        ]
        with (self.log.parent / "broker.out").open("wb") as out:
            started = subprocess.Popen(
                command, cwd=self._folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True
            )
        return psutil.Process(started.pid)

    def _write_note(self, process: psutil.Process, bootstrap: str) -> None:
        note = {**home.note_of(process), "bootstrap": bootstrap, "started_at": time.time()}
        home.write_note(self._note, note)

    def _reason(self) -> str:
        lines = home.tail(self.log, 16_384) + home.tail(self.log.parent / "broker.out", 16_384)
        return f"{_explained(lines)} (log: {self.log})"


def template_folder() -> Path:
    """A data folder as set-up has formatted it: Kafka's tool for that takes a JVM's start, some seconds."""
    return kafka_jars().folder.with_name("kafka-formatted")


def format_folder(java: Path, data: Path) -> None:
    """Have Kafka's own tool format an empty data folder. Raises StackError, with the tool's reason."""
    with TemporaryDirectory() as folder:
        properties = Path(folder) / "server.properties"
        properties.write_text(_properties(f"{LOOPBACK}:9092", data))
        tool = ["kafka.tools.StorageTool", "format", "--cluster-id", _kafka_uuid(), "--config", str(properties)]
        ran = subprocess.run(
            [str(java), *_TOOL_FLAGS, "-cp", _class_path(), *tool], capture_output=True, text=True, check=False
        )
    if ran.returncode != 0:
        lines = (ran.stderr or ran.stdout).strip().splitlines() or ["no reason given"]
        raise StackError(f"the broker's folder {data} can't be prepared: {_explained(lines)}")


def _properties(place: str, data: Path) -> str:
    return _PROPERTIES.format(
        loopback=LOOPBACK,
        controller_port=free_port(but_for=int(place.rpartition(":")[2])),
        listen=place,
        # The number, not the name: then nobody needs to resolve anything to reach it.
        advertised=place,
        data=str(data).replace("\\", "\\\\"),
    )


def _kafka_uuid() -> str:
    """As Kafka writes ids: base64 without padding; a leading dash would be read as an option."""
    return "A" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]


def main() -> int:
    """Set-up's `python -m agentmon.stack.broker`: format a data folder once, for every first start to copy."""
    try:
        template = template_folder()
        if not (template / "meta.properties").exists():
            shutil.rmtree(template, ignore_errors=True)
            template.mkdir(parents=True)
            format_folder(find_java(), template)
    except AgentmonError as error:
        sys.stderr.write(f"agentmon: {error}\n")
        return error.exit_code
    return 0


def _check_unused(data: Path) -> None:
    """Raises StackError where a living Kafka has the folder.

    Kafka asks for its lock only after it has opened, and may have cut, the log of its metadata.
    """
    try:
        with (data / ".lock").open("r+b") as lock:
            # The same kind of lock as Java's; it is let go at once.
            fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return
    except OSError as error:
        raise StackError(f"another Kafka uses {data}: stop that one first") from error


def _explained(lines: list[str]) -> str:
    """The line that says why, in a user's words where we know them."""
    text = "\n".join(lines)
    if "No space left on device" in text:
        return "the disk is full: free some space, then run agentmon up again"
    if "Address already in use" in text:
        return "its port was taken by somebody else just now: run agentmon up again"
    told = [line for line in lines if "ERROR" in line or "FATAL" in line or "Exception" in line]
    return (told or lines or ["no reason given"])[-1].strip()[:300]


def _bootstrap_in(command: list[str]) -> str:
    prefix = "-Dagentmon.bootstrap="
    return next((part.removeprefix(prefix) for part in command if part.startswith(prefix)), "")


def _class_path() -> str:
    return str(kafka_jars().folder / "*")


def _log_config() -> Path:
    return project_root() / "conf" / "kafka-log4j2.properties"


if __name__ == "__main__":
    sys.exit(main())
