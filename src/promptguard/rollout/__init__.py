"""Rollouts: what an outcome is, the evidence of a rollout, what follows from it, how one begins."""
