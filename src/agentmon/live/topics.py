"""The topics of conf/topics.json: make the missing ones, say where the others differ, and tell who is who."""

from __future__ import annotations

import base64
import json
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import TopicAlreadyExistsError

from agentmon.errors import SettingError
from agentmon.live.client import Connection
from agentmon.settings import project_root


@dataclass(frozen=True)
class TopicSpec:
    """A topic as conf/topics.json wants it."""

    name: str
    partitions: int
    replication_factor: int
    configs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TopicView:
    """A topic as Kafka has it; the id tells two incarnations of one name apart."""

    name: str
    topic_id: str
    partitions: int


@dataclass(frozen=True)
class ClusterView:
    """Which Kafka this is and which topics it has, its internal ones left out."""

    cluster_id: str
    topics: dict[str, TopicView]


@dataclass(frozen=True)
class TopicReport:
    """What became of a wanted topic: made just now, or where Kafka's differs from the wanted one."""

    spec: TopicSpec
    created: bool
    drift: tuple[str, ...]


def topics_file() -> Path:
    """Where the wanted topics are written."""
    return project_root() / "conf" / "topics.json"


def wanted_topics(path: Path | None = None) -> list[TopicSpec]:
    """The topics of conf/topics.json. Raises SettingError where it can't be read."""
    path = path or topics_file()
    try:
        topics = json.loads(path.read_text())
        return [
            TopicSpec(name, int(t["partitions"]), int(t["replication_factor"]), dict(t.get("configs", {})))
            for name, t in topics.items()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(f"{path} can't be read as topics ({error}): restore it with git checkout") from error


def describe(connection: Connection) -> ClusterView:
    """Kafka's own id and its topics, in two round trips."""
    cluster, topics = connection.ask(lambda client: (client.describe_cluster(), client.describe_topics()))
    views = (_view(topic) for topic in topics if not topic["is_internal"] and not topic["error_code"])
    return ClusterView(str(cluster["cluster_id"]), {view.name: view for view in views})


def ensure(connection: Connection, specs: list[TopicSpec]) -> list[TopicReport]:
    """Make the topics that are missing; of those that exist, say where they differ. Changes none of them."""
    there = {topic["name"]: topic for topic in connection.ask(lambda client: client.describe_topics())}
    missing = [spec for spec in specs if spec.name not in there]
    if missing:
        connection.ask(lambda client: _create(client, missing))
    existing = [spec for spec in specs if spec.name in there]
    configs = connection.ask(lambda client: _configs(client, [spec.name for spec in existing])) if existing else {}
    return [
        TopicReport(spec, created=True, drift=())
        if spec.name not in there
        else TopicReport(spec, created=False, drift=drift(spec, there[spec.name], configs.get(spec.name, {})))
        for spec in specs
    ]


def differences(connection: Connection, specs: list[TopicSpec]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """(topics that are missing, where each of the others differs); makes and changes none."""
    there = {topic["name"]: topic for topic in connection.ask(lambda client: client.describe_topics())}
    existing = [spec for spec in specs if spec.name in there]
    configs = connection.ask(lambda client: _configs(client, [spec.name for spec in existing])) if existing else {}
    drifted = {spec.name: drift(spec, there[spec.name], configs.get(spec.name, {})) for spec in existing}
    missing = [spec.name for spec in specs if spec.name not in there]
    return missing, {name: how for name, how in drifted.items() if how}


def drift(spec: TopicSpec, topic: dict[str, Any], configs: dict[str, str]) -> tuple[str, ...]:
    """Where a topic differs from what is wanted, one phrase for each difference."""
    partitions = topic["partitions"]
    replicas = len(partitions[0]["replica_nodes"]) if partitions else 0
    pairs = [
        ("partitions", str(len(partitions)), str(spec.partitions)),
        ("replication_factor", str(replicas), str(spec.replication_factor)),
        *((name, configs.get(name, "unset"), value) for name, value in spec.configs.items()),
    ]
    return tuple(f"{name} is {has}, not {wants}" for name, has, wants in pairs if has != wants)


def kafka_uuid(value: uuid.UUID) -> str:
    """A topic's id as Kafka's own tools write it.

    >>> kafka_uuid(uuid.UUID(int=1))
    'AAAAAAAAAAAAAAAAAAAAAQ'
    """
    return base64.urlsafe_b64encode(value.bytes).decode().rstrip("=")


def _view(topic: dict[str, Any]) -> TopicView:
    topic_id = topic["topic_id"]
    identity = topic_id if isinstance(topic_id, uuid.UUID) else uuid.UUID(str(topic_id))
    return TopicView(topic["name"], kafka_uuid(identity), len(topic["partitions"]))


def _create(client: KafkaAdminClient, specs: list[TopicSpec]) -> None:
    wanted = {
        spec.name: {
            "num_partitions": spec.partitions,
            "replication_factor": spec.replication_factor,
            "configs": spec.configs,
        }
        for spec in specs
    }
    try:
        client.create_topics(wanted, wait_for_metadata=True)
    except TopicAlreadyExistsError:
        # Somebody else made one of them just now, and Kafka has made the others.
        client.wait_for_topics(list(wanted))


def _configs(client: KafkaAdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    resources = [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
    described = client.describe_configs(resources, config_filter="all")
    return {
        name: {key: str(entry["value"]) for key, entry in configs.items()}
        for name, configs in described.get("topic", {}).items()
    }
