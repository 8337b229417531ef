"""The adapter for Slurm."""
