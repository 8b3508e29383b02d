"""TEMPORARY shim until wt-contracts is merged."""

from __future__ import annotations
import pyarrow as pa
from agentmon.stream.columns import Reader
from agentmon.stream.parsed import joined

MESSAGES = pa.schema(
    {
        "key": pa.binary(),
        "value": pa.binary(),
        "topic": pa.string(),
        "partition": pa.int32(),
        "offset": pa.int64(),
        "timestamp": pa.timestamp("us", "UTC"),
        "headers": pa.list_(pa.struct({"key": pa.string(), "value": pa.binary()})),
    }
)
OLD = MESSAGES.set(5, pa.field("timestamp_us", pa.int64()))


class Parser(Reader):
    def parse(self, messages):
        out = []
        for b in messages:
            cols = [b.column(n) for n in MESSAGES.names]
            cols = [
                c.cast(f.type) if n != "timestamp" else c.cast(pa.timestamp("us", "UTC")).cast(pa.int64())
                for c, f, n in zip(cols, OLD, MESSAGES.names)
            ]
            out.append(self._read(pa.RecordBatch.from_arrays(cols, schema=OLD)))
        return joined(out)
