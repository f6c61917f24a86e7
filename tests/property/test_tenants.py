"""No tenant sees or changes data of another one, and every operation needs the right key."""

from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.tenants import count_differing_answers, count_unauthorized

pytestmark = pytest.mark.xdist_group("stores")


@given(st.integers(0, 2**32))
@settings(max_examples=12, deadline=None)
def test_a_tenant_gets_the_same_responses_as_on_its_own_service(seed: int) -> None:
    with TemporaryDirectory() as name:
        assert count_differing_answers(Path(name), seed, steps=40) == 0


def test_every_operation_rejects_a_wrong_key(tmp_path: Path) -> None:
    tried, admitted = count_unauthorized(tmp_path)
    assert tried >= 60
    assert admitted == 0
