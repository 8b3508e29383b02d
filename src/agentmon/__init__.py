"""agentmon: what AI agents do, think and learn, live from Kafka and for years in Delta tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from agentmon.publish.publisher import AgentStreamingPublisher

__all__ = ["AgentStreamingPublisher", "__version__"]

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Lazily: the command line imports this package too, and has no need of it.
    if name == "AgentStreamingPublisher":
        from agentmon.publish.publisher import AgentStreamingPublisher

        return AgentStreamingPublisher
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
