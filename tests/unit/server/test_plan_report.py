"""Figures of plans as people read them."""

import pytest

from services.server.plan_report import PlanReport
from shared.classifier.plan import Plan
from shared.classifier.planning import Agreement, Tried
from shared.lineage import MAX_TAG_CHARS

EXACT, ROUGH = Plan("torch", "fp32", 2, 1024), Plan("torch", "int8", 2, 256)


def test_a_tag_holds_every_figure_and_is_read_back() -> None:
    agreement = Agreement(400, 0.9975, 0.0312345678, -0.0001)
    report = PlanReport.of(
        [Tried(EXACT, 1.0, refusal="another goes before it"), Tried(ROUGH, 2.649, agreement, chosen=True)], None
    )
    ((name, text),) = report.tag("server-0").items()
    assert name == "tidemill.plan.server-0"
    assert PlanReport.model_validate_json(text) == report
    rough = report.tried[1]
    assert (report.chosen, rough.speed, rough.rows, rough.largest_difference) == (ROUGH.id, 2.65, 400, 0.03123)


@pytest.mark.parametrize("words", [200, 3000, 6000])
def test_what_does_not_fit_into_a_tag_is_left_out_and_the_chosen_one_last(words: int) -> None:
    tried = [Tried(Plan("torch", "bf16", 1, budget), refusal="x" * words) for budget in range(1, 30)]
    ((_, text),) = PlanReport.of([*tried, Tried(EXACT, chosen=True)], None).tag("r").items()
    assert len(text) <= MAX_TAG_CHARS
    found = PlanReport.model_validate_json(text)
    assert [each.plan for each in found.tried if each.chosen] == [EXACT.id]
