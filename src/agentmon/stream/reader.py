"""The process that reads: fetches messages, parses them, and hands their rows over a pipe (stream/reading.py).

python -m agentmon.stream.reader REQUESTS ANSWERS      (two open file descriptors)
"""

from __future__ import annotations

import pickle
import select
import signal
import sys
import traceback
from typing import Any, BinaryIO

import pyarrow as pa

from agentmon.errors import AgentmonError
from agentmon.live.fetcher import Fetcher
from agentmon.settings import Settings
from agentmon.stream.columns import Reader
from agentmon.stream.parsed import SCHEMAS
from agentmon.stream.reading import Piece, Request, Start


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until there are no more: the driver has closed its end, or is gone."""
    fetcher: Fetcher | None = None
    while True:
        try:
            asked: Start | Request = pickle.load(requests)  # noqa: S301 - from the process that started this one
        except EOFError:
            break
        if isinstance(asked, Start):
            if fetcher is not None:
                fetcher.close()
            settings, fetcher = asked.settings, Fetcher(asked.settings, asked.offsets, asked.most)
        else:
            assert fetcher is not None  # the first one is a Start
            _answer(asked, settings, fetcher, requests, answers)
    if fetcher is not None:
        fetcher.close()


def _answer(request: Request, settings: Settings, fetcher: Fetcher, requests: BinaryIO, answers: BinaryIO) -> None:
    try:
        fetched = fetcher.read(request.ends, lambda: _is_over(requests))
        reader = Reader.of(settings, request.topic_ids, request.ingest_time)
        rows = {name: table for name, table in reader.read(fetched.messages).items() if table.num_rows}
    except AgentmonError as error:
        _tell(answers, error)
    except Exception as error:  # noqa: BLE001 - the driver says it, and starts anew
        if settings.log_level == "DEBUG":
            traceback.print_exc()
        _tell(answers, RuntimeError(f"reading failed: {error}"))
    else:
        _tell(answers, Piece(dict(fetcher.position), tuple(rows), fetched.is_full))
        for name, table in rows.items():
            with pa.ipc.new_stream(answers, SCHEMAS[name]) as stream:
                stream.write_table(table)
        answers.flush()


def _is_over(requests: BinaryIO) -> bool:
    """Whether the driver has closed its end: it asks for nothing else while it waits for an answer."""
    return bool(select.select([requests], [], [], 0)[0])


def _tell(answers: BinaryIO, what: Any) -> None:
    pickle.dump(what, answers)
    answers.flush()


def main() -> None:
    # A service manager that stops all of a job's processes means the driver: it closes the pipe when it has all.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    requests, answers = map(int, sys.argv[1:])
    try:
        with open(requests, "rb") as asked, open(answers, "wb") as told:  # noqa: PTH123 - pipes
            serve(asked, told)
    except BrokenPipeError:
        sys.exit(1)  # the driver is gone


if __name__ == "__main__":
    main()
