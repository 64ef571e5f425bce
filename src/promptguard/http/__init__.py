"""The only place that touches httpx or httpx2; nothing of theirs leaves it but the client given to us."""
