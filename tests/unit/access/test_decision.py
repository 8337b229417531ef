"""Who may do what: an owner and an operator may, nobody else."""

import pytest

from flyinglow.access.decision import Allow, Deny, decide
from flyinglow.access.identity import LOCAL, OPERATOR, Identity


@pytest.mark.parametrize("caller", [LOCAL, Identity("eve"), OPERATOR])
def test_everybody_may_create(caller: Identity) -> None:
    assert decide(caller, "create") == Allow()


def test_what_is_anothers_is_denied_with_a_reason() -> None:
    assert decide(LOCAL, "destroy", "local") == Allow()
    assert decide(OPERATOR, "destroy", "local") == Allow()
    denied = decide(Identity("eve"), "destroy", "local")
    assert isinstance(denied, Deny)
    assert denied.reason == "eve may not destroy what belongs to another"
    assert decide(Identity("operator"), "destroy", "local") != Allow()
