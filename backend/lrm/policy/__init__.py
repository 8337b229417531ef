"""How claims become slots: one small pure function a policy, behind one Protocol (the paper, section 2.2)."""
