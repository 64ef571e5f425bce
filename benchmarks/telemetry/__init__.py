"""Who makes which span of a call: every SDK beside every instrumentation, bare and wrapped (`make telemetry-matrix`)."""
