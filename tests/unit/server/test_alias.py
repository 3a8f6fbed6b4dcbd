from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest

from services.evaluator.record import decision_tags
from services.server.alias import promoted_alias
from shared.events import Verdict
from shared.registry import ModelVersion
from tests.unit.server.test_champion import decision


@dataclass
class FakeVersions:
    alias: str | None
    tags: dict[str, dict[str, str]] = field(default_factory=dict)

    def champion(self) -> str | None:
        return self.alias

    def version(self, version: str) -> ModelVersion | None:
        if version not in self.tags:
            return None
        return ModelVersion(version, None, "folder", self.tags[version], datetime(2026, 1, 1, tzinfo=UTC))


def test_a_version_that_the_evaluator_promoted_is_believed() -> None:
    tags = decision_tags(decision(1, "1", Verdict.PROMOTE, "1"))
    assert promoted_alias(FakeVersions("1", {"1": tags})) == "1"


@pytest.mark.parametrize("verdict", [Verdict.REJECT, Verdict.UNDECIDED])
def test_an_alias_moved_to_a_version_that_was_not_promoted_names_nobody(verdict: Verdict) -> None:
    tags = decision_tags(decision(2, "2", verdict, "1"))
    assert promoted_alias(FakeVersions("2", {"2": tags})) is None


def test_an_alias_moved_to_a_version_that_was_never_judged_names_nobody() -> None:
    assert promoted_alias(FakeVersions("2", {"2": {}})) is None


def test_no_alias_and_no_version_name_nobody() -> None:
    assert promoted_alias(FakeVersions(None)) is None
    assert promoted_alias(FakeVersions("9")) is None
