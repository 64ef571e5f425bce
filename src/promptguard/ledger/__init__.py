"""Pairs, identities, verdicts, spending: append-only facts on SQLite (PostgreSQL follows), never on the caller's path."""
