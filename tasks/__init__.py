"""tasks: what is an LLM step? The decorator, the plan of one step and its two drivers."""

from .decorator import LLMTask, llm_task
from .evaluation import record_evaluation
from .hands import close_hands, hands
from .spec import StepSpec

__all__ = ["LLMTask", "StepSpec", "close_hands", "hands", "llm_task", "record_evaluation"]
