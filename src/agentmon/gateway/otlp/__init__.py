"""OTLP/HTTP: what instrumented agents export, as messages of agent.*"""
