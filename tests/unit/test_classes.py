"""Archives of classes: taken where they are there and whole, and never more than a start is worth."""

from __future__ import annotations

from pathlib import Path

import pytest

from agentmon.stack.classes import is_whole, kept_in, taken_from


@pytest.mark.parametrize(("head", "whole"), [(b"\xa8\xab\x0b\xf0 and more", True), (bytes(4096), False), (b"", False)])
def test_an_archive_without_its_head_is_not_whole(tmp_path: Path, head: bytes, whole: bool) -> None:
    path = tmp_path / "spark.jsa"
    path.write_bytes(head)
    assert is_whole(path) is whole


def test_what_is_not_there_is_neither_whole_nor_taken(tmp_path: Path) -> None:
    path = tmp_path / "spark.jsa"
    assert not is_whole(path)
    assert taken_from(path) == []
    assert f"-XX:ArchiveClassesAtExit={path}" in kept_in(path)
    path.write_bytes(b"classes")
    assert f"-XX:SharedArchiveFile={path}" in taken_from(path)
