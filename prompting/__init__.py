"""prompting: in which words is it asked? Prompts by name, version and alias; files and a store."""

from .files import PromptFiles
from .named import NamedPrompt, prompt
from .opening import close_registries, open_registry
from .registry import Origin, Pointer, PromptVersion, Registry
from .store import Move, PromptStore
from .text import PromptText

__all__ = [
    "Move",
    "NamedPrompt",
    "Origin",
    "Pointer",
    "PromptFiles",
    "PromptStore",
    "PromptText",
    "PromptVersion",
    "Registry",
    "close_registries",
    "open_registry",
    "prompt",
]
