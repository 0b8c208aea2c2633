"""engines: how engines of one's own are started. Profiles render to command lines, with reasons."""

from .flags import Flag, Option, Profile, Variable
from .launch import Launch, is_secret, launch_of, profile_type
from .running import end, running, wait_until_healthy

__all__ = [
    "Flag",
    "Launch",
    "Option",
    "Profile",
    "Variable",
    "end",
    "is_secret",
    "launch_of",
    "profile_type",
    "running",
    "wait_until_healthy",
]
