"""SQL costs: sums over the ledger's rows, worked out by the database. Opens nothing."""

from typing import Any, TypeAlias

import sqlalchemy as sa

from .costs import OF_CALLS, By, Costs, FlowRun, Window
from .ledger import ASIDES

Query: TypeAlias = "sa.Select[*tuple[Any, ...]]"


def _day(at: sa.ColumnElement[str]) -> sa.ColumnElement[str]:
    # Literals: with bound values PostgreSQL would not see that it groups by what it selects.
    return sa.func.substr(at, sa.literal_column("1"), sa.literal_column("10"))


def costs_query(by: By, window: Window, answers: sa.Table, calls: sa.Table) -> Query:
    """Return the query whose rows `read_costs` reads; the dearest first, days in order."""
    if by in OF_CALLS:
        return _of_calls(by, window, answers, calls)
    columns = answers.c
    name = _day(columns.at) if by == "day" else columns[by]
    query = sa.select(
        name.label("name"),
        *_sums(answers),
        _sum(columns.saved_usd).label("saved_usd"),
        # NULL where none of it is known: unknown is not zero.
        sa.func.sum(columns.strongest_usd).label("strongest_usd"),
        sa.null().label("guessed"),
    )
    query = _within(query, window, columns.at, columns.flow).group_by(name)
    return query.order_by(name) if by == "day" else query.order_by(sa.desc("cost_usd"), name)


def _of_calls(by: By, window: Window, answers: sa.Table, calls: sa.Table) -> Query:
    columns = calls.c
    name = columns[by]
    billed = sa.or_(columns.outcome == "ok", columns.cost_usd.is_(None), columns.cost_usd > 0)
    query = sa.select(
        name.label("name"),
        *_sums(calls),
        sa.literal(0.0).label("saved_usd"),
        sa.null().label("strongest_usd"),
        _count(columns.estimated).label("guessed"),
    ).where(billed)
    if window.flow is not None:
        refs = sa.select(answers.c.ref).where(answers.c.flow == window.flow)
        query = query.where(columns.ref.in_(refs))
    query = _within(query, window, columns.at, None).group_by(name)
    return query.order_by(sa.desc("cost_usd"), name)


def read_costs(row: Any) -> Costs:
    """Return one row of `costs_query`."""
    return Costs(
        # Steps outside of any flow have none.
        name=str(row.name or ""),
        calls=int(row.calls),
        input_tokens=int(row.input_tokens),
        output_tokens=int(row.output_tokens),
        cache_read_tokens=int(row.cache_read_tokens),
        cache_write_tokens=int(row.cache_write_tokens),
        cost_usd=float(row.cost_usd),
        unpriced=int(row.unpriced),
        saved_by_prefix_usd=float(row.saved_by_prefix_usd),
        saved_usd=float(row.saved_usd),
        strongest_usd=None if row.strongest_usd is None else float(row.strongest_usd),
        guessed=None if row.guessed is None else int(row.guessed),
    )


def flow_runs_query(limit: int, answers: sa.Table) -> Query:
    """Return the query whose rows `read_flow_run` reads; the one that wrote last comes first."""
    columns = answers.c
    return (
        sa.select(
            columns.flow_run_id,
            sa.func.max(columns.flow).label("flow"),
            sa.func.min(columns.at).label("at"),
            sa.func.count().label("steps"),
            _count(sa.and_(columns.outcome != "ok", *_answers_only(columns.step))).label("failed"),
            _sum(columns.cost_usd).label("cost_usd"),
            _count(columns.cost_usd.is_(None)).label("unpriced"),
        )
        .where(columns.flow_run_id.is_not(None))
        .group_by(columns.flow_run_id)
        .order_by(sa.func.max(columns.id).desc())
        .limit(limit)
    )


def _answers_only(step: sa.ColumnElement[str]) -> list[sa.ColumnElement[bool]]:
    return [~step.endswith(f" ({kind})") for kind in ASIDES]


def read_flow_run(row: Any) -> FlowRun:
    """Return one row of `flow_runs_query`."""
    return FlowRun(
        flow_run_id=row.flow_run_id,
        flow=row.flow,
        at=row.at,
        steps=int(row.steps),
        failed=int(row.failed),
        cost_usd=float(row.cost_usd),
        unpriced=int(row.unpriced),
    )


def _sums(table: sa.Table) -> list[sa.Label[Any]]:
    columns = table.c
    tokens = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_tokens")
    return [
        sa.func.count().label("calls"),
        *(_sum(columns[name]).label(name) for name in tokens),
        _sum(columns.cost_usd).label("cost_usd"),
        _count(columns.cost_usd.is_(None)).label("unpriced"),
        _sum(columns.saved_by_prefix_usd).label("saved_by_prefix_usd"),
    ]


def _within(query: Query, window: Window, at: sa.ColumnElement[str], flow: Any) -> Query:
    # ISO times of one form and zone stand in the order of their letters.
    if window.since is not None:
        query = query.where(at >= window.since)
    if window.until is not None:
        query = query.where(at < window.until)
    if flow is not None and window.flow is not None:
        query = query.where(flow == window.flow)
    return query


def _sum(column: sa.ColumnElement[Any]) -> sa.ColumnElement[Any]:
    return sa.func.coalesce(sa.func.sum(column), 0)


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)
