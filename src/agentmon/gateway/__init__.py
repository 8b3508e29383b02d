"""The HTTP door: OpenTelemetry in."""
