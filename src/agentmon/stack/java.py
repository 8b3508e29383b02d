"""Find the Java that Spark and Kafka run on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from agentmon.errors import JavaError

MINIMUM = 17
_ADVICE = f"install Java {MINIMUM} or newer (a JRE will do), or point JAVA_HOME at one"


def find_java(env: Mapping[str, str] | None = None) -> Path:
    """The `java` to use: of JAVA_HOME where that is set, else the first on PATH; at least Java 17.

    Raises JavaError, which says what to do, where there is none or it is too old.
    """
    env = os.environ if env is None else env
    java = _candidate(env)
    version = _version(java)
    if version < MINIMUM:
        raise JavaError(f"{java} is Java {version}, Spark and Kafka need {MINIMUM}: {_ADVICE}")
    return java


def parse_version(text: str) -> int | None:
    """The major version in what `java -version` prints.

    >>> parse_version('openjdk version "17.0.15" 2025-04-15'), parse_version('java version "1.8.0_402"')
    (17, 8)
    """
    match = re.search(r'version "(\d+)(?:\.(\d+))?', text)
    if match is None:
        return None
    major, minor = int(match[1]), int(match[2] or 0)
    return minor if major == 1 else major


def _candidate(env: Mapping[str, str]) -> Path:
    home = env.get("JAVA_HOME")
    if home:
        java = Path(home) / "bin" / "java"
        if not os.access(java, os.X_OK):
            raise JavaError(f"JAVA_HOME={home} has no bin/java: {_ADVICE}")
        return java
    found = shutil.which("java", path=env.get("PATH"))
    if found is None:
        raise JavaError(f"there is no Java on this machine's PATH: {_ADVICE}")
    return Path(found)


def _version(java: Path) -> int:
    try:
        shown = subprocess.run([java, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise JavaError(f"{java} can't be run ({error}): {_ADVICE}") from error
    version = parse_version(shown.stderr + shown.stdout)
    if version is None:
        raise JavaError(f"{java} does not say its version: {_ADVICE}")
    return version


def main() -> int:
    """For shell scripts: one line on stderr and 1 where there is no Java that will do."""
    try:
        find_java()
    except JavaError as error:
        sys.stderr.write(f"agentmon: {error}\n")
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
