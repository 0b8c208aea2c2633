"""A cost model is found again from what an engine of that cost showed, and how far off it is."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tierflow.errors import SimulationError
from tierflow.serving.simulation import CostModel
from tierflow.serving.simulation.fit import errors_of, fit, held_out, predict
from tierflow.serving.simulation.measurements import (
    Measured,
    Setting,
    quiet_work,
    read_measurements,
    reading_work,
    write_measurements,
)

CPU = CostModel(iteration_ms=16, token_ms=0.45, pair_ms=2.06e-4, request_ms=30)


def a_setting(chunk: int, *, decodes: int = 4, prompt: int = 6000) -> Setting:
    return Setting(
        max_num_batched_tokens=chunk, decodes=decodes, decode_context=64, prompt_tokens=prompt
    )


def measured(cost: CostModel, setting: Setting, chance: Random | None = None) -> Measured:
    """What a client sees of an engine of that cost, where the machine now and then stalls."""

    def stalled(ms: float) -> float:
        if chance is None:
            return ms
        return ms * (3 if chance.random() < 0.08 else 1) * chance.uniform(0.97, 1.03)

    gaps = tuple(stalled(cost.ms(each)) for each in reading_work(setting))
    quiet = cost.ms(quiet_work(setting))
    return Measured(
        setting=setting,
        quiet_ms=tuple(stalled(quiet) for _ in range(8)),
        gaps_ms=gaps,
        ttft_ms=sum(gaps) + quiet / 2 + cost.request_ms,
    )


def test_the_scheduler_tells_what_each_iteration_read() -> None:
    works = reading_work(a_setting(104, prompt=250))
    assert [each.tokens for each in works] == [104, 104, 54]
    assert [each.decodes for each in works] == [4, 4, 4]
    assert [each.context for each in works] == [4 * 64, 4 * 65, 4 * 66]
    chunk = sum(range(101, 201))
    assert works[1].pairs == chunk + 4 * 66
    assert quiet_work(a_setting(104)).context == works[0].context


@given(st.floats(1, 50), st.floats(0.01, 1), st.floats(0, 1e-3), st.sampled_from([128, 512, 1024]))
def test_what_was_exactly_measured_is_exactly_predicted(
    iteration: float, token: float, pair: float, other: int
) -> None:
    cost = CostModel(iteration_ms=iteration, token_ms=token, pair_ms=pair, request_ms=30)
    found = fit([measured(cost, a_setting(chunk)) for chunk in (128, 1024)])
    (off,) = errors_of(found, [measured(cost, a_setting(other))])
    assert max(off.gap, off.gap_median, off.ttft) < 0.01


def test_stalls_of_the_machine_do_not_change_the_cost() -> None:
    chance = Random(3)
    runs = [measured(CPU, a_setting(chunk), chance) for chunk in (128, 1024) for _ in range(5)]
    (off,) = errors_of(fit(runs), [measured(CPU, a_setting(512))])
    assert max(off.gap, off.gap_median) < 0.03
    assert off.ttft < 0.1


def test_a_term_that_explains_nothing_is_left_out() -> None:
    cost = CostModel(iteration_ms=16, token_ms=0.45)
    found = fit(
        [measured(cost, a_setting(chunk, decodes=n)) for chunk in (128, 512) for n in (1, 4)]
    )
    assert (found.pair_ms, found.decode_ms, found.context_ms, found.request_ms) == (0, 0, 0, 0)


def test_runs_whose_gaps_are_no_iterations_teach_by_their_time_to_first_token() -> None:
    runs = [
        measured(CPU.model_copy(update={"request_ms": 0}), a_setting(chunk)).model_copy(
            update={"gaps_ms": ()}
        )
        for chunk in (128, 256, 1024)
    ]
    predicted = predict(fit(runs), a_setting(512))
    assert predicted["ttft_mean_ms"] == pytest.approx(
        predict(CPU.model_copy(update={"request_ms": 0}), a_setting(512))["ttft_mean_ms"], rel=0.1
    )


def test_one_iteration_is_too_few_to_learn_from() -> None:
    run = Measured(setting=a_setting(64, prompt=0), quiet_ms=(20.0,))
    with pytest.raises(SimulationError, match=r"1 different iterations.*--repeats"):
        fit([run])


def test_every_third_run_of_a_setting_is_held_out() -> None:
    runs = [measured(CPU, a_setting(chunk)) for chunk in (128, 512) for _ in range(4)]
    learnt, held = held_out(runs)
    assert [run.setting.max_num_batched_tokens for run in held] == [128, 512]
    assert len(learnt) == 6


def test_measured_runs_survive_a_file(tmp_path: Path) -> None:
    runs = (measured(CPU, a_setting(128)), measured(CPU, a_setting(512, decodes=1)))
    write_measurements(runs, tmp_path / "runs.json")
    assert read_measurements(tmp_path / "runs.json") == runs
    (tmp_path / "runs.json").write_text("{}")
    with pytest.raises(SimulationError, match=r"holds no measured runs.*--keep"):
        read_measurements(tmp_path / "runs.json")


def test_a_chunk_that_decodes_fill_reads_no_prompt() -> None:
    with pytest.raises(ValidationError, match="must exceed decodes"):
        a_setting(4, decodes=4)
