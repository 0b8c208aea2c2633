"""GenAI handler: opentelemetry-util-genai's, told what it would not be told otherwise.

Where content goes is a setting here, not only a variable. By itself it takes every model for a
remote one, and says that it follows the conventions of 1.37, whatever it emits.
"""

from typing import Any

from opentelemetry import _logs, metrics, trace
from opentelemetry.context import Context
from opentelemetry.util.genai.handler import TelemetryHandler
from opentelemetry.util.genai.types import ContentCapturingMode
from opentelemetry.util.types import Attributes

from . import names
from .tracers import ChangingTracer, in_this_process


class Handler(TelemetryHandler):
    """Opens invocations. `in_process`: of models that run here, whose spans are INTERNAL."""

    def __init__(self, mode: ContentCapturingMode, *, in_process: bool, schema_url: str) -> None:
        super().__init__(
            _Tracers(in_process, schema_url),
            _Meters(schema_url),
            _Loggers(schema_url),
            instrumentation_scope_name=names.SCOPE,
        )
        self._content_capturing_mode = mode
        instruments: Any = self._instruments
        instruments.token_usage = _WithoutErrors(instruments.token_usage)


class _WithoutErrors:
    """A histogram of all calls, be they broken off or not: the conventions want no error there."""

    def __init__(self, histogram: metrics.Histogram) -> None:
        self._histogram = histogram

    def record(
        self, amount: float, attributes: Attributes = None, context: Context | None = None
    ) -> None:
        kept = {key: said for key, said in (attributes or {}).items() if key != names.ERROR_TYPE}
        self._histogram.record(amount, kept, context)


class _Tracers(trace.TracerProvider):
    def __init__(self, in_process: bool, schema_url: str) -> None:
        self._in_process, self._schema_url = in_process, schema_url

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,  # noqa: ARG002  # ours is said
        attributes: Attributes = None,
    ) -> trace.Tracer:
        tracer = trace.get_tracer(
            instrumenting_module_name,
            instrumenting_library_version,
            schema_url=self._schema_url,
            attributes=attributes,
        )
        return ChangingTracer(tracer, in_this_process) if self._in_process else tracer


class _Meters(metrics.MeterProvider):
    def __init__(self, schema_url: str) -> None:
        self._schema_url = schema_url

    def get_meter(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,  # noqa: ARG002  # ours is said
        attributes: Attributes = None,
    ) -> metrics.Meter:
        return metrics.get_meter(
            name, version or "", schema_url=self._schema_url, attributes=attributes
        )


class _Loggers(_logs.LoggerProvider):
    def __init__(self, schema_url: str) -> None:
        self._schema_url = schema_url

    def get_logger(
        self,
        name: str,
        version: str | None = None,
        schema_url: str | None = None,  # noqa: ARG002  # ours is said
        attributes: Any = None,
    ) -> _logs.Logger:
        return _logs.get_logger(
            name, version or "", schema_url=self._schema_url, attributes=attributes
        )
