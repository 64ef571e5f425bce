"""Events to OpenTelemetry: spans and metrics without content. `opentelemetry-api` alone; a no-op where no SDK is set up."""
