"""``flyinglow doctor --job`` on a real Grid Engine, whose notice is a signal of another name and a queue's setting."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rigs.doctor import doctor, wrong
from rigs.lrm_service import LrmService, gridengine_service

pytestmark = [pytest.mark.root, pytest.mark.xdist_group("gridengine-doctor")]
NOTIFY = 5


@pytest.fixture(scope="module")
def service() -> Iterator[LrmService]:
    with gridengine_service(nodes=1, world={"notify": NOTIFY}, options={"grace": 4, "margin": 40}, start=False) as made:
        yield made


def test_what_grid_engine_lacks_is_named_with_what_to_set(service: LrmService) -> None:
    config = service.lrm_site.root / "wrong.toml"
    config.write_text(service.lrm_site.config.read_text().replace('"spread"', '"no-such-environment"'))
    found = doctor(service, config=config)
    assert found["scheduler"]["ok"]
    mend = found["scheduler's setup"]
    assert "no-such-environment" in mend["detail"] + mend["fix"]


def test_a_job_measures_the_time_after_the_notice(service: LrmService) -> None:
    found = doctor(service, "--job")
    assert set(wrong(found)) <= {"scheduler's setup"}, found  # notify is short here, which keeps the test short
    seconds = float(found["cancel grace"]["detail"].partition(" s ")[0])
    assert NOTIFY - 0.7 < seconds < NOTIFY + 60
    assert "from SIGUSR2 to SIGKILL" in found["cancel grace"]["detail"]
    assert found["agent through sudo"]["ok"]
    assert service.clean_nodes() == []
