"""Gemini's generateContent, on the Gemini API and on Vertex AI.

Read against google-genai 3.6 and 1.75 (types.py, models.py).
"""

from __future__ import annotations

from promptguard.core.fields import Known, Members, each, names
from promptguard.wire.known.openai_chat import RUNS_THERE, SEARCHES

_CONTENT = Members(
    names("parts role"),
    within={
        "parts": Members(
            names("""
                audioMetadata audioTranscription codeExecutionResult documentMetadata executableCode fileData functionCall
                functionResponse inlineData mediaProcessing mediaResolution partMetadata speechMetadata spreadsheetMetadata
                text thought thoughtSignature toolCall toolResponse videoMetadata
            """)
        )
    },
)
_TOOLS = Members(
    names("computerUse functionDeclarations"),
    stateful={
        **each(
            SEARCHES,
            """
                enterpriseWebSearch exaAiSearch fileSearch googleMaps googleSearch googleSearchRetrieval
                parallelAiSearch retrieval urlContext
            """,
        ),
        **each(RUNS_THERE, "codeExecution mcpServers"),
    },
)
_SETTINGS = Members(
    names("""
        audioTimestamp audioTranscriptionConfig candidateCount enableAffectiveDialog enableEnhancedCivicAnswers
        frequencyPenalty generationOutputConfig imageConfig logprobs maxOutputTokens mediaResolution modelSelectionConfig
        presencePenalty responseFormat responseJsonSchema responseLogprobs responseMimeType responseModalities
        responseSchema routingConfig seed speechConfig stopSequences temperature thinkingConfig topK topP translationConfig
    """)
)
KNOWN = Known(
    Members(
        names("""
            contents generationConfig labels model modelArmorConfig safetySettings serviceTier systemInstruction toolConfig
            tools
        """),
        stateful={
            "cachedContent": "content that is kept at the provider, for one model",
            "continuationToken": "continues an answer that is kept at the provider",
        },
        kept={"store": "the answer is kept at the provider"},
        within={
            "contents": _CONTENT,
            "systemInstruction": _CONTENT,
            "generationConfig": _SETTINGS,
            "tools": _TOOLS,
        },
    ),
    query=names("alt key $alt"),
    source="https://ai.google.dev/api/generate-content",
)
