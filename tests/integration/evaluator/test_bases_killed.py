"""Killed at any step of a decision about a base, the loop finishes it after a restart: once, and with a true alias."""

import pytest

from services.evaluator.record import DECISION_TAG
from shared.events import BaseCandidate
from tests.integration.evaluator.bases_stage import Adaptations, BasesStage, until_base_entry
from tests.integration.evaluator.conftest import Start
from tests.integration.evaluator.stage import Killed

# The point at which most is half done is killed in every test run, the others in `make chaos`.
STEPS = [
    pytest.param("log_metrics", False, marks=pytest.mark.slow),
    pytest.param("log_text", True, marks=pytest.mark.slow),
    pytest.param("set_tags", False, marks=pytest.mark.slow),
    pytest.param("set_tags", True, marks=pytest.mark.slow),
    pytest.param("set_alias", False, marks=pytest.mark.slow),
    ("set_alias", True),
    pytest.param("transaction", False, marks=pytest.mark.slow),
    pytest.param("transaction", True, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("step", "after"), STEPS)
def test_each_base_is_decided_once_when_killed(
    accepted: BasesStage, adaptations: Adaptations, start_bases: Start, step: str, after: bool
) -> None:
    """The second acceptance is killed. Once it is tagged, that very decision is entered, and no other is made."""
    first = accepted.base()
    second = accepted.adapt(adaptations.better)
    loop = start_bases(accepted, kill=step, after=after)
    with pytest.raises(Killed):
        until_base_entry(loop, 2)
    loop.close()
    tagged = tag_of(accepted, second)
    loop = start_bases(accepted)
    until_base_entry(loop, 2)
    loop.until(lambda: not accepted.has_exam(second))
    loop.turn(3)
    assert accepted.base_story() == [
        (1, first, "promote", first),
        (2, second.version, "promote", second.version),
    ]
    assert accepted.base() == second.version
    assert loop.metric("base_alias_repairs_total") == 0
    entered = accepted.base_decisions()[1].model_dump_json(exclude_defaults=True)
    assert (tagged or entered) == tag_of(accepted, second) == entered


def tag_of(stage: BasesStage, candidate: BaseCandidate) -> str | None:
    """The decision that the version's tag holds."""
    version = stage.bases.version(str(candidate.version))
    return version.tags.get(DECISION_TAG) if version else None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "after"), [("delete_folder", False), ("delete_folder", True), ("delete_weights", True)]
)
def test_what_is_to_be_deleted_goes_after_a_restart(
    accepted: BasesStage, adaptations: Adaptations, start_bases: Start, step: str, after: bool
) -> None:
    """Three more bases, so that the second one's weights go, too."""
    later = [accepted.adapt(adaptations.worse) for _ in range(3)]
    loop = start_bases(accepted, kill=step, after=after)
    with pytest.raises(Killed):
        loop.until(lambda: False)
    loop.close()
    loop = start_bases(accepted)
    loop.until(lambda: not any(accepted.has_exam(candidate) for candidate in later))
    loop.until(lambda: [v.version for v in accepted.bases.versions() if v.has_weights] == ["4", "3", "1"])
    assert len(accepted.base_decisions()) == 4
