"""sinks: where else do evaluations go? Langfuse, Phoenix and MLflow, over HTTP, behind the step."""

from .courier import Courier
from .opening import Sinks, open_sinks
from .sink import Post, Sink

__all__ = ["Courier", "Post", "Sink", "Sinks", "open_sinks"]
