"""Bedrock's Converse. Read against botocore 1.44 and 1.35 (bedrock-runtime, Converse and ConverseStream)."""

from __future__ import annotations

from promptguard.core.fields import Known, Members, names
from promptguard.wire.known import anthropic_messages

_BLOCKS = Members(
    names("""
        audio cachePoint citationsContent document guardContent image reasoningContent searchResult text toolRemoval
        toolResult toolUse video
    """),
    stateful={"toolAddition": "may add a tool that runs at the provider"},
)
_TOOL_CONFIG = Members(
    names("toolChoice tools"),
    within={
        "tools": Members(
            names("cachePoint toolSpec"),
            stateful={"systemTool": "runs at the provider"},
            within={"toolSpec": Members(names("description inputSchema name strict"))},
        )
    },
)
_OF_FAMILIES = Members(
    anthropic_messages.BODY.harmless
    | names("inferenceConfig jsonSchema reasoningConfig reasoning_config reasoning_effort topK top_k"),
    stateful=anthropic_messages.BODY.stateful,
    within={name: known for name, known in anthropic_messages.BODY.within.items() if name != "messages"},
)
"""`additionalModelRequestFields` go to the model as they are: Anthropic's body, and what Nova, Llama and others name."""
KNOWN = Known(
    Members(
        names("""
            additionalModelRequestFields additionalModelResponseFieldPaths guardrailConfig inferenceConfig messages
            outputConfig performanceConfig projectIdentifier requestMetadata serviceTier system toolConfig
        """),
        stateful={"promptVariables": "a prompt that is kept at the provider"},
        within={
            "additionalModelRequestFields": _OF_FAMILIES,
            "inferenceConfig": Members(names("maxTokens stopSequences temperature topP")),
            "messages": Members(names("content role"), within={"content": _BLOCKS}),
            "system": Members(names("cachePoint guardContent text")),
            "toolConfig": _TOOL_CONFIG,
        },
    ),
    source="https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html",
)
