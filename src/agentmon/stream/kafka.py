"""What the job asks Kafka besides its messages: who the topics are, where they begin and end, and its group's place."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping

from agentmon.contracts.topics import Place, is_read
from agentmon.errors import IncarnationError, KafkaUnreachable
from agentmon.live import offsets as kafka_offsets
from agentmon.live.client import Connection
from agentmon.live.topics import describe
from agentmon.settings import Settings

log = logging.getLogger(__name__)


class KafkaView:
    """The topics that the job reads, through one connection that stays open.

    Once a topic's id is known it may not change under the running job.
    """

    def __init__(self, settings: Settings) -> None:
        self._connection = Connection(settings)
        self._group = settings.kafka_group_id
        self._lock = threading.Lock()
        self._known: dict[str, str] = {}
        self._partitions: dict[str, int] = {}

    def forget(self) -> None:
        """Take the topics as they are now; the job compares them with the ledger next."""
        with self._lock:
            self._known = {}

    def expect(self, ids: Mapping[str, str]) -> None:
        """Topics that are not there now, by the ids under which alone they may come back."""
        with self._lock:
            self._known.update(ids)

    def topic_ids(self) -> tuple[str, dict[str, str]]:
        """(cluster id, topic → id) of the topics that the job reads.

        Raises IncarnationError when one of them was made anew since it was first seen.
        """
        view = describe(self._connection)
        ids = {name: topic.topic_id for name, topic in view.topics.items() if is_read(name)}
        with self._lock:
            changed = sorted(name for name, topic_id in ids.items() if self._known.get(name, topic_id) != topic_id)
            if changed:
                raise IncarnationError(f"{', '.join(changed)} was deleted and made anew while the job was running")
            self._known.update(ids)
            self._partitions = {name: view.topics[name].partitions for name in ids}
        return view.cluster_id, ids

    def offsets(self) -> dict[Place, tuple[int, int]]:
        """(beginning, end) of every partition of these topics."""
        self.topic_ids()
        return kafka_offsets.beginning_and_end(self._connection, self._partitions)

    def commit(self, position: Mapping[Place, int]) -> None:
        """Note the job's place under its group, for Kafka's own tools. Only told, never read: a failure is logged."""
        try:
            kafka_offsets.commit_group(self._connection, self._group, position)
        except KafkaUnreachable as error:
            log.warning("the group's offsets were not noted: %s", error)

    def close(self) -> None:
        self._connection.close()
