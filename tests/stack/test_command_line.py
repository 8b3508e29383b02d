"""The command line in a process of its own: exit codes, one line for an error, imports that wait."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from agentmon.live.client import answers
from agentmon.settings import Settings, project_root
from agentmon.stack.addresses import free_port
from agentmon.stack.classes import KAFKA, SPARK, archive

AGENTMON = str(Path(sys.executable).with_name("agentmon"))


def agentmon(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [AGENTMON, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **env}, timeout=120
    )


def assert_one_line(ran: subprocess.CompletedProcess[str], code: int, text: str) -> None:
    assert (ran.returncode, ran.stdout) == (code, "")
    [line] = ran.stderr.splitlines()
    assert line.startswith("agentmon: ")
    assert text in line


def python_of(root: Path) -> list[str]:
    """The driver's Python, which no setting for executors changes."""
    return ["--conf", f"spark.pyspark.driver.python={root}/.venv/bin/python"]


def fake_java(folder: Path, version: str) -> None:
    (folder / "bin").mkdir(parents=True)
    java = folder / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\"' >&2\n")
    java.chmod(0o755)


def test_no_java_is_one_line(tmp_path: Path) -> None:
    ran = agentmon("up", PATH="/nowhere", JAVA_HOME="", AGENTMON_HOME=str(tmp_path))
    assert_one_line(ran, 1, "install Java 17")


def test_java_11_is_one_line(tmp_path: Path) -> None:
    fake_java(tmp_path, "11.0.2")
    ran = agentmon("up", JAVA_HOME=str(tmp_path), AGENTMON_HOME=str(tmp_path / "home"))
    assert_one_line(ran, 1, "is Java 11, Spark and Kafka need 17")


