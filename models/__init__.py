"""models: what answers without a provider? MiniLM in this process, and recorded answers.

Its modules subclass litellm's classes, so each is imported where litellm already is; nothing is
exported here.
"""

__all__: list[str] = []
