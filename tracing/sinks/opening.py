"""Opening: the sinks that the settings name, each with a courier of its own."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import httpx

from ...evaluation_settings import SinkSettings
from ..evaluations import Evaluation
from .courier import Courier, close_all
from .langfuse import Langfuse
from .mlflow import MLflow
from .phoenix import Phoenix
from .sink import Sink

_LOG = logging.getLogger("tierflow")
_KINDS: Mapping[str, type[Sink]] = {"langfuse": Langfuse, "mlflow": MLflow, "phoenix": Phoenix}


@dataclass(frozen=True, slots=True)
class _Open:
    sink: Sink
    courier: Courier
    explanations: bool


class Sinks:
    """All that evaluations are sent to. Never raises, and nobody waits for it."""

    def __init__(self, open_: Sequence[_Open] = ()) -> None:
        self._open = tuple(open_)
        self._told_of_no_trace = False

    def send(self, evaluation: Evaluation) -> None:
        """Send an evaluation to all of them, in the background."""
        if not self._open:
            return
        trace_id, span_id = evaluation.trace_id, evaluation.span_id
        if trace_id is None or span_id is None:
            if not self._told_of_no_trace:
                self._told_of_no_trace = True
                _LOG.warning(
                    "An answer of %s has no trace, so its evaluations are in the ledger only. Set "
                    "up OpenTelemetry in the process that asks.",
                    evaluation.step,
                )
            return
        for each in self._open:
            explained = _encodable(evaluation.explanation) if each.explanations else None
            told = replace(evaluation, explanation=explained)
            each.courier.send(each.sink.post(told, trace_id, span_id))

    def close(self) -> None:
        """Send what waits, and give up what could not be sent in time; the next use goes on."""
        close_all([each.courier for each in self._open])


def _encodable(text: str | None) -> str | None:
    # Models send halves of characters, which no JSON takes.
    return None if text is None else text.encode(errors="replace").decode()


def open_sinks(sinks: Mapping[str, SinkSettings], environ: Mapping[str, str]) -> Sinks:
    """Return the sinks of the settings. One whose keys are missing is left out, and that is said.

    `environ`: holds the keys. Nothing is reached before there is something to send.
    """
    return Sinks(
        [opened for name, each in sinks.items() if (opened := _opened(name, each, environ))]
    )


def _opened(name: str, sink: SinkSettings, environ: Mapping[str, str]) -> _Open | None:
    named = [each for each in (sink.user_env, sink.key_env) if each is not None]
    missing = [each for each in named if not environ.get(each)]
    if missing:
        _LOG.warning("Sink %s gets no evaluations: set %s.", name, " and ".join(missing))
        return None
    user, key = (environ[each] if each else None for each in (sink.user_env, sink.key_env))
    courier = Courier(name, lambda: _client(sink, user, key))
    return _Open(_KINDS[sink.kind](), courier, sink.explanations)


def _client(sink: SinkSettings, user: str | None, key: str | None) -> httpx.Client:
    headers = {"Authorization": f"Bearer {key}"} if key is not None and user is None else {}
    auth = None if user is None or key is None else httpx.BasicAuth(user, key)
    return httpx.Client(
        base_url=sink.url.rstrip("/"), auth=auth, headers=headers, timeout=sink.timeout_s
    )
