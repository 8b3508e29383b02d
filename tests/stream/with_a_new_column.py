"""What tests/stream/test_new_column.py runs on a copy of agentmon whose table actions has a column more, `mood`.

python with_a_new_column.py LAKE      prints JSON: where agentmon is, which messages were usual, moods as the lake has them
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

import pyarrow as pa

import agentmon
from agentmon.contracts.message import Limits, read
from agentmon.contracts.tables import ACTIONS
from agentmon.lake.connection import open_lake
from agentmon.stream.batch import Batch
from agentmon.stream.parse import MESSAGES, Parser
from agentmon.stream.tables import Appender, create_missing
from agentmon.stream.usual import usual

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
VALUES = [
    b'{"tool":"t","mood":"calm"}',
    b'{"tool":"t","mood":7}',
    b'{"tool":"t"}',
    b'{"tool":["t"],"mood":"tense"}',
    b'{"event":{"tool":"t","mood":{"joy": 1.0}}}',
]


def main(lake: str) -> None:
    create_missing(lake)
    origin = {"topic": "agent.actions", "partition": 0}
    messages = [{**origin, "value": value, "offset": offset, "timestamp": NOW} for offset, value in enumerate(VALUES)]
    rows = Parser(Limits(), {}, NOW).parse(pa.Table.from_pylist(messages, MESSAGES))["actions"]
    Appender(lake, ACTIONS).append(rows, Batch("query", 0, (), NOW, "cluster"))
    with open_lake(lake, ["actions"]) as con:
        stored = con.execute("SELECT mood FROM actions ORDER BY kafka_offset").fetchall()
    live = [
        read(value, **origin, offset=0, kafka_timestamp=NOW, ingest_time=NOW, limits=Limits())["mood"]
        for value in VALUES
    ]
    is_usual, _ = usual(pa.array(VALUES, pa.binary()), "actions", Limits())
    moods = {"stored": [mood for (mood,) in stored], "live": live}
    json.dump({"agentmon": agentmon.__file__, "usual": is_usual.tolist(), **moods}, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
