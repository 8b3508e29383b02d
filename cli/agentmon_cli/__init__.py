"""The command line: asking in src/agentmon, rendering here."""
