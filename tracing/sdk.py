"""SDK: what this process exports with, where it has nothing of its own and is told to.

A process that has set up any part of OpenTelemetry's SDK is left alone. A dead collector costs
telemetry, never a step's time, and less than two seconds when the process ends.
"""

import atexit
import logging
import os
import threading
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, TypeAlias

from opentelemetry import _logs, metrics, trace

from ..telemetry_settings import TelemetrySettings

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource

_LOG = logging.getLogger("tierflow")

_LAST_S = 1.5
"""How long a process that ends waits for what is left to be exported; the rest is lost."""

_EXPORT_S = 2.0
"""How long one export may take."""

_EVERY_MS = 1000.0
"""How often spans and events are exported; a worker that is killed has lost no more."""

Signal: TypeAlias = Literal["traces", "metrics", "logs"]
_SIGNALS: tuple[Signal, ...] = ("traces", "metrics", "logs")
_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def set_up(telemetry: TelemetrySettings) -> None:
    """Export traces, metrics and logs by OTLP/HTTP, if the settings or OTEL_* variables say where.

    Does nothing in a process with an SDK of its own, and nothing the second time. Raises
    ImportError where `otlp_endpoint` is set and the exporter is missing.
    """
    if telemetry.export:
        _set_up(telemetry.otlp_endpoint, os.getpid())


@lru_cache(maxsize=8)
def _set_up(endpoint: str | None, _pid: int) -> None:
    with _setting_up:
        if not _is_asked(endpoint) or _has_its_own():
            return
        try:
            from .sdk_providers import provide  # noqa: PLC0415  # takes 0.2 s to import
        except ImportError as exc:
            missing = 'Exporting telemetry needs its exporter: pip install "tierflow[otlp]"'
            if endpoint is not None:
                raise ImportError(missing) from exc
            # The variable may be meant for others.
            _LOG.warning(
                "%s. An OTEL_EXPORTER_OTLP_* endpoint is set, nothing is exported.", missing
            )
            return
        signals = [each for each in _SIGNALS if _wants(each, endpoint)]
        _flusher.begin(provide(signals, endpoint, _resource(), _EVERY_MS, _EXPORT_S))


def flush_soon() -> None:
    """Have what this process set up exported now. Returns at once."""
    _flusher.soon()


def _is_asked(endpoint: str | None) -> bool:
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    if endpoint is not None:
        return True
    if os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "").strip() == "grpc":
        return False  # what listens there does not understand us
    return any(_wants(each, None) for each in _SIGNALS)


def _wants(signal: Signal, endpoint: str | None) -> bool:
    """Tell whether there is anywhere to send a signal: many backends take traces alone."""
    if os.environ.get(f"OTEL_{signal.upper()}_EXPORTER", "").strip() == "none":
        return False
    of_signal = f"OTEL_EXPORTER_OTLP_{signal.upper()}_ENDPOINT"
    return bool(endpoint or os.environ.get(_ENDPOINT) or os.environ.get(of_signal))


def _has_its_own() -> bool:
    from opentelemetry._logs._internal import ProxyLoggerProvider  # noqa: PLC0415
    from opentelemetry.metrics._internal import (  # noqa: PLC0415
        _ProxyMeterProvider,  # pyright: ignore[reportPrivateUsage]  # there is no other way to tell
    )

    return not (
        isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
        and isinstance(metrics.get_meter_provider(), _ProxyMeterProvider)
        and isinstance(_logs.get_logger_provider(), ProxyLoggerProvider)
    )


def _resource() -> "Resource":
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415  # only where it is needed

    # One an OS process: counters of two under one id would be taken for one that jumps.
    said = Resource({"service.instance.id": str(uuid.uuid4())}).merge(Resource.create())
    is_named = not str(said.attributes.get("service.name", "")).startswith("unknown_service")
    return said if is_named else said.merge(Resource({"service.name": "tierflow"}))


class _Flusher:
    """Exports what is left when asked, in a thread of its own that nobody waits for long."""

    def __init__(self) -> None:
        self._flushes: Sequence[Callable[[], object]] = ()
        self._asked = threading.Condition()
        self._wanted = self._done = 0

    def begin(self, flushes: Sequence[Callable[[], object]]) -> None:
        """Take charge of these from now on."""
        self._flushes = flushes
        self._start()
        atexit.register(self._last)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._start_again)

    def soon(self) -> int:
        """Ask for a flush; return its number."""
        with self._asked:
            self._wanted += 1
            self._asked.notify_all()
            return self._wanted

    def _start(self) -> None:
        # A thread that stands ready: none can be started while the interpreter ends.
        threading.Thread(target=self._work, name="tierflow-telemetry", daemon=True).start()

    def _start_again(self) -> None:
        self._asked, self._wanted, self._done = threading.Condition(), 0, 0
        self._start()

    def _work(self) -> None:
        while True:
            with self._asked:
                self._asked.wait_for(lambda: self._wanted > self._done)
                number = self._wanted
            for flush in self._flushes:
                try:
                    flush()
                except Exception as error:  # noqa: BLE001  # the others, and the next time, go on
                    _LOG.warning("Telemetry could not be exported: %s", type(error).__name__)
            with self._asked:
                self._done = number
                self._asked.notify_all()

    def _last(self) -> None:
        number = self.soon()
        with self._asked:
            self._asked.wait_for(lambda: self._done >= number, _LAST_S)


_flusher = _Flusher()
_setting_up = threading.Lock()
