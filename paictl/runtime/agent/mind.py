"""The model behind the door, and the loop around it: pydantic-ai, with each model request a durable step.

``turns`` calls ``think``; the words go out through the reply as they come. Nothing else here talks to the gateway.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Sequence
from dataclasses import dataclass

from openai import AsyncOpenAI
from pydantic_ai import Agent, RunContext, UsageLimits
from pydantic_ai.durable_exec.dbos import DBOSDurability
from pydantic_ai.messages import AgentStreamEvent, ModelMessage, PartDeltaEvent, PartStartEvent, TextPart, TextPartDelta
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.profiles.openai import OpenAIModelProfile
from pydantic_ai.providers.openai_compatible import OpenAICompatibleProvider
from pydantic_ai.settings import ModelSettings

from paictl.runtime.agent.door import Call, Door, Reply
from paictl.runtime.agent.intake import SESSION_SPACE
from paictl.runtime.agent.steps import keyed, step
from paictl.runtime.config import AgentConfig

__all__ = ["Mind", "Question", "Thought"]

# Enough for a few rounds of tools; a model that wants more is going round in circles.
_MOST_REQUESTS = 6
_MOST_RECALLED = 8

# What llama.cpp's server ignores or answers wrongly, measured; API models lose nothing by it.
_PROFILE = OpenAIModelProfile(
    openai_chat_supports_max_completion_tokens=False,
    openai_chat_supports_multiple_system_messages=False,
    openai_supports_strict_tool_definition=False,
    openai_chat_supports_web_search=False,
)


@dataclass(frozen=True, slots=True)
class Question:
    """What is put to the model: ``answer`` and ``recall`` are bounds in tokens, ``seconds`` the time for all of it."""

    text: str
    system: str
    history: Sequence[ModelMessage]
    call: Call
    answer: int
    recall: int
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Thought:
    """What came of thinking."""

    text: str
    usage: dict[str, int]


@dataclass(frozen=True, slots=True)
class _Turn:
    """What a running turn needs at hand; it stays in memory, never in a checkpoint."""

    call: Call
    reply: Reply | None
    door: Door
    spaces: tuple[str, str]
    budget: int


async def _speak(context: RunContext[_Turn], events: AsyncIterable[AgentStreamEvent]) -> None:
    """Pass the model's words on as they come. Runs inside the model's step, so a replayed step says nothing twice."""
    reply = context.deps.reply
    async for event in events:
        text = ""
        if isinstance(event, PartStartEvent) and isinstance(event.part, TextPart):
            text = event.part.content
        elif isinstance(event, PartDeltaEvent) and isinstance(event.delta, TextPartDelta):
            text = event.delta.content_delta
        if text and reply is not None:
            await reply.delta(text)


async def remember(context: RunContext[_Turn], text: str, this_conversation_only: bool = False) -> str:
    """Keep something the user told you.

    Args:
        context: The running turn.
        text: What to keep, as one full sentence.
        this_conversation_only: Whether to drop it when this conversation ends.

    """
    turn = context.deps
    long_term, session = turn.spaces

    space = session if this_conversation_only else long_term
    await step("tool remember", lambda: turn.door.remember(text, space, keyed(turn.call)))
    return "Remembered."


async def recall(context: RunContext[_Turn], query: str) -> str:
    """Look up what the user told you before.

    Args:
        context: The running turn.
        query: What to look for.

    """
    turn = context.deps

    found = await step(
        "tool recall", lambda: turn.door.recall(query, turn.call, limit=_MOST_RECALLED, budget=turn.budget)
    )
    return "\n".join(f"- {text}" for text in found) or "Nothing is remembered about that."


async def forget(context: RunContext[_Turn], query: str) -> str:
    """Forget something the user asked you to forget.

    Args:
        context: The running turn.
        query: What to forget.

    """
    turn = context.deps

    gone = await step("tool forget", lambda: turn.door.forget(query, keyed(turn.call)))
    return f"Forgot {len(gone)}."


class Mind:
    """One model, asked for one purpose (``name``); made before DBOS is launched, since its steps are registered then."""

    def __init__(self, door: Door, token: str, config: AgentConfig, *, name: str, retries: int = 0) -> None:
        # Retrying is the client's for a person who waits, and the durable step's for a workflow, never both.
        client = AsyncOpenAI(
            base_url=f"{door.base_url}/v1", api_key=token, http_client=door.http, max_retries=0 if retries else 2
        )
        self._door, self._spaces = door, (config.space, SESSION_SPACE)
        durable: DBOSDurability[_Turn] = DBOSDurability(
            event_stream_handler=_speak,
            model_step_config={"retries_allowed": retries > 0, "max_attempts": retries + 1, "interval_seconds": 2.0},
            parallel_execution_mode="sequential",
        )
        provider = OpenAICompatibleProvider("gateway", openai_client=client)
        self._agent = Agent(
            OpenAIChatModel(config.model, provider=provider, profile=_PROFILE),
            name=name,
            deps_type=_Turn,
            tools=[remember, recall, forget] if config.tools else [],
            capabilities=[durable],
        )

    async def think(self, question: Question, reply: Reply | None = None) -> Thought:
        """Ask the model, at most a few times over; what it says goes out through ``reply`` as it comes."""
        call = question.call
        result = await self._agent.run(
            question.text,
            instructions=question.system,
            message_history=list(question.history),
            deps=_Turn(call, reply, self._door, self._spaces, question.recall),
            # Greedy: the same question about the same facts gets the same answer, which continuity checks rely on.
            model_settings=ModelSettings(temperature=0.0, max_tokens=question.answer, extra_headers=call.headers),
            usage_limits=UsageLimits(request_limit=_MOST_REQUESTS),
            timeout=question.seconds,
        )
        usage = result.usage
        return Thought(result.output, {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens})
