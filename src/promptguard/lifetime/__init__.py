"""What belongs to whom, and what ends with whom: forks, shared things, supervised threads, the end of the process.

Rule: nothing here knows what it looks after. Whoever opens an SQLite connection does it within `forks.connection()`;
whoever holds locks, threads or connections registers with `forks.survive_fork`; what several clients use at once is
had from a `shared.Shared`; threads are made by `threads.supervised` (docs/decisions/0024-lifetimes.md).
"""
