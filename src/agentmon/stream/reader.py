"""The process that reads: fetches messages, parses them, and hands their rows to the driver (stream/reading.py).

python -m agentmon.stream.reader SOCKET      (an open file descriptor)
"""

from __future__ import annotations

import select
import signal
import socket
import sys
import traceback

from agentmon.errors import AgentmonError
from agentmon.live.fetcher import Fetcher
from agentmon.settings import Settings
from agentmon.stream.handover import receive, send
from agentmon.stream.parse import Parser, as_messages
from agentmon.stream.reading import Piece, Request, Start


def serve(driver: socket.socket) -> None:
    """Answer requests until there are no more: the driver has ended the conversation, or is gone."""
    fetcher: Fetcher | None = None
    while True:
        try:
            asked: Start | Request = receive(driver)[0]
        except EOFError:
            break
        if isinstance(asked, Start):
            if fetcher is not None:
                fetcher.close()
            settings, fetcher = asked.settings, Fetcher(asked.settings, asked.offsets, asked.most)
        else:
            assert fetcher is not None  # the first one is a Start
            _answer(asked, settings, fetcher, driver)
    if fetcher is not None:
        fetcher.close()


def _answer(request: Request, settings: Settings, fetcher: Fetcher, driver: socket.socket) -> None:
    try:
        fetched = fetcher.read(request.ends, lambda: _is_over(driver))
        parser = Parser.of(settings, request.topic_ids, request.ingest_time)
        rows = {name: table for name, table in parser.parse(as_messages(fetched.messages)).items() if table.num_rows}
        send(driver, Piece(dict(fetcher.position), tuple(rows), fetched.is_full), list(rows.values()))
    except AgentmonError as error:
        send(driver, error)
    except Exception as error:  # noqa: BLE001 - the driver says it, and starts anew
        if settings.log_level == "DEBUG":
            traceback.print_exc()
        send(driver, RuntimeError(f"reading failed: {error}"))


def _is_over(driver: socket.socket) -> bool:
    """Whether it has ended the conversation: it asks for nothing else while it waits for an answer."""
    return bool(select.select([driver], [], [], 0)[0])


def main() -> None:
    # A service manager that stops all of a job's processes means the driver: it ends the conversation when it has all.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with socket.socket(fileno=int(sys.argv[1])) as driver:
            serve(driver)
    except (BrokenPipeError, ConnectionResetError):
        sys.exit(1)  # the driver is gone


if __name__ == "__main__":
    main()
