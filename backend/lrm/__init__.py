"""The LRM back-end ("workspace pilot" of the paper, sections 2.2 and 3): nodes are leased from a batch scheduler.

A claim becomes one or more *pilot jobs*, ordinary jobs of the local resource manager. Each job starts one pilot per
node; what a pilot holds is a *slot*, and VMs are placed on slots.
"""
