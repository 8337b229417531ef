"""Pilot jobs: handed over, looked at, guarded, taken back."""
