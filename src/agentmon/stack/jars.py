"""Set-up's `python -m agentmon.stack.jars`: bring the jars once; from then on nothing is looked up.

pip's pyspark carries Ivy with a command line of its own, so neither Maven nor sbt is needed. The broker's
jars stay in a folder of their own; the job's are linked into pyspark/jars, where every way of starting Spark
finds them, whatever the working folder.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from agentmon.errors import AgentmonError, StackError
from agentmon.settings import project_root
from agentmon.stack.java import find_java

SCALA = "2.13"


@dataclass(frozen=True)
class JarSet:
    """Jars that live in one folder: `.jars/<name>`."""

    name: str
    coordinates: tuple[str, ...]

    @property
    def folder(self) -> Path:
        return project_root() / ".jars" / self.name

    @property
    def stamp(self) -> Path:
        return self.folder / "coordinates"

    def is_complete(self) -> bool:
        """Whether these very coordinates were brought before; the stamp is written last."""
        return self.stamp.exists() and self.stamp.read_text() == "\n".join(self.coordinates)


def spark_jars() -> JarSet:
    """What the job needs beside pyspark's own jars; the versions are those of the installed packages."""
    spark, delta = version("pyspark"), version("delta-spark")
    line = ".".join(spark.split(".")[:2])
    return JarSet(
        "spark",
        (
            f"io.delta:delta-spark_{line}_{SCALA}:{delta}",
            f"org.apache.spark:spark-sql-kafka-0-10_{SCALA}:{spark}",
        ),
    )


def kafka_jars() -> JarSet:
    """The broker and the one logging bridge that its release, but not its package, comes with."""
    pinned = tomllib.loads((project_root() / "pyproject.toml").read_text())["tool"]["agentmon"]
    return JarSet(
        "kafka",
        (
            f"org.apache.kafka:kafka_{SCALA}:{pinned['kafka-broker']}",
            f"org.apache.logging.log4j:log4j-slf4j-impl:{pinned['kafka-log4j']}",
        ),
    )


def pyspark_home() -> Path:
    """Where pip put Spark; found without importing it."""
    spec = find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise StackError("pyspark is not installed in this environment: run `make setup`")
    return Path(spec.origin).parent


def main() -> int:
    """Bring what is missing and link it; quick when all is there."""
    try:
        sets = (spark_jars(), kafka_jars())
        missing = [jars for jars in sets if not jars.is_complete()]
        if missing:
            java = find_java()
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda jars: _bring(jars, java), missing))
        _link()
    except AgentmonError as error:
        sys.stderr.write(f"agentmon: {error}\n")
        return error.exit_code
    return 0


def _bring(jars: JarSet, java: Path) -> None:
    """Resolve with a cache of the set's own, so that two sets can be resolved side by side."""
    sys.stderr.write(f"agentmon: bringing the jars of {', '.join(jars.coordinates)}\n")
    cache = project_root() / ".ivy" / jars.name
    cache.mkdir(parents=True, exist_ok=True)
    jars.folder.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=jars.folder.parent) as work:
        wanted = Path(work) / "ivy.xml"
        wanted.write_text(_ivy_file(jars.coordinates))
        command = [
            *(java, "-Xmx256m", "-XX:TieredStopAtLevel=1", f"-Divy.default.ivy.user.dir={cache}"),
            *("-cp", pyspark_home() / "jars" / "*", "org.apache.ivy.Main", "-warn"),
            *("-ivy", wanted, "-cache", cache, "-confs", "default", "-types", "jar", "bundle"),
            *("-retrieve", f"{work}/got/[artifact]/[artifact]-[revision].[ext]"),
        ]
        ran = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
        got = sorted(Path(work).glob("got/*/*.jar"))
        if ran.returncode != 0 or not got:
            reason = _reason(ran.stdout + ran.stderr)
            raise StackError(f"the jars of {jars.name} can't be brought ({reason}): is the network up?")
        if jars.name == "spark":
            got = _beside_pyspark(got)
        shutil.rmtree(jars.folder, ignore_errors=True)
        jars.folder.mkdir()
        for jar in got:
            jar.rename(jars.folder / jar.name)
        jars.stamp.write_text("\n".join(jars.coordinates))


def _ivy_file(coordinates: Iterable[str]) -> str:
    parts = (coordinate.split(":") for coordinate in coordinates)
    wanted = "".join(f'<dependency org="{o}" name="{n}" rev="{r}" conf="default"/>' for o, n, r in parts)
    return (
        '<ivy-module version="2.0"><info organisation="agentmon" module="jars"/>'
        f'<configurations><conf name="default"/></configurations><dependencies>{wanted}</dependencies></ivy-module>'
    )


def _beside_pyspark(got: Iterable[Path]) -> list[Path]:
    """Only what pyspark lacks: a second version of a jar that it has would win or lose by chance."""
    have = [jar.name for jar in (pyspark_home() / "jars").glob("*.jar") if not jar.is_symlink()]
    return [jar for jar in got if not any(re.match(rf"{re.escape(jar.parent.name)}-\d", name) for name in have)]


def _link() -> None:
    """Links in pyspark/jars to exactly today's jars, and pyspark/conf to our conf."""
    target = pyspark_home() / "jars"
    wanted = {jar.name: jar for jar in spark_jars().folder.glob("*.jar")}
    for link in target.iterdir():
        if link.is_symlink() and (link.name not in wanted or link.readlink() != wanted[link.name]):
            link.unlink()
    for name, jar in wanted.items():
        _set_link(target / name, jar)
    _set_link(pyspark_home() / "conf", project_root() / "conf")


def _set_link(link: Path, to: Path) -> None:
    if link.is_symlink() and link.readlink() == to:
        return
    link.unlink(missing_ok=True)
    link.symlink_to(to)


def _reason(output: str) -> str:
    lines = [line.strip(" :\t") for line in output.splitlines()]
    told = [line for line in lines if re.search(r"not found|Exception|ERROR|unresolved", line)]
    return (told or lines or ["no reason given"])[0][:200]


if __name__ == "__main__":
    sys.exit(main())
