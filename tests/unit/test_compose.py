"""docker-compose.yml: what can be known of it without Docker. Its commands are run in tests/e2e/test_cluster.py."""

from __future__ import annotations

import json
import re
import tomllib
from typing import Any

import jsonschema
import pytest
import yaml

from agentmon import __version__
from agentmon.settings import Settings, project_root

ROOT = project_root()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "docker" / "Dockerfile").read_text()
PINNED = re.compile(r"[a-z0-9./-]+:[0-9]+\.[0-9]+\.[0-9]+[a-z0-9.-]*")


def one_shots() -> set[str]:
    """Services that end by themselves: somebody waits for their end, or `up --wait` would call it a failure."""
    return {
        name
        for service in SERVICES.values()
        for name, wanted in service.get("depends_on", {}).items()
        if wanted["condition"] == "service_completed_successfully"
    }


def test_it_keeps_to_the_compose_specification() -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(COMPOSE)


def test_the_schema_would_object() -> None:
    schema = json.loads((ROOT / "tests" / "data" / "compose-spec.json").read_text())
    broken = {**COMPOSE, "services": {"kafka": {"imagge": "apache/kafka:4.1.0"}}}
    assert not jsonschema.Draft7Validator(schema).is_valid(broken)


def test_images_are_pinned_to_a_release() -> None:
    images = [service["image"] for service in SERVICES.values()]
    images += re.findall(r"(?m)^FROM (\S+)", DOCKERFILE)
    assert [image for image in images if not PINNED.fullmatch(image)] == []


def test_versions_are_those_of_pyproject() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert SERVICES["kafka"]["image"] == f"apache/kafka:{project['tool']['agentmon']['kafka-broker']}"
    ours = {service["image"] for name, service in SERVICES.items() if name != "kafka"}
    assert ours == {f"agentmon-stream:{__version__}"}


def test_our_image_is_built_once_by_whoever_comes_first() -> None:
    [builder] = [name for name, service in SERVICES.items() if "build" in service]
    build = SERVICES[builder]["build"]
    assert (ROOT / build["context"] / build["dockerfile"]).is_file()
    assert builder in SERVICES["job"]["depends_on"]
    assert "make setup" in DOCKERFILE


def test_the_job_is_submitted_as_anywhere() -> None:
    script, *flags, job = SERVICES["job"]["command"]
    assert (ROOT / script).is_file()
    assert (ROOT / job).is_file()
    assert flags == ["--master", SERVICES["spark-worker"]["command"][-1]]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_has_a_health_check(name: str) -> None:
    if name in one_shots():
        assert SERVICES[name]["restart"] == "no"
    else:
        assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


def test_nobody_waits_for_a_service_that_is_not_there() -> None:
    for service in SERVICES.values():
        for name, wanted in service.get("depends_on", {}).items():
            assert "healthcheck" in SERVICES[name] or wanted["condition"] != "service_healthy"


def test_ports_are_this_machines_own_and_nobody_elses() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert all(port.startswith("127.0.0.1:") for port in published)
    taken = [int(port.split(":")[1]) for port in published]
    pages = [int(page) for page in re.findall(r'"--webui-port", "(\d+)"', (ROOT / "docker-compose.yml").read_text())]
    gateway = Settings().frontend_api_port
    assert len(set(taken)) == len(taken)
    assert len(pages) == 2
    assert gateway not in [*taken, *pages]


def test_every_volume_is_declared_and_used() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert mounted == set(COMPOSE["volumes"])


def test_driver_and_executors_see_the_same_lake() -> None:
    homes = [
        (SERVICES[name]["volumes"], SERVICES[name]["environment"]["AGENTMON_HOME"]) for name in ("job", "spark-worker")
    ]
    assert homes[0] == homes[1]
    assert homes[0][0] == [f"agentmon-home:{homes[0][1]}"]


def test_clients_find_a_listener_of_the_broker() -> None:
    kafka = SERVICES["kafka"]["environment"]
    listeners = dict(one.split("://") for one in kafka["KAFKA_ADVERTISED_LISTENERS"].split(","))
    assert listeners["SERVICES"] == SERVICES["job"]["environment"]["KAFKA_BOOTSTRAP_SERVERS"]
    assert listeners["HOST"] == "localhost:9092"
    assert "127.0.0.1:9092:9092" in SERVICES["kafka"]["ports"]
