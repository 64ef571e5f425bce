"""`promptguard watch`: judging, replays, canaries, alerts and retention of a ledger, without an application."""
