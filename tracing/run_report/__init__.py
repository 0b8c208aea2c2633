"""run_report: what a flow run cost, took and met with, in pictures and tables. Reads the ledger."""

from .contents import Contents, contents_of
from .data import as_data
from .events import RunEvent, events_of
from .markdown import markdown
from .page import page
from .run import Run, Scores, read_run, run_of

__all__ = [
    "Contents",
    "Run",
    "RunEvent",
    "Scores",
    "as_data",
    "contents_of",
    "events_of",
    "markdown",
    "page",
    "read_run",
    "run_of",
]
