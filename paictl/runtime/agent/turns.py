"""One turn of a conversation and one run of a workflow, each as a durable workflow of steps.

``service`` starts them; after a crash DBOS runs them again from their last finished step. What is done around the model
is the same for every model: first the memory is asked, then what the person said is kept or forgotten, then the model answers.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal

from dbos import DBOS
from pydantic_ai.exceptions import RunTimedOut
from pydantic_ai.messages import ModelMessage

from paictl.runtime.agent import intake, prompt
from paictl.runtime.agent.checkpoints import CheckpointRefused
from paictl.runtime.agent.door import Call, Door, NobodyListens, Reply, Work
from paictl.runtime.agent.mind import Mind, Question, Thought
from paictl.runtime.agent.steps import keyed, step
from paictl.runtime.config import AgentConfig

__all__ = ["Turns"]

log = logging.getLogger(__name__)


class Turns:
    """The durable workflows of one agent. Made once, before DBOS is launched."""

    def __init__(self, config: AgentConfig, door: Door, token: str) -> None:
        self._config, self._door = config, door
        self._budget = prompt.Budget(config.context)
        self._long_term = config.space

        self._chatting = Mind(door, token, config, name="chat")
        self._working = {
            name: Mind(door, token, config, name=f"workflow-{name}", retries=workflow.retries)
            for name, workflow in config.workflows.items()
        }

        # DBOS wants functions, registered by name; the names are part of what a checkpoint refers to.
        @DBOS.workflow(name="chat")
        async def chat(work: dict[str, Any]) -> None:
            await self._chat(Work.model_validate(work))

        @DBOS.workflow(name="run")
        async def run(name: str) -> None:
            await self._run(name)

        self.chat: Callable[[dict[str, Any]], Coroutine[Any, Any, None]] = chat
        self.run: Callable[[str], Coroutine[Any, Any, None]] = run

    async def _chat(self, work: Work) -> None:
        reply = self._door.reply(work.id)
        call = Call(str(DBOS.workflow_id), work.session)
        try:
            thought = await self._answer(work, call, reply)
        except NobodyListens:
            log.info("turn %s: the person hung up", work.id)
            return
        except CheckpointRefused:
            raise
        except Exception as problem:  # noqa: BLE001 - whatever went wrong, whoever waits is told
            log.warning("turn %s failed: %s", work.id, _sentence(problem))
            message = _sentence(problem)
            await step("reply", lambda: reply.error(message))
            return
        await step("reply", lambda: self._finish(reply, thought))

    @staticmethod
    async def _finish(reply: Reply, thought: Thought) -> None:
        # After a crash the model's step is replayed in silence, and all it said is said now.
        if not reply.spoken and thought.text:
            await reply.delta(thought.text)
        await reply.done(thought.usage)

    async def _answer(self, work: Work, call: Call, reply: Reply) -> Thought:
        question = next((message.content for message in reversed(work.messages) if message.role == "user"), "")
        if not question.strip():
            raise ValueError("there is no message of a user to answer")
        # Forgetting comes first, so that what is to be gone is not recalled; what is told now stands in the conversation already.
        reading = intake.read(question) if work.principal in ("", self._config.owner) else intake.Reading()
        await self._forget(reading, call)
        memories = await self._recall(question, call)
        await self._remember(reading, call)
        client = "\n".join(message.content for message in work.messages if message.role in ("system", "developer"))
        system = prompt.instructions(
            self._config.instructions, self._config.skills, memories, question, self._budget, client
        )
        history, asked = prompt.conversation(work.messages, self._budget.history(system))
        return await self._chatting.think(self._question(asked, system, history, call), reply)

    def _question(self, text: str, system: str, history: Sequence[ModelMessage], call: Call) -> Question:
        return Question(text, system, history, call, answer=self._budget.answer, recall=self._budget.memories)

    async def _recall(self, query: str, call: Call) -> list[str]:
        """What is known about a text. The step gives texts only: a checkpoint holds nothing that isn't needed again."""

        async def recall() -> list[str]:
            return await self._door.recall(query, call, limit=self._budget.recalled, budget=self._budget.memories)

        return await step("recall", recall)

    async def _forget(self, reading: intake.Reading, call: Call) -> None:
        for query in reading.forget:
            await step("forget", partial(self._ask_to_forget, query, call))

    async def _ask_to_forget(self, query: str, call: Call) -> list[str]:
        return await self._door.forget(query, keyed(call))

    async def _remember(self, reading: intake.Reading, call: Call) -> None:
        for statement in reading.remember:
            await step("remember", partial(self._ask_to_remember, statement, call))

    async def _ask_to_remember(self, statement: intake.Statement, call: Call) -> str:
        space = intake.SESSION_SPACE if statement.scope == "session" else self._long_term
        return await self._door.remember(statement.text, space, keyed(call))

    async def _run(self, name: str) -> None:
        call = Call(str(DBOS.workflow_id))
        await self._report(name, "begun", "", call)
        try:
            thought = await self._work(name, call)
        except CheckpointRefused:
            raise
        except Exception as problem:  # noqa: BLE001 - whatever went wrong, whoever waits is told
            log.warning("run %s failed: %s", call.run, _sentence(problem))
            await self._report(name, "failed", _sentence(problem), call)
            return
        await self._report(name, "ended", thought.text, call)

    async def _work(self, name: str, call: Call) -> Thought:
        workflow = self._config.workflows.get(name)
        if workflow is None:
            raise ValueError(f"there is no workflow {name}")
        memories = await self._recall(workflow.prompt, call)
        system = prompt.instructions(
            self._config.instructions, self._config.skills, memories, workflow.prompt, self._budget
        )
        question = replace(self._question(workflow.prompt, system, [], call), seconds=workflow.timeout_seconds)
        return await self._working[name].think(question)

    async def _report(self, name: str, state: Literal["begun", "ended", "failed"], detail: str, call: Call) -> None:
        await step(f"report {state}", lambda: self._door.report(name, state, detail, keyed(call)))


def _sentence(problem: BaseException) -> str:
    """A failure as a person may read it."""
    if isinstance(problem, RunTimedOut):
        return "it took longer than its timeout"
    text = " ".join(str(problem).split()) or type(problem).__name__
    return text[:300]
