"""Every attribute, metric and span name, once.

gen_ai.*: OpenTelemetry GenAI semantic conventions (status: development), as declared by schema 1.37.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

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
OUTPUT_TYPE = "gen_ai.output.type"
CONVERSATION_ID = "gen_ai.conversation.id"
REQUEST = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
    "choice_count": "gen_ai.request.choice.count",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "stop_sequences": "gen_ai.request.stop_sequences",
    "output_type": OUTPUT_TYPE,
    "conversation_id": CONVERSATION_ID,
}
"""What `core.parameters` reads of a request → attribute."""
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_write.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
SERVER_ADDRESS = "server.address"
SERVER_PORT = "server.port"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
EVALUATION_NAME = "gen_ai.evaluation.name"
EVALUATION_SCORE = "gen_ai.evaluation.score.value"
EVALUATION_LABEL = "gen_ai.evaluation.score.label"
EVALUATION_OF_DRIFT = "promptguard.drift"
"""The value of `gen_ai.evaluation.name`."""
EVALUATION_EXPLANATION = "gen_ai.evaluation.explanation"
FINGERPRINT = "openai.response.system_fingerprint"
ERROR_TYPE = "error.type"

OPERATION_DURATION = "gen_ai.client.operation.duration"
TOKEN_USAGE = "gen_ai.client.token.usage"  # noqa: S105 - a metric's name
TIME_TO_FIRST_CHUNK = "gen_ai.client.operation.time_to_first_chunk"
TIME_PER_CHUNK = "gen_ai.client.operation.time_per_output_chunk"

EVENT_DETAILS = "gen_ai.client.inference.operation.details"
EVENT_EVALUATION = "gen_ai.evaluation.result"

SPAN_BESIDE = "promptguard.call"
LINK_KIND = "promptguard.link.kind"
VERDICT = "promptguard.verdict"

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
FAULTS = "promptguard.faults"

LEDGER = "promptguard.ledger"
STATUS = "promptguard.status"
UNMEASURED_REASON = "promptguard.unmeasured.reason"
PURPOSE = "promptguard.purpose"
DRIFT_STATUS = "promptguard.drift.status"
EVIDENCE = "promptguard.drift.log10_evidence"
THRESHOLD = "promptguard.drift.log10_threshold"
HIDDEN_SHIFT = "promptguard.drift.hidden_shift"
ALARMS = "promptguard.drift.alarms"
LAST_PAIR_AGE = "promptguard.shadow.last_pair.age"
STRADDLING_PAIRS = "promptguard.shadow.straddling_pairs"
QUEUE_SIZE = "promptguard.shadow.queue.size"
LOSSES = "promptguard.shadow.losses"
BUDGET_LEFT = "promptguard.budget.left"
BUDGET_CALLS_LEFT = "promptguard.budget.calls.left"
COST = "promptguard.cost"
CACHE_SAVED = "promptguard.cache.saved"
EVALUATOR_AGE = "promptguard.evaluator.age"

DURATION_BUCKETS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BUCKETS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
LOOKUP_BUCKETS = (0.00001, 0.00003, 0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1)

Kind = Literal["counter", "histogram", "observable gauge", "observable counter"]


@dataclass(frozen=True, slots=True)
class Metric:
    """One metric, as it is created and as docs/reference/telemetry.md tells it."""

    name: str
    kind: Kind
    unit: str
    description: str
    attributes: tuple[str, ...] = ()
    buckets: tuple[float, ...] | None = None
    """upper bounds, of a histogram"""


_CALL = (OPERATION, PROVIDER, REQUEST_MODEL, RESPONSE_MODEL, SERVER_ADDRESS, SERVER_PORT, ERROR_TYPE, ROLE)
_PROMPT = (LEDGER, STREAM, PROMPT_NAME, PROMPT_VERSION)

CALL_METRICS = (
    Metric(OPERATION_DURATION, "histogram", "s", "duration of calls to a provider", _CALL, DURATION_BUCKETS),
    Metric(TOKEN_USAGE, "histogram", "{token}", "tokens billed", (*_CALL, TOKEN_TYPE), TOKEN_BUCKETS),
    Metric(
        TIME_TO_FIRST_CHUNK,
        "histogram",
        "s",
        "time until a stream's first chunk arrived",
        _CALL,
        DURATION_BUCKETS,
    ),
    Metric(TIME_PER_CHUNK, "histogram", "s", "time between two chunks of a stream", _CALL, DURATION_BUCKETS),
)
"""Of one call each, under the scope `promptguard.genai`; recorded where nothing else records them."""

EVENT_METRICS = (
    Metric(
        CACHE_LOOKUPS,
        "counter",
        "{lookup}",
        "response cache lookups",
        (CACHE_RESULT, CACHE_REASON, PROMPT_NAME),
    ),
    Metric(CACHE_DURATION, "histogram", "s", "time of one lookup", (CACHE_RESULT,), LOOKUP_BUCKETS),
    Metric(
        CACHE_EVENTS,
        "counter",
        "{event}",
        "what happened to the cache's store: tampered, unavailable, recovered",
        (CACHE_EVENT,),
    ),
    Metric(
        PAIRS,
        "counter",
        "{pair}",
        "pairs by outcome, since the process began",
        (PAIR_OUTCOME, STREAM, PROMPT_NAME),
    ),
    Metric(
        SKIPPED,
        "counter",
        "{call}",
        "calls that could not be paired, or not be read, by reason",
        (SKIPPED_REASON,),
    ),
    Metric(
        FAULTS,
        "counter",
        "{fault}",
        "faults of PromptGuard's own that no caller saw",
        (OPERATION_OF_OURS, ERROR_TYPE),
    ),
)
"""Of events, each counted by the process in which it happened."""

STATE_METRICS = (
    Metric(
        DRIFT_STATUS,
        "observable gauge",
        "{state}",
        "1 for the state that holds, 0 for the others: drift, no_drift, unmeasured (with the reason), acknowledged",
        (*_PROMPT, STATUS, UNMEASURED_REASON),
    ),
    Metric(EVIDENCE, "observable gauge", "{log10}", "evidence that the model changed", _PROMPT),
    Metric(THRESHOLD, "observable gauge", "{log10}", "evidence at which the alarm rings", _PROMPT),
    Metric(
        HIDDEN_SHIFT,
        "observable gauge",
        "{shift}",
        "largest share of answers that could have changed unseen; absent while nothing can be said",
        _PROMPT,
    ),
    Metric(ALARMS, "observable counter", "{alarm}", "alarms, those before a restart included", _PROMPT),
    Metric(LAST_PAIR_AGE, "observable gauge", "s", "time since the last compared pair", _PROMPT),
    Metric(
        STRADDLING_PAIRS,
        "observable gauge",
        "{pair}",
        "compared pairs that could have shown a change that began 24 hours ago",
        _PROMPT,
    ),
    Metric(
        LOSSES,
        "observable counter",
        "{pair}",
        "sampled calls that gave no compared pair, by reason",
        (LEDGER, STREAM, PAIR_OUTCOME, SKIPPED_REASON),
    ),
    Metric(
        BUDGET_LEFT,
        "observable gauge",
        "{USD}",
        "what is left of today's cap (UTC); absent without Budget(usd_per_day)",
        (LEDGER, PURPOSE),
    ),
    Metric(
        BUDGET_CALLS_LEFT,
        "observable gauge",
        "{call}",
        "calls left of today's cap (UTC); absent without Budget(calls_per_day)",
        (LEDGER, PURPOSE),
    ),
    Metric(COST, "observable counter", "{USD}", "what background calls have cost", (LEDGER, ROLE)),
    Metric(
        CACHE_SAVED,
        "observable counter",
        "{USD}",
        "what answers from the cache would have cost, at list prices, of models that have one",
        (LEDGER, REQUEST_MODEL),
    ),
    Metric(EVALUATOR_AGE, "observable gauge", "s", "time since the evaluator last looked", (LEDGER,)),
    Metric(
        QUEUE_SIZE, "observable gauge", "{call}", "calls that wait to be paired, in each process", (LEDGER,)
    ),
)
"""Of what a ledger knows, read when metrics are collected, and told by the process that holds the evaluator's lease."""