def test_java_11_is_one_line_for_spark_submit_too(tmp_path: Path) -> None:
    fake_java(tmp_path, "11.0.2")
    script = project_root() / "spark-submit.sh"
    ran = subprocess.run(
        [script, "--version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "JAVA_HOME": str(tmp_path)},
    )
    assert_one_line(ran, 1, "is Java 11, Spark and Kafka need 17")


def submitted(root: Path, *arguments: str) -> tuple[list[str], str, str]:
    """(arguments, SPARK_CONF_DIR, SPARK_SUBMIT_OPTS) that spark-submit.sh gives Spark in a project below root."""
    root.joinpath("conf").mkdir(parents=True, exist_ok=True)
    for name in ("spark-defaults.conf", "log4j2.properties", "kafka-log4j2.properties", "topics.json"):
        root.joinpath("conf", name).touch()
    spark = root / ".venv/lib/python3.11/site-packages/pyspark/bin/spark-submit"
    python = root / ".venv/bin/python"
    told = 'printf "%s\\n" "$SPARK_CONF_DIR" "${SPARK_SUBMIT_OPTS:-}" "$@"'
    for path, does in ((spark, told), (python, f'exec {sys.executable} "$@"')):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{does}\n")
        path.chmod(0o755)
    script = shutil.copy(project_root() / "spark-submit.sh", root)
    ran = subprocess.run([script, *arguments], capture_output=True, text=True, check=True)
    conf, options, *rest = ran.stdout.splitlines()
    return rest, conf, options


def test_spark_submit_takes_classes_from_an_archive_where_there_is_one(tmp_path: Path) -> None:
    root = tmp_path / "it is mine"
    rest, conf, options = submitted(root, "jobs/streaming/monitor.py")
    assert rest == [
        *python_of(root),
        "--properties-file",
        f"{root}/conf/spark-defaults.conf",
        "jobs/streaming/monitor.py",
    ]
    assert not Path(conf).exists()
    assert "SharedArchiveFile" not in options
    root.joinpath(".jars/classes").mkdir(parents=True)
    root.joinpath(".jars/classes/spark.jsa").touch()
    _, _, options = submitted(root, "jobs/streaming/monitor.py")
    assert f'-Dlog4j2.configurationFile="{root}/conf/log4j2.properties"' in options
    assert f'-XX:SharedArchiveFile="{root}/.jars/classes/spark.jsa"' in options


@pytest.mark.parametrize(("others", "master"), [("hive-site.xml", "local[2]"), ("topics.json", "spark://host:7077")])
def test_spark_submit_has_conf_on_the_class_path_where_it_is_needed(tmp_path: Path, others: str, master: str) -> None:
    """Where somebody has put a file of Spark's there, and where there are executors elsewhere."""
    tmp_path.joinpath("conf").mkdir()
    tmp_path.joinpath("conf", others).touch()
    rest, conf, options = submitted(tmp_path, "--master", master, "jobs/streaming/monitor.py")
    assert rest == [*python_of(tmp_path), "--master", master, "jobs/streaming/monitor.py"]
    assert (conf, options) == (f"{tmp_path}/conf", "")


def test_classes_that_can_not_be_kept_are_one_line(tmp_path: Path) -> None:
    def kept() -> list[int]:
        return [path.stat().st_mtime_ns for path in map(archive, (KAFKA, SPARK)) if path.exists()]

    before = kept()
    ran = subprocess.run(
        [sys.executable, "-m", "agentmon_cli.classes"],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": "/nowhere", "JAVA_HOME": ""},
    )
    assert_one_line(ran, 0, "starts will take longer: classes are not kept (there is no Java")
    assert kept() == before


@pytest.mark.parametrize("command", [("topics",), ("load", "data/tau-airline-events.jsonl.gz")])
def test_no_kafka_is_one_line(command: tuple[str, ...]) -> None:
    arguments = [str(project_root() / part) if "/" in part else part for part in command]
    ran = agentmon(*arguments, KAFKA_BOOTSTRAP_SERVERS=f"localhost:{free_port()}")
    assert_one_line(ran, 1, "Kafka at localhost")


def test_stack_trace_only_on_request() -> None:
    ran = agentmon("topics", KAFKA_BOOTSTRAP_SERVERS=f"localhost:{free_port()}", AGENT_LOG_LEVEL="DEBUG")
    assert ran.returncode == 1
    assert "Traceback" in ran.stderr
    assert ran.stderr.splitlines()[-1].startswith("agentmon: Kafka at localhost")


def test_wrong_setting_and_wrong_usage_are_2(tmp_path: Path) -> None:
    assert_one_line(agentmon("up", AGENTMON_WINDOW="-1"), 2, "AGENTMON_WINDOW='-1'")
    assert_one_line(agentmon("load", str(tmp_path / "none.jsonl")), 2, "there is no file")
    assert_one_line(agentmon("load", "x", "--speed", "1", "--rate", "1"), 2, "choose one")
    assert agentmon("no-such-command").returncode == 2


@pytest.mark.parametrize("command", ["serve", "watch", "topics"])
def test_a_login_that_lacks_a_part_is_said_before_anything_starts(command: str) -> None:
    assert_one_line(agentmon(command, KAFKA_SECURITY_PROTOCOL="SASL_SSL"), 2, "needs KAFKA_SASL_MECHANISM")


def test_no_docker_is_one_line(tmp_path: Path) -> None:
    assert_one_line(agentmon("up", "--docker", PATH=str(tmp_path)), 1, "no docker on PATH")


def test_down_with_nothing_up_is_fine(tmp_path: Path) -> None:
    ran = agentmon("down", AGENTMON_HOME=str(tmp_path / "home"))
    assert (ran.returncode, ran.stdout) == (0, f"nothing runs for {tmp_path}/home\n")


def test_topics_as_json(broker: Settings) -> None:
    ran = agentmon("topics", "--json", KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap)
    rows = json.loads(ran.stdout)
    assert [(row["topic"], row["partitions"]) for row in rows][:2] == [("agent.actions", 3), ("agent.thoughts", 3)]


def test_demo_leaves_a_home_with_other_data_alone(tmp_path: Path) -> None:
    (tmp_path / "kafka").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    ran = agentmon("demo", AGENTMON_HOME=str(tmp_path))
    assert_one_line(ran, 1, "is left alone")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kafka", "notes.txt"]


def test_demo_leaves_a_stack_that_is_up_alone(broker: Settings) -> None:
    ran = agentmon("demo", AGENTMON_HOME=str(broker.home))
    assert_one_line(ran, 1, "already up")
    assert answers(broker)


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from agentmon_cli.main import main; code = main();"
        " heavy = {'duckdb', 'kafka', 'pyarrow', 'pyspark', 'rich', 'psutil'} & set(sys.modules);"
        " print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    ran = subprocess.run([sys.executable, "-c", code, "--help"], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "[]\n")
