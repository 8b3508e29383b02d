"""Set-up's `python -m agentmon_cli.classes`: start broker and job once, and keep the classes that their JVMs load.

Each later start then takes some two thirds of the time (docs/decisions.md). One message of each kind goes all the way, so
that what the first rows need is kept too.
"""

from __future__ import annotations

import os
import shlex
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from agentmon.errors import AgentmonError, StackError
from agentmon.settings import Settings
from agentmon.stack import up
from agentmon.stack.addresses import LOOPBACK, free_port, parse_bootstrap
from agentmon.stack.broker import Broker
from agentmon.stack.classes import KAFKA, SPARK, archive, is_whole, kept_in
from agentmon.stack.java import find_java
from agentmon.stack.job import JobProcess
from agentmon_cli.selftest import follow

_WAIT_S = 60.0


def main() -> int:
    """Says why where it can't be done, which is no reason to fail: starts are slower then, and that is all."""
    try:
        record()
    except (AgentmonError, OSError) as error:
        sys.stderr.write(
            f"agentmon: starts will take longer: classes are not kept ({error});"
            " python -m agentmon_cli.classes tries it again\n"
        )
    except KeyboardInterrupt:
        return 130
    return 0


def record() -> None:
    """Make both archives, in place of older ones. Raises AgentmonError where one is not made."""
    find_java()
    sys.stderr.write("agentmon: starting broker and job once, so that each later start is quicker\n")
    folder = archive(KAFKA).parent
    folder.mkdir(parents=True, exist_ok=True)
    for name in (KAFKA, SPARK):
        archive(name).unlink(missing_ok=True)
    with TemporaryDirectory(dir=folder) as work:
        kafka, spark = (Path(work) / archive(name).name for name in (KAFKA, SPARK))
        settings = _alone(Path(work) / "home")
        broker, job = Broker(settings, kept_in(kafka)), JobProcess(settings)
        (at,) = parse_bootstrap(settings.bootstrap)
        os.environ["SPARK_SUBMIT_OPTS"] = shlex.join(kept_in(spark))
        try:
            job.start(settings.bootstrap)
            broker.start(settings.bootstrap, at.host, at.port)
            up.up(settings, lambda _: None)
            stuck = [reason for path in follow(settings, _WAIT_S) if (reason := path.stuck())]
        finally:
            # Each writes its archive then, which takes a while.
            with ThreadPoolExecutor() as pool:
                list(pool.map(lambda one: one.stop(), (job, broker)))
        if stuck:
            raise StackError(stuck[0])
        for made, name in ((kafka, KAFKA), (spark, SPARK)):
            if not is_whole(made):
                raise StackError(f"the JVM of {name} made no archive")
            made.replace(archive(name))


def _alone(folder: Path) -> Settings:
    """Settings of a home of its own, whatever environment and agentmon.toml say; the job gets the same."""
    own = {
        "AGENTMON_HOME": str(folder),
        "AGENTMON_LAKE": str(folder / "lake"),
        "AGENTMON_CHECKPOINTS": str(folder / "checkpoints"),
        "KAFKA_BOOTSTRAP_SERVERS": f"{LOOPBACK}:{free_port()}",
        "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    }
    for name in [name for name in os.environ if name.startswith(("AGENT", "KAFKA_", "SPARK_SUBMIT_"))]:
        del os.environ[name]
    os.environ.update(own)
    return Settings.from_env()


if __name__ == "__main__":
    sys.exit(main())
