"""routes: whom to ask, question by question, for a budget or a quality. Learned and kept here.

What learns and decides takes numpy, so it is imported where it is used.
"""

from .consulting import ConsultingRoutes
from .effects import ConsultRoute
from .opening import open_routes
from .route import Route
from .running import OpenRoute, run_route
from .store import Routes

__all__ = [
    "ConsultRoute",
    "ConsultingRoutes",
    "OpenRoute",
    "Route",
    "Routes",
    "open_routes",
    "run_route",
]
