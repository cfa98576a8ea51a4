"""Figures for Prometheus; no label ever holds a title, a question or a key."""

from __future__ import annotations

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Counters and histograms of one server.

    Args:
        active: tells how many answers are being written.
        waiting: tells how many requests wait.
        draining: tells whether the server is stopping.
    """

    def __init__(
        self, active: Callable[[], float], waiting: Callable[[], float], draining: Callable[[], float]
    ) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        GCCollector(registry)
        names = ("method", "route", "status")
        self.requests = Counter("vectalk_requests", "Requests by address and status.", names, registry=registry)
        self.seconds = Histogram(
            "vectalk_request_seconds", "Time of a request.", ("route",), buckets=SECONDS, registry=registry
        )
        self.first_token = Histogram(
            "vectalk_first_token_seconds", "Time to the first text of an answer.", buckets=SECONDS, registry=registry
        )
        self.tokens = Counter("vectalk_tokens", "Tokens read and written.", ("kind",), registry=registry)
        self.answers = Counter("vectalk_answers", "Answers by how they ended.", ("reason",), registry=registry)
        self.gone = Counter("vectalk_clients_gone", "Clients that went away before the end.", registry=registry)
        for name, text, value in (
            ("vectalk_rows_active", "Answers that are being decoded.", active),
            ("vectalk_requests_waiting", "Requests that wait for a free row.", waiting),
            ("vectalk_draining", "1 while the server is stopping.", draining),
        ):
            Gauge(name, text, registry=registry).set_function(value)
        self.started = time.time()

    def text(self) -> bytes:
        """Return the figures in Prometheus' format."""
        return generate_latest(self.registry)
