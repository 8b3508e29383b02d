"""The thread that brings what the outbox holds to Kafka: in order, a window at a time, whatever happens to Kafka."""

from __future__ import annotations

import logging
import multiprocessing
import multiprocessing.util
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from agentmon.errors import KafkaUnreachable
from agentmon.publish import lifetime
from agentmon.publish.outbox import Outbox, Source
from agentmon.publish.record import Record
from agentmon.settings import Settings

if TYPE_CHECKING:
    from agentmon.publish.kafka import Link

log = logging.getLogger("agentmon.publish")

#: Messages, and bytes of them, that are on their way at a time.
_WINDOW = 4_000
_WINDOW_BYTES = 4 * 1024 * 1024
#: The agent's threads get their turn after so many.
_AT_ONCE = 10
#: Windows filled in one turn at the most: other duties wait for its end.
_ROUNDS = 50
_IDLE_S = 0.5
_RETRY_S = (0.2, 5.0)
_ADOPT_S = 30.0


@dataclass(slots=True)
class _Sent:
    source: Source
    record: Record
    future: Any  # None: to be sent (again)


class Delivery:
    """An outbox and its thread. Starts at the first message, ends with `close`, begins anew after a fork."""

    def __init__(
        self,
        settings: Settings,
        outbox: Outbox,
        every: Callable[[], None] | None = None,
        on_fork: Callable[[], None] = lambda: None,
    ) -> None:
        self._settings = settings
        self.outbox = outbox
        self._every = every
        self._on_fork = on_fork
        self._begin()
        lifetime.everybody.add(self)

    def _begin(self) -> None:
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._starting = threading.Lock()
        self._stopping = self._hurry = False
        self._ends_at = float("inf")
        self._link: Link | None = None
        self._window: deque[_Sent] = deque()
        self._window_bytes = 0
        self._read_to: dict[Source, int] = {}
        self._retry_at, self._retry_s = 0.0, _RETRY_S[0]
        self._adopt_at = self._every_at = 0.0
        self._told: str | None = None
        self._reported = 0

    @property
    def exit_wait_s(self) -> float:
        """How long the end of the process may wait for Kafka, seconds."""
        return self._settings.exit_wait_s

    def wake(self) -> None:
        """There is something to send. Costs a microsecond; starts the thread where there is none."""
        if self._thread is None:
            self.start()
        if not self._wake.is_set():
            self._wake.set()

    def start(self) -> None:
        """Start the thread, once."""
        with self._starting:
            if self._thread is not None:
                return
            self._stopping = False
            self._ends_at = float("inf")
            thread = threading.Thread(target=self._run, name="agentmon-publish", daemon=True)
            lifetime.running.add(self)
            if multiprocessing.parent_process() is not None:
                # Children of multiprocessing end without atexit.
                multiprocessing.util.Finalize(self, self.close, exitpriority=10)
            self._every_at = time.monotonic() + self._settings.metrics_interval_s
            try:
                thread.start()
            except RuntimeError:  # the interpreter is ending: the next process sends it
                return
            self._thread = thread

    def flush(self, timeout_s: float, *, even_if_away: bool = True) -> bool:
        """Wait until Kafka has all that was accepted before; whether it has."""
        marks = [(source, source.written) for source in self.outbox.sources()]
        if all(source.acked >= place for source, place in marks):
            return True
        end = time.monotonic() + timeout_s
        self._hurry = True
        try:
            self.wake()
            while any(source.acked < place for source, place in marks):
                thread = self._thread
                if time.monotonic() > end or thread is None or not thread.is_alive():
                    return False
                is_away = self._told is not None and (self._link is None or not self._link.is_open)
                if is_away and not even_if_away:
                    return False
                time.sleep(0.002)
                self._wake.set()
            return True
        finally:
            self._hurry = False

    def close(self, timeout_s: float | None = None) -> bool:
        """Flush, end the thread and leave the rest on disk; whether Kafka has everything."""
        lifetime.running.discard(self)
        self._report(at_the_end=True)
        thread = self._thread
        wait_s = self.exit_wait_s if timeout_s is None else timeout_s
        done = not thread or self.flush(wait_s, even_if_away=False)
        self._stopping = True
        self._wake.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(1.0)
        self._say_rest()
        if thread is None or not thread.is_alive():
            # Else it hangs in a connection, and sees that it is to end once that is over.
            self._thread = None
            self.outbox.close()
        return done

    def retire(self) -> None:
        """Nobody publishes here any more: send what is left and end, without anybody waiting."""
        self._ends_at = time.monotonic() + self._settings.exit_wait_s
        self._wake.set()

    def hold(self) -> None:
        """Before a fork: no message is half written when the child begins."""
        self.outbox.lock.acquire()

    def let_go(self) -> None:
        """After it, in the parent."""
        self.outbox.lock.release()

    def after_fork(self) -> Any:
        """In the child: nothing of the parent's is ours. What must not be collected there is returned."""
        kept = (self._link, self._link.abandon() if self._link else None, self._window)
        lifetime.running.discard(self)
        self.outbox.forget()
        self._on_fork()
        self._begin()
        return kept

    def _run(self) -> None:
        try:
            self._adopt_at = 0.0
            while not self._stopping:
                self._wake.clear()
                self._turn()
                if time.monotonic() > self._ends_at or (self._ends_at < float("inf") and self.outbox.is_empty()):
                    break
                self._rest()
        finally:
            if self._link is not None:
                self._link.close()
            if self._ends_at < float("inf"):
                lifetime.running.discard(self)
                self.outbox.close()

    def _turn(self) -> None:
        """One look at everything. Never raises: this thread is the only one that there is."""
        now = time.monotonic()
        try:
            if now >= self._adopt_at:
                self._adopt_at = now + _ADOPT_S
                self._adopt()
            if now >= self._every_at:
                self._every_at = now + self._settings.metrics_interval_s
                self._report()
            if now >= self._retry_at and (self._window or not self.outbox.is_empty()):
                self._work()
        except KafkaUnreachable as error:
            self._wait(str(error))
        except OSError as error:
            self._wait(f"messages can't be read back ({error})")
        except Exception as error:
            self._wait(f"sending failed ({type(error).__name__}: {error})")
            log.debug("sending failed", exc_info=True)

    def _report(self, at_the_end: bool = False) -> None:
        """Have the process reported; at its end only if something has happened since."""
        if self._every is None or (at_the_end and self.outbox.stats().accepted == self._reported):
            return
        try:
            self._every()
        except Exception:
            log.debug("no report", exc_info=True)
        self._reported = self.outbox.stats().accepted

    def _adopt(self) -> None:
        found = self.outbox.adopt()
        if found:
            log.info("%d bytes of messages that an earlier process left in %s are sent now", found, self.outbox.root)

    def _work(self) -> None:
        if self._link is None:
            with lifetime.loading():
                from agentmon.publish.kafka import Link  # takes half a second: not the agent's

                self._link = Link(self._settings)
        if not self._link.is_open:
            self._link.open()
            lifetime.be_first_at_exit()  # the client has an exit handler too, which would close it before our last flush
        for sent in self._window:
            if sent.future is None:
                sent.future = self._link.send(sent.record)
        for _ in range(_ROUNDS):
            more = self._hand_over(self._link)
            self._settle()
            if not more or self._stopping:
                break
        if self._told is not None and not self._window:
            log.warning("Kafka takes messages again, nothing waits any more")
            self._told = None
        self._retry_s = _RETRY_S[0]

    def _hand_over(self, link: Link) -> bool:
        """Send what there is room for in the window; whether there may be more right now."""
        for source in self.outbox.sources():
            room = _WINDOW - len(self._window) if self._window_bytes < _WINDOW_BYTES else 0
            try:
                records = list(islice(source.read(self._read_to.get(source, source.acked)), room))
            except FileNotFoundError:
                lost = self.outbox.give_up(source)
                log.warning("%s was deleted: %d messages that waited there are lost", self.outbox.root, lost)
                continue
            if records:
                self._send(link, source, records)
                return True
        return False

    def _send(self, link: Link, source: Source, records: list[Record]) -> None:
        source.hand_over(records[-1].end)
        for number, record in enumerate(records, 1):
            sent = _Sent(source, record, None)
            self._window.append(sent)
            self._window_bytes += len(record.value)
            self._read_to[source] = record.end
            refused = link.have_topic(record.topic)
            sent.future = _refused(refused) if refused else link.send(record)
            if number % _AT_ONCE == 0:
                time.sleep(0)

    def _settle(self) -> None:
        """Count what Kafka has answered, in order."""
        from agentmon.publish.kafka import refusal

        while self._window:
            source, place, done, refused = self._window[0].source, 0, 0, 0
            error: Exception | None = None
            while self._window and self._window[0].source is source and _is_done(self._window[0]):
                is_final, error = refusal(self._window[0].future)
                if error is not None and not is_final:
                    break
                sent = self._window.popleft()
                self._window_bytes -= len(sent.record.value)
                place = sent.record.end
                if error is None:
                    done += 1
                else:
                    refused += 1
                    log.warning("Kafka refuses a message to %s, it is dropped: %s", sent.record.topic, error)
            if place:
                self.outbox.settle(source, place, done, refused)
            if error is not None:
                self._break(error)
            if not place:
                return

    def _break(self, error: Exception) -> None:
        """The client gave a message up. Once it has answered for all others: a new client, and again from there."""
        if not all(sent.future is None or sent.future.is_done for sent in self._window):
            return
        from agentmon.publish.kafka import refusal

        assert self._link is not None
        self._link.close()
        for sent in self._window:
            if sent.future is not None and refusal(sent.future)[1] is not None:
                sent.record.maybe_repeat = True
                sent.future = None
        raise KafkaUnreachable(f"Kafka did not take messages in time ({type(error).__name__})")

    def _wait(self, reason: str) -> None:
        self._retry_at = time.monotonic() + self._retry_s
        self._retry_s = min(self._retry_s * 2, _RETRY_S[1])
        if self._told is None:
            self._told = reason
            log.warning("%s; messages are kept in %s until then", reason, self.outbox.root)

    def _rest(self) -> None:
        """Until there is something to do: an answer of Kafka's, or new messages, gathered for a moment."""
        linger = 0.002 if self._hurry else self._settings.linger_s
        if self._window or self._wake.wait(_IDLE_S):
            time.sleep(linger)

    def _say_rest(self) -> None:
        stats = self.outbox.stats()
        kept = stats.spilled - stats.in_memory
        told = [f"{kept} messages wait in {self.outbox.root}: the next publisher there sends them"] if kept else []
        if stats.in_memory:
            told.append(f"{stats.in_memory} messages were in memory only and are lost ({self.outbox.trouble})")
        if stats.dropped:
            told.append(f"{stats.dropped} messages were dropped (no room left, or refused by Kafka)")
        if told:
            log.warning("%s", "; ".join(told))


def _is_done(sent: _Sent) -> bool:
    return sent.future is not None and bool(sent.future.is_done)


def _refused(reason: str) -> Any:
    from kafka.errors import InvalidTopicError

    from agentmon.publish.kafka import Refused

    return Refused(InvalidTopicError(reason))
