"""A plan's id says all of it, and is read back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.classifier.plan import PRECISIONS, Plan
from shared.errors import ConfigurationError

PLANS = st.builds(Plan, st.just("torch"), st.sampled_from(PRECISIONS), st.integers(1, 256), st.integers(1, 65536))


@given(PLANS)
def test_a_plan_is_read_back_from_its_id(plan: Plan) -> None:
    assert Plan.parse(plan.id) == plan


@pytest.mark.parametrize(
    "text", ["", "torch", "torch-fp32", "torch-fp64-t1-b1", "torch-fp32-t0-b1", "torch-fp32-t1-b1 ", "tf-fp32-t1-b1"]
)
def test_what_is_no_plan_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationError, match="torch-bf16-t2-b1024"):
        Plan.parse(text)
