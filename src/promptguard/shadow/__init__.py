"""Work off the caller's path: a bounded queue, daemon threads, the order of pairs, a hard cap on spending."""