METRICS = {metric.name: metric for metric in (*CALL_METRICS, *EVENT_METRICS, *STATE_METRICS)}

SPAN_ATTRIBUTES: dict[str, str] = {
    OPERATION: "chat, generate_content, embeddings, ...",
    PROVIDER: "openai, anthropic, gcp.gemini, aws.bedrock, ...",
    REQUEST_MODEL: "the model that was asked: where a verdict routes the call, the one it is routed to",
    RESPONSE_MODEL: "the model that the provider says has answered",
    RESPONSE_ID: "the provider's id of the answer",
    FINISH_REASONS: "why the answer ended",
    INPUT_TOKENS: "tokens billed for the question, those from or into the provider's prompt cache included",
    OUTPUT_TOKENS: "tokens billed for the answer, those of its reasoning included",
    CACHE_READ_TOKENS: "of the input, those read from the provider's prompt cache",
    CACHE_WRITE_TOKENS: "of the input, those written to it",
    REASONING_TOKENS: "of the output, those that were thought and not said",
    **{
        attribute: f"the request's {parameter.replace('_', ' ')}, where it has one"
        for parameter, attribute in REQUEST.items()
    },
    OUTPUT_TYPE: "text or json, where the request asks for one",
    CONVERSATION_ID: "the provider's own conversation that the request belongs to",
    REQUEST_STREAM: "true for a streamed answer",
    FIRST_CHUNK: "seconds from sending until a stream's first chunk arrived",
    FINGERPRINT: "what the provider says served the call",
    SERVER_ADDRESS: "host of the provider",
    SERVER_PORT: "its port, where the address names one",
    ERROR_TYPE: "the HTTP status, such as 500, or the exception's type",
    PROMPT_NAME: "name of the prompt that the call was rendered from",
    PROMPT_VERSION: "its version",
    CACHE_RESULT: "miss, bypass or hit; absent without a cache",
    ROUTED_TO: "the model that a verdict has routed the call to",
    VERDICT: "drift, while an alarm of this prompt's stands that nobody has acknowledged",
    ROLE: "of a background call: candidate, repeat, replay or placebo",
    INPUT_MESSAGES: "what was asked; only where OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT says so",
    OUTPUT_MESSAGES: "the answer; likewise",
}
"""What spans and the event of details have, as docs/reference/telemetry.md tells it; links have `promptguard.link.kind`."""
