"""Every attribute, metric and span name, once.

gen_ai.*: OpenTelemetry GenAI semantic conventions (status: development), as declared by schema 1.37.0.
"""

SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"
SCOPE = "promptguard"
SCOPE_GENAI = "promptguard.genai"

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
RESPONSE_MODEL = "gen_ai.response.model"
RESPONSE_ID = "gen_ai.response.id"
FINISH_REASONS = "gen_ai.response.finish_reasons"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - an attribute's name
PROMPT_NAME = "gen_ai.prompt.name"
PROMPT_VERSION = "gen_ai.prompt.version"
REQUEST_STREAM = "gen_ai.request.stream"
FINGERPRINT = "openai.response.system_fingerprint"
ERROR_TYPE = "error.type"

OPERATION_DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - a metric's name

CACHE_RESULT = "promptguard.cache.result"
CACHE_REASON = "promptguard.cache.reason"
CACHE_EVENT = "promptguard.cache.event"
STREAM = "promptguard.stream"
PAIR_OUTCOME = "promptguard.pair.outcome"
ROLE = "promptguard.role"
ROUTED_TO = "promptguard.routed_to"
OPERATION_OF_OURS = "promptguard.operation"

SKIPPED_REASON = "promptguard.skipped.reason"
SKIPPED = "promptguard.calls.skipped"
CACHE_LOOKUPS = "promptguard.cache.lookups"
CACHE_EVENTS = "promptguard.cache.events"
CACHE_DURATION = "promptguard.cache.lookup.duration"
PAIRS = "promptguard.shadow.pairs"
EVIDENCE = "promptguard.drift.log10_evidence"
ALARMS = "promptguard.drift.alarms"
COST = "promptguard.cost"
FAULTS = "promptguard.faults"

DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
LOOKUP_BUCKETS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)
