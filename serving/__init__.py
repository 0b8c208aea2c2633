"""serving: where do self-hosted models run, and how well? What engines tell of themselves."""

from .kv_events import Cleared, Gap, KvEvent, Removed, Sequenced, Stored, events_in
from .kv_subscriber import KvEndpoint, KvSubscriber
from .members import Seen, Watcher, addresses, find, see
from .signals import EngineSignals, MetricsPage, SignalSource, metrics_url, signals_in
from .token_ids import TokenizePage, TokenSource, read_options

__all__ = [
    "Cleared",
    "EngineSignals",
    "Gap",
    "KvEndpoint",
    "KvEvent",
    "KvSubscriber",
    "MetricsPage",
    "Removed",
    "Seen",
    "Sequenced",
    "SignalSource",
    "Stored",
    "TokenSource",
    "TokenizePage",
    "Watcher",
    "addresses",
    "events_in",
    "find",
    "metrics_url",
    "read_options",
    "see",
    "signals_in",
]
