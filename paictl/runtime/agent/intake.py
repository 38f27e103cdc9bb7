"""What of a person's message is to be remembered, and what forgotten: rules over its sentences, the same for any model.

Called by ``turns`` before the model is asked. Pure: no clock, no network. ``tests/runtime/agent/intake.yaml`` holds the
cases. The rules, first match first:

1. Text in code fences, quotations (``>``) and messages of more than twelve sentences are material, not statements.
2. "Forget that …", "Forget about …", "Forget my …" forget what answers to the rest. "Forget it" alone is small talk.
3. "For this conversation only: …", "Just for now, …", "Don't remember this: …" keep what follows, to the end of the
   message, for this conversation; "…, just for now" keeps its own sentence so.
4. "Remember that …", "Note that …", "Keep in mind that …" keep the rest; "Remember to …" keeps the whole sentence.
5. Questions, commands, requests and small talk are not kept.
6. What is left and says something about somebody or something, in at least three words, is kept word for word.

The rules read English. In other languages a sentence is kept when it is no question and speaks in the first person.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

__all__ = ["SESSION_SPACE", "Reading", "Statement", "read"]

Scope = Literal["long-term", "session"]

# Always there, gone with its conversation; the gateway makes it.
SESSION_SPACE = "session"

_MOST_SENTENCES = 12
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Statement:
    """Something to keep, in the person's own words."""

    text: str
    scope: Scope = "long-term"


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message asks of the memory."""

    remember: tuple[Statement, ...] = ()
    forget: tuple[str, ...] = ()


def _opening(*phrases: str) -> re.Pattern[str]:
    return re.compile(rf"^(?:{'|'.join(phrases)})", re.IGNORECASE)


_POLITE = _opening(
    r"(?:(?:oh|ah|hey|hi|hello|ok|okay|well|so|and|also|but|by the way|btw|fyi|please|actually|good (?:morning|evening|day))\b[,!:.]?\s+)+"
)
_FORGET = _opening(
    r"(?:please\s+|can you\s+|could you\s+)?forget\s+"
    r"(?:what i (?:said|told you) about\s+|everything (?:you know )?about\s+|about\s+|that\s+(?=\S+\s)|(?=(?:my|our|the)\s))"
)
_SESSION = _opening(
    r"(?:only |just )?(?:for|in|during) this (?:conversation|chat|session)(?:\s+only|\s+alone)?\s*[:,\u2013-]\s*",
    r"(?:only |just )?for this (?:conversation|chat|session) only\s+",
    r"just for now\s*[:,\u2013-]?\s*",
    r"for now only\s*[:,\u2013-]?\s*",
    r"for the moment only\s*[:,\u2013-]?\s*",
    r"temporarily\s*[:,\u2013-]\s*",
    r"off the record\s*[:,\u2013-]\s*",
    r"(?:do not|don'?t|never) (?:remember|save|store|keep|memori[sz]e|record) (?:this|that|it)\b"
    r"(?: in (?:your )?memory)?\s*[:,.;\u2013-]?\s*(?:but\s+)?",
)
_SESSION_TAIL = re.compile(
    r"[\s,(\u2013-]+(?:but\s+)?(?:(?:only|just) for now|(?:(?:only|just) )?for this (?:conversation|chat|session)(?: only)?"
    r"|(?:but )?(?:don'?t|do not) (?:remember|save|store|keep) (?:this|that|it))\)?(?=[.!]?$)",
    re.IGNORECASE,
)
_TO_DO = _opening(r"(?:always\s+)?(?:remember|don'?t forget|do not forget|remind me)\s+to\s")
_REMEMBER = _opening(
    r"(?:always\s+)?remember(?:\s+(?:this|that|the following))?\s*[:,\u2013-]?\s+",
    r"remember\s*:\s*",
    r"(?:please\s+)?(?:note|make a note|take note|keep in mind|bear in mind|be aware|for the record|for your information)"
    r"(?:\s+(?:that|of this|this))?\s*[:,\u2013-]?\s+",
    r"(?:don'?t|do not|never) forget(?:\s+that)?\s*[:,\u2013-]?\s+",
    r"you should know(?:\s+that)?\s*[:,\u2013-]?\s+",
)
_ASKING = _opening(
    r"(?:who|whom|whose|what|which|when|where|why|how)(?:'s|'re)?\b(?!ever)",
    r"(?:is|are|was|were|am|do|does|did|can|could|will|would|should|shall|may|might|has|have|had)(?:n'?t)?\s+(?:i|you|we|they|he|she|it|there|this|that|these|those|my|your|our|the|a|an|any|someone|anyone)\b",
)
_COMMANDS = (
    "tell|write|show|give|make|explain|summari[sz]e|list|find|help|translate|create|draft|describe|compare|check|open|send|call|read|say|"
    "think|imagine|suppose|act|pretend|answer|use|do|don'?t|do not|stop|continue|go|try|add|remove|sort|fix|generate|calculate|compute|"
    "convert|define|name|let|let'?s|look|search|play|sing|repeat|rewrite|rephrase|correct|improve|shorten|suggest|recommend|plan|"
    "schedule|set|turn|start|begin|wait|ask|be|come|keep|put|take|run|print|count|spell|guess|choose|pick|outline|remind|ignore|forget|"
    "delete|clear|reset|undo|never mind|nevermind|please|discuss|evaluate|solve|prove|design|build|show|provide|review|book|buy|order"
)
_COMMAND = _opening(rf"(?:{_COMMANDS})\b(?!\s+(?:is|are|was|were)\b)")
_REQUEST = _opening(
    r"i(?:'d| would) (?:like|love) (?:you |to (?:know|ask|hear|see|learn))",
    r"i (?:want|need) (?:you\b|to (?:know|ask)|help|some help|your help|an? (?:answer|list|summary|poem|story))",
    r"i(?:'m| am| was) (?:just )?(?:wondering|asking|curious)\b",
    r"i have (?:a |another |some |one more )?questions?\b",
    r"i (?:mean|meant|guess|see|understand|agree|disagree|don'?t know|do not know|think so|hope so|know)\s*[.!]?$",
    r"(?:you|your|that|this|it)(?:'s|'re|\s+(?:is|are|was|were|seems?|sounds?|looks?|did|do|don'?t|didn'?t|can|can'?t|should|shouldn'?t|made|forgot))\b",
)
_SMALL_TALK = re.compile(
    r"^(?:hi|hello|hey|yo|hiya|greetings|howdy|good (?:morning|afternoon|evening|night|day)|"
    r"thanks?(?: you)?(?: (?:so|very) much| a lot| again)?|"
    r"thank you|cheers|bye|goodbye|see you(?: \w+)?|ok(?:ay)?|"
    r"yes|no|yeah|yep|nope|sure|great|nice|cool|fine|good|perfect|awesome|lol|haha|wow|"
    r"sorry|please|got it|sounds good|forget it|forget that|never ?mind|no problem|of course|exactly|right|correct|wrong|"
    r"i(?:'m| am) (?:fine|good|ok(?:ay)?|back|here|sorry|happy|sad|tired|bored|sure|not sure|done|ready))"
    r"(?:[\s,!.]+(?:there|everyone|all|you|then|again|thanks?|thank you|bye|please|so much|very much|too|now|\w{2,12}))?[\s!.,]*$",
    re.IGNORECASE,
)
_SAYS_SOMETHING = re.compile(
    r"\b(?:i|i'm|i've|i'd|i'll|my|mine|we|we're|we've|our|ours)\b"
    r"|\b(?:is|isn't|are|aren't|was|were|has|have|had|lives?|lived|works?|worked|likes?|liked|loves?|hates?|prefers?|speaks?|plays?|owns?|drives?|"
    r"called|named|moved|born|stud(?:y|ies|ied)|needs?|wants?|went|goes|turned|turns|met|married|died|starts?|begins?|ends?|costs?|takes?|"
    r"knows?|teaches|taught|belongs?|arrives?|leaves?|visits?|eats?|drinks?|wears?|runs?|will)\b|'s\b",
    re.IGNORECASE,
)
# First persons of other languages, for messages that are not English.
_FIRST_PERSON = re.compile(
    r"\b(?:je|j'|mon|ma|mes|ich|mein\w*|yo|mi|mis|eu|meu|minha|meus|minhas|io|mio|mia|ik|mijn|jag|min|mitt|jeg|moj\w*|mój|moja|я|мой|моя|моё|мои)\b|私|我|나는|제",
    re.IGNORECASE,
)


def read(message: str) -> Reading:
    """What ``message`` asks of the memory. Statements keep the person's words, without the lead-in that asked to keep them."""
    sentences = _sentences(message)
    if len(sentences) > _MOST_SENTENCES:
        return Reading()
    remember: list[Statement] = []
    forget: list[str] = []
    scope: Scope = "long-term"
    for sentence in sentences:
        bare = _POLITE.sub("", sentence, count=1)
        if query := _to_forget(bare):
            forget.append(query)
            continue
        rest = _SESSION.sub("", bare, count=1)
        if rest != bare:
            scope, bare = "session", rest
        tail = _SESSION_TAIL.sub("", bare)
        here: Scope = "session" if tail != bare else scope
        if kept := _to_keep(tail):
            remember.append(Statement(kept, here))
    return Reading(tuple(remember), tuple(forget))


