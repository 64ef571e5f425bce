"""A ledger that many processes feed: what it carries, and what becomes of pairs and calls in every kind of trouble."""
