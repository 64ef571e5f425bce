"""Bets on which side is which: evidence that a model changed."""
