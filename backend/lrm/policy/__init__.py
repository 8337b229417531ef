"""How claims become slots: one small pure function a policy, behind one Protocol (the paper, section 2.2)."""

from flyinglow.backend.lrm.policy.registry import NAMES
from flyinglow.backend.lrm.policy.registry import policy_of as load

__all__ = ["NAMES", "load"]
