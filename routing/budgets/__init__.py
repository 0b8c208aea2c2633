"""budgets: what may be spent. Part of routing; sets money aside before a call is made."""

from .accounts import Account, Purse, Spender, purse_of, refuse_unpriced
from .effects import Reserve, Reserved, Settle, Short, TellExhausted
from .memory_store import MemoryBudgets
from .opening import open_budgets
from .spending import Spending
from .store import Balance, BudgetStore
from .till import Till

__all__ = [
    "Account",
    "Balance",
    "BudgetStore",
    "MemoryBudgets",
    "Purse",
    "Reserve",
    "Reserved",
    "Settle",
    "Short",
    "Spender",
    "Spending",
    "TellExhausted",
    "Till",
    "open_budgets",
    "purse_of",
    "refuse_unpriced",
]
