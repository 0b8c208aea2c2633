"""serving: where do self-hosted models run, and how well? So far: how busy an engine is."""

from .signals import EngineSignals, MetricsPage, SignalSource, signals_in

__all__ = ["EngineSignals", "MetricsPage", "SignalSource", "signals_in"]
