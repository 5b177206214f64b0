# SPDX-License-Identifier: MIT
"""`/healthz` and `/metrics` over HTTP, in threads of their own.

The metrics are in the text form of Prometheus, by the library `prometheus-client`, of the extra
`serve`.
"""

import logging
import socket
import sys
import threading
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

from recorder.errors import FileError
from recorder.server.meters import BUCKETS, METERS, Meter, Readings

_LOG: Final = logging.getLogger("recorder")
_PATIENCE_SECONDS: Final = 5.0  # for a request
_PREFIX: Final = "recorder_"


class HttpServer(ThreadingHTTPServer):
    """Answers GET and HEAD of `/healthz` and `/metrics`.

    - `is_well`: whether the server does its work; else `/healthz` answers 503.
    - `readings`: what `/metrics` shows. Both are called in threads of this server.

    FileError when nothing can listen there.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(
        self,
        host: str,
        port: int,
        *,
        is_well: Callable[[], bool],
        readings: Callable[[], Readings],
    ) -> None:
        if ":" in host:
            self.address_family = socket.AF_INET6
        self.is_well = is_well
        self.readings = readings
        try:
            super().__init__((host, port), _Handler)
        except OSError as error:
            raise FileError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error

    def start(self) -> None:
        """Serve until `shutdown`."""
        threading.Thread(target=self.serve_forever, name="recorder-http", daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong, but for a peer that is gone before its answer."""
        del request
        if not isinstance(sys.exception(), ConnectionError):
            _LOG.exception("%s: its request failed", client_address)


class _Handler(BaseHTTPRequestHandler):
    server: HttpServer
    protocol_version = "HTTP/1.1"
    timeout = _PATIENCE_SECONDS

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/healthz":
            is_well = self.server.is_well()
            self._answer(200 if is_well else 503, b"ok\n" if is_well else b"stalled\n")
        elif path == "/metrics":
            page = generate_latest(_Collected(self.server.readings()))
            self._answer(200, page, CONTENT_TYPE_LATEST)
        else:
            self._answer(404, b"expected /healthz or /metrics\n")

    do_HEAD = do_GET  # noqa: N815 - named by the library

    def _answer(self, status: int, body: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Be quiet: standard error is for what goes wrong."""


class _Collected:
    """Readings as a collector of `prometheus_client`."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Metric]:
        for name, meter in METERS.items():
            found = {
                key[1:]: value for key, value in self._readings.values.items() if key[0] == name
            }
            yield _family(_PREFIX + name, meter, found)


def _family(name: str, meter: Meter, found: dict[tuple[str, ...], float]) -> Metric:
    if meter.kind == "histogram":
        total, buckets = 0.0, []
        for number, limit in enumerate([*map(str, BUCKETS), "+Inf"]):
            total += found.get((str(number),), 0)
            buckets.append((limit, total))
        return HistogramMetricFamily(name, meter.what, buckets, sum_value=found.get(("sum",), 0))
    kind = CounterMetricFamily if meter.kind == "counter" else GaugeMetricFamily
    family = kind(name, meter.what, labels=meter.labels)
    if not meter.labels:
        found.setdefault((), 0)
    for labels, value in sorted(found.items()):
        family.add_metric(labels, value)
    return family
