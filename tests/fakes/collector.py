"""Collector: an OTLP/HTTP receiver on loopback that keeps what it is told. Not of the provider."""

from __future__ import annotations

import gzip
import json
import sys
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

_KINDS: dict[str, Any] = {
    "/v1/traces": ExportTraceServiceRequest,
    "/v1/metrics": ExportMetricsServiceRequest,
    "/v1/logs": ExportLogsServiceRequest,
}


@dataclass(frozen=True)
class Told:
    """A span, an event or a metric's series as it arrived; ids as hex, empty for none.

    ``value``: a counter's sum, or a histogram's.
    """

    name: str
    attributes: dict[str, Any]
    resource: dict[str, Any]
    trace_id: str = ""
    span_id: str = ""
    parent_id: str = ""
    links: tuple[str, ...] = ()
    value: float = 0.0


class FakeCollector:
    """An OTLP/HTTP receiver; use it as a context manager. ``url``: its base.

    keep: whether what arrives is remembered.
    """

    def __init__(self, *, keep: bool = True) -> None:
        self._keep = keep
        self._arrived = threading.Condition()
        self._requests: list[tuple[str, Any]] = []
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    raw = gzip.decompress(raw)
                collector._take(self.path, raw)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its name
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _take(self, path: str, raw: bytes) -> None:
        request = _KINDS[path].FromString(raw)
        with self._arrived:
            if self._keep:
                self._requests.append((path, request))
            self._arrived.notify_all()

    def wait_for_span(self, name: str, timeout_s: float = 30.0) -> None:
        """Block until a span of that name has arrived. Raises TimeoutError."""
        with self._arrived:
            if not self._arrived.wait_for(lambda: self._has(name), timeout_s):
                raise TimeoutError(f"No span {name!r} within {timeout_s} s.")

    def _has(self, name: str) -> bool:
        return any(span.name == name for span in self.spans())

    def spans(self) -> list[Told]:
        """Every span so far."""
        return [
            Told(
                span.name,
                _dict(span.attributes),
                _dict(of_resource.resource.attributes),
                span.trace_id.hex(),
                span.span_id.hex(),
                span.parent_span_id.hex(),
                tuple(link.span_id.hex() for link in span.links),
            )
            for path, request in tuple(self._requests)
            if path == "/v1/traces"
            for of_resource in request.resource_spans
            for of_scope in of_resource.scope_spans
            for span in of_scope.spans
        ]

    def events(self) -> list[Told]:
        """Every event so far."""
        return [
            Told(
                record.event_name,
                _dict(record.attributes),
                _dict(of_resource.resource.attributes),
                record.trace_id.hex(),
                record.span_id.hex(),
            )
            for path, request in tuple(self._requests)
            if path == "/v1/logs"
            for of_resource in request.resource_logs
            for of_scope in of_resource.scope_logs
            for record in of_scope.log_records
        ]

    def series(self, metric: str) -> list[Told]:
        """A metric's series, of each process as it was told last."""
        newest: dict[tuple[Any, ...], Told] = {}
        for path, request in tuple(self._requests):
            if path != "/v1/metrics":
                continue
            for of_resource in request.resource_metrics:
                resource = _dict(of_resource.resource.attributes)
                for of_scope in of_resource.scope_metrics:
                    for each in of_scope.metrics:
                        for told in _series(each, resource) if each.name == metric else ():
                            labels = tuple(sorted(told.attributes.items()))
                            newest[resource["service.instance.id"], labels] = told
        return list(newest.values())


def _series(metric: Any, resource: dict[str, Any]) -> list[Told]:
    if metric.HasField("histogram"):
        points = [(point, point.sum) for point in metric.histogram.data_points]
    else:
        points = [(point, point.as_double or point.as_int) for point in metric.sum.data_points]
    return [
        Told(metric.name, _dict(point.attributes), resource, value=value) for point, value in points
    ]


def _dict(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    if kind == "kvlist_value":
        return _dict(value.kvlist_value.values)
    return getattr(value, kind) if kind else None


def main() -> None:
    """Run as a process of its own until standard input closes; print ``{"base_url": ...}``."""
    with FakeCollector(keep=False) as collector:
        sys.stdout.write(json.dumps({"base_url": collector.url}) + "\n")
        sys.stdout.flush()
        sys.stdin.buffer.read()


if __name__ == "__main__":
    main()
