"""What lasts and what ends: clients that come and go, processes that fork, servers that start, ledgers held by others."""