def _to_forget(sentence: str) -> str:
    query = _FORGET.sub("", sentence, count=1)
    return query.rstrip(" .!") if query != sentence else ""


def _to_keep(sentence: str) -> str:
    """The sentence as it is to be kept, or nothing."""
    asked = not _TO_DO.match(sentence) and _REMEMBER.match(sentence)
    text = _REMEMBER.sub("", sentence, count=1).strip() if asked else sentence.strip()
    if not text or text.endswith("?") or len(text) > _LONGEST or (not asked and _ASKING.match(text)):
        return ""
    if asked or _TO_DO.match(text):
        return _capital(text)
    if len(text.split()) < 3 and not _FIRST_PERSON.search(text):
        return ""
    idle = _SMALL_TALK.match(text) or _REQUEST.match(text) or _COMMAND.match(text)
    says = _SAYS_SOMETHING.search(text) or _FIRST_PERSON.search(text)
    return _capital(text) if says and not idle else ""


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_QUOTED = re.compile(r"^\s*>.*$", re.MULTILINE)
_ABBREVIATION = re.compile(
    r"\b(?:Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|vs|etc|e\.g|i\.e|a\.m|p\.m|No|approx|[A-Z])\.$", re.IGNORECASE
)


def _sentences(message: str) -> list[str]:
    """The message in sentences, without code and quotations; an abbreviation's dot ends none."""
    text = _QUOTED.sub("", _FENCE.sub("\n", message)).replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    found: list[str] = []
    for line in text.splitlines():
        held = ""
        for piece in re.split(r"(?<=[.!?。!?])\s+", line.strip()):
            held = f"{held} {piece}".strip()
            if not _ABBREVIATION.search(held):
                found.append(held)
                held = ""
        if held:
            found.append(held)
    return [sentence for sentence in found if sentence]
