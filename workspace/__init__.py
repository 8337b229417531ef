"""The core: one leased virtual machine as the service knows it.

Its model, its life cycle as tables, the provisioner that drives it, and the ports it needs others to implement.
"""
