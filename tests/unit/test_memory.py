"""What allocators keep is handed back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: 200 MB that malloc keeps, as something above them is in use; prints how many MiB were handed back.
PROGRAM = """
import psutil
from agentmon.stream.memory import give_back

resident = lambda: psutil.Process().memory_info().rss // 2**20
kept = [bytes(60_000) for _ in range(3_500)]
above = bytes(60_000)
kept.clear()
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is asked")
def test_freed_memory_goes_back_to_the_system() -> None:
    ran = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(ran.stdout) > 150
