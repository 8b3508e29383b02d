"""Recordings: their times, their lines, their pace."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from agentmon.errors import UsageError
from agentmon.live.load import Pace
from agentmon.live.recording import RecordedMessage, RecordingError, read, shifted, summarise, time_of
from agentmon.settings import project_root


@pytest.mark.parametrize(
    ("value", "moment"),
    [
        ({"timestamp": 1763000000.5}, 1763000000.5),
        ({"ts": "1763000000"}, 1763000000.0),
        ({"timestamp": 1763000000500}, 1763000000.5),
        ({"timestamp": 1763000000500000}, 1763000000.5),
        ({"timestamp": "2025-11-13T02:13:20"}, 1763000000.0),
        ({"timestamp": "yesterday", "ts": 5}, 5.0),
        ({"ts": 1, "event": {"ts": 2}}, 2.0),
        ({"ts": 1, "event": {}}, 1.0),
        ({"timestamp": True}, None),
        ({"timestamp": math.nan}, None),
        ({"timestamp": 10**400}, None),
        ({"timestamp": [1]}, None),
        ({}, None),
        ([1], None),
        ("text", None),
    ],
)
def test_time_of(value: Any, moment: float | None) -> None:
    assert time_of(value) == moment


@pytest.mark.parametrize(
    ("value", "later"),
    [
        ({"timestamp": 1000.5, "a": 1}, {"timestamp": 1010.5, "a": 1}),
        ({"timestamp": 1763000000500}, {"timestamp": 1763000010500}),
        ({"ts": "1000"}, {"ts": "1010.0"}),
        ({"ts": "2025-11-13T02:13:20+01:00"}, {"ts": "2025-11-13T02:13:30+01:00"}),
        ({"ts": 1, "event": {"timestamp": 2}}, {"ts": 11, "event": {"timestamp": 12}}),
        ({"timestamp": "never", "ts": None}, {"timestamp": "never", "ts": None}),
        ({"ts": "9999-12-31T23:59:59Z"}, {"ts": "9999-12-31T23:59:59Z"}),
        ([{"ts": 1}], [{"ts": 1}]),
    ],
)
def test_shifted_keeps_form_and_unit(value: Any, later: Any) -> None:
    assert shifted(value, 10) == later


def test_payload_is_compact_and_always_the_same() -> None:
    assert RecordedMessage("t", None, {"é": [1, 2.5, None]}).payload() == '{"é":[1,2.5,null]}'.encode()
    assert RecordedMessage("t", None, "\ud800").payload() == b'"\\ud800"'


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("{", "line 2: not JSON"),
        ("[]", "line 2: not a record"),
        ('{"topic": 1, "value": {}}', "line 2: not a record"),
        ('{"topic": "t"}', "line 2: not a record"),
        ('{"topic": "t", "key": 1, "value": {}}', "line 2: the key is no text"),
    ],
)
def test_damaged_line_is_named(tmp_path: Path, line: str, text: str) -> None:
    file = tmp_path / "r.jsonl"
    file.write_text(f'{{"topic": "t", "value": null}}\n{line}\n')
    with pytest.raises(RecordingError, match=text):
        list(read(file))


def test_cut_off_gzip_and_missing_file_are_named(tmp_path: Path) -> None:
    whole = gzip.compress(b'{"topic": "t", "value": 1}\n' * 1000)
    (tmp_path / "r.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RecordingError, match="is it whole"):
        list(read(tmp_path / "r.jsonl.gz"))
    with pytest.raises(UsageError, match="there is no file"):
        list(read(tmp_path / "none.jsonl"))


def test_shipped_recording_is_what_its_readme_says() -> None:
    file = project_root() / "data" / "tau-airline-events.jsonl.gz"
    assert summarise(file).messages == 2744
    topics = [record.topic for record in read(file)]
    assert [topics.count(f"agent.{name}") for name in ("actions", "thoughts", "learning")] == [1072, 1472, 200]


@pytest.mark.parametrize(
    ("times", "last", "counting"),
    [
        ([0, 1763000000, "9999-01-01", 1763000005, None], 1763000005, [1763000000, 1763000005]),
        ([1763000000, 1763000400], 1763000000, [1763000000]),
        ([3, 0, 7], 7, [3, 0, 7]),
        ([None], None, []),
    ],
)
def test_of_clocks_that_are_wrong_no_times_count_unless_all_are(
    tmp_path: Path, times: list[Any], last: float | None, counting: list[float]
) -> None:
    file = tmp_path / "r.jsonl"
    values = [{"timestamp": moment} for moment in times]
    file.write_text("".join(json.dumps({"topic": "t", "value": value}) + "\n" for value in values))
    summary = summarise(file, latest=1763000300)
    assert summary.last == last
    assert [moment for value in values if (moment := summary.time_of(value)) is not None] == counting


def test_pace_takes_one_positive_number() -> None:
    with pytest.raises(UsageError, match="choose one"):
        Pace(speed=1, rate=1)
    with pytest.raises(UsageError, match="a number > 0"):
        Pace(rate=0)
