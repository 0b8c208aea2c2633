"""Tracers: wraps one that is not ours, to change where its spans begin. Opens none itself."""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanKind, Tracer, use_span
from opentelemetry.util.types import Attributes


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a span is about to begin. `context`: None for the current one."""

    context: Context | None
    kind: SpanKind
    links: Sequence[Link] | None


def in_this_process(beginning: Beginning) -> Beginning:
    """Begin the span as one of this process, whatever kind was asked for."""
    return replace(beginning, kind=SpanKind.INTERNAL)


class ChangingTracer(Tracer):
    """A tracer whose spans begin as `change` says."""

    def __init__(self, tracer: Tracer, change: Callable[[Beginning], Beginning]) -> None:
        self._tracer, self._change = tracer, change

    def start_span(  # noqa: PLR0917  # OpenTelemetry's
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
    ) -> Span:
        """Begin a span that is not the current one, as any tracer."""
        begun = self._change(Beginning(context, kind, links))
        return self._tracer.start_span(
            name,
            begun.context,
            begun.kind,
            attributes,
            begun.links,
            start_time,
            record_exception,
            set_status_on_exception,
        )

    @contextmanager
    def start_as_current_span(  # type: ignore[override]  # noqa: PLR0917  # OpenTelemetry's
        self,
        name: str,
        context: Context | None = None,
        kind: SpanKind = SpanKind.INTERNAL,
        attributes: Attributes = None,
        links: Sequence[Link] | None = None,
        start_time: int | None = None,
        record_exception: bool = True,
        set_status_on_exception: bool = True,
        end_on_exit: bool = True,
    ) -> Generator[Span]:
        """Begin a span that is the current one in the block, as any tracer."""
        span = self.start_span(name, context, kind, attributes, links, start_time)
        with use_span(span, end_on_exit, record_exception, set_status_on_exception):
            yield span
