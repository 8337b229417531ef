"""The adapter for PBS: Torque and OpenPBS."""
