"""Run VMs: the ``Hypervisor`` Protocol and its drivers."""
