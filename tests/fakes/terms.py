"""Terms: what some real models charge for input, as their makers' price lists say (USD per MTok).

Written down by hand, not read from where the product reads its prices.
"""

from __future__ import annotations

from .billing import Rules

TERMS = {
    # platform.claude.com/docs, pricing and prompt caching
    "claude-haiku-5-5": Rules("marked", 0.1, 0.01, 0.125, 0.2, 512),
    "claude-haiku-4-5": Rules("marked", 1.0, 0.1, 1.25, 2.0, 4096),
    # developers.openai.com/api/docs/pricing and guides/prompt-caching
    "gpt-6-luna": Rules("breakpoints", 0.1, 0.01, 0.125, 0.0, 1024, 1800.0),
    "gpt-5.4-mini": Rules("automatic", 0.75, 0.075, 0.75, 0.0, 1024),
    # ai.google.dev/gemini-api/docs/pricing and caching
    "gemini-3.8-flash": Rules("automatic", 0.75, 0.075, 0.75, 0.0, 4096, 180.0),
}
