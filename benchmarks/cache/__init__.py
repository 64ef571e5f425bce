"""Campaigns against the response cache: mutated keys, tampered entries, cut answers, stampedes."""
