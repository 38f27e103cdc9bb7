"""A turn of a conversation, through the door of docs/runtime.md."""

from __future__ import annotations

from pathlib import Path

from tests.runtime.agent.conftest import Room
from tests.runtime.agent.gateway import until

SISTER = "My sister's name is Ines."


def test_an_answer_streams_as_the_model_speaks_and_ends_with_its_usage(room: Room) -> None:
    room.gateway.say = lambda body: ["One ", "two ", "three."]
    room.gateway.before = lambda path: 0.3 if path == "token" else 0.0
    room.start()
    answer = room.gateway.chat("Count.")
    until(lambda: answer.text == "One ", "the first word is there before the last")
    assert not answer.ended.is_set()
    assert answer.ended.wait(30)
    assert answer.deltas == ["One ", "two ", "three."]
    assert answer.usage == {"prompt_tokens": 7, "completion_tokens": 2}
    assert room.stop() == 0


def test_what_the_person_states_is_kept_and_stands_before_the_model_in_another_conversation(room: Room) -> None:
    room.start()
    assert room.gateway.chat(f"Hi there! {SISTER} How are you?", name="w1", session="a").ended.wait(30)
    assert room.gateway.chat("What is my sister's name?", name="w2", session="b").ended.wait(30)
    assert room.gateway.effects == [("remember", SISTER)]
    assert room.gateway.memories["m0"]["space"] == "long-term"
    system = room.gateway.bodies("/v1/chat/completions")[1]["messages"][0]
    assert system["role"] == "system"
    assert system["content"].startswith("You are Atlas.")
    assert SISTER in system["content"]


def test_statements_go_to_the_space_that_the_configuration_names(room: Room) -> None:
    room.start(space="work")
    assert room.gateway.chat(SISTER).ended.wait(30)
    assert room.gateway.memories["m0"]["space"] == "work"


def test_what_is_said_for_this_conversation_only_is_kept_for_it_only(room: Room) -> None:
    room.start()
    assert room.gateway.chat("For this conversation only: my codename is Falcon.", session="a").ended.wait(30)
    assert room.gateway.memories["m0"] == {"text": "My codename is Falcon.", "space": "session", "session": "a"}
    assert room.gateway.chat("What is my codename?", name="w2", session="b").ended.wait(30)
    assert "Falcon" not in str(room.gateway.bodies("/v1/chat/completions")[1])


def test_what_is_to_be_forgotten_is_gone_before_the_model_is_asked(room: Room) -> None:
    room.start()
    assert room.gateway.chat(SISTER, name="w1").ended.wait(30)
    assert room.gateway.chat("Please forget about my sister.", name="w2").ended.wait(30)
    assert room.gateway.effects[-1] == ("forget", "my sister")
    assert "Ines" not in str(room.gateway.bodies("/v1/chat/completions")[1])


def test_others_than_the_owner_put_nothing_into_the_owners_memory(room: Room) -> None:
    room.start()
    messages = [{"role": "user", "content": SISTER}]
    answer = room.gateway.offer(id="w1", kind="chat", session="a", principal="bob", messages=messages, stream=True)
    assert answer.ended.wait(30)
    assert room.gateway.effects == []


def test_the_past_goes_along_as_far_as_it_fits_and_the_question_always(room: Room) -> None:
    room.start()
    past = [
        {"role": role, "content": f"{role} {number} " + "x" * 900}
        for number in range(8)
        for role in ("user", "assistant")
    ]
    assert room.gateway.chat("And now?", before=past).ended.wait(30)
    sent = room.gateway.bodies("/v1/chat/completions")[0]["messages"]
    assert sent[-1] == {"role": "user", "content": "And now?"}
    assert sent[1]["role"] == "user"
    assert sent[-2]["content"].startswith("assistant 7")
    assert 3 < len(sent) < len(past)


def test_a_model_that_fails_is_told_to_whoever_asked(room: Room) -> None:
    room.start(model="chat")
    answer = room.gateway.offer(id="w1", kind="chat", session="a", principal="alice", messages=[], stream=True)
    assert answer.ended.wait(30)
    assert answer.error == "there is no message of a user to answer"


def test_a_model_is_stopped_when_the_person_hangs_up(room: Room) -> None:
    spoken: list[float] = []

    def before(path: str) -> float:
        if path == "token":
            spoken.append(0.05)
        return 0.05 if path == "token" else 0.0

    room.gateway.say = lambda body: ["word "] * (400 if "Go on" in str(body["messages"]) else 1)
    room.gateway.before = before
    room.start()
    answer = room.gateway.chat("Go on and on.")
    answer.ended.set()
    until(lambda: "the person hung up" in room.log, "the turn is given up")
    assert room.gateway.chat("Hello?", name="w2").ended.wait(40)
    assert len(spoken) < 200


def test_a_model_that_may_use_tools_remembers_by_them_and_is_asked_again(room: Room) -> None:
    call = {
        "index": 0,
        "id": "call1",
        "type": "function",
        "function": {"name": "remember", "arguments": '{"text": "The user likes figs."}'},
    }
    room.gateway.say = lambda body: ["Noted."] if body["messages"][-1]["role"] == "tool" else [call]
    room.start(tools=True)
    answer = room.gateway.chat("What do you think of figs?")
    assert answer.ended.wait(30)
    assert answer.text == "Noted."
    assert room.gateway.effects == [("remember", "The user likes figs.")]
    offered = {tool["function"]["name"] for tool in room.gateway.bodies("/v1/chat/completions")[0]["tools"]}
    assert offered == {"remember", "recall", "forget"}


def test_a_small_model_is_offered_no_tools(room: Room) -> None:
    room.start()
    assert room.gateway.chat("Hello.").ended.wait(30)
    assert "tools" not in room.gateway.bodies("/v1/chat/completions")[0]


def test_the_same_work_offered_twice_is_done_once(room: Room) -> None:
    room.gateway.before = lambda path: 0.5 if path == "/v1/chat/completions" else 0.0
    room.start()
    answer = room.gateway.chat(SISTER)
    until(lambda: room.gateway.count("/v1/chat/completions") == 1, "the model is asked")
    room.gateway._work.append(room.gateway._given["w1"])
    assert answer.ended.wait(30)
    assert room.gateway.count("/v1/chat/completions") == 1
    assert room.gateway.count("reply") == 1


def test_a_finished_conversation_leaves_nothing_in_the_agents_files(room: Room) -> None:
    room.start()
    assert room.gateway.chat("For this conversation only: my codename is Falcon.").ended.wait(30)

    def traces() -> list[str]:
        return [path.name for path in room.database.parent.iterdir() if b"Falcon" in _content(path)]

    until(lambda: not traces(), "the codename is in no file")
    assert "Falcon" not in room.log


def test_an_agent_whose_gateway_comes_back_says_hello_again_and_works(room: Room) -> None:
    room.start()
    room.gateway.stop()
    room.gateway.socket.unlink(missing_ok=True)
    room.gateway.start()
    until(lambda: len(room.gateway.hellos) == 2, "it says hello to the new one")
    assert room.gateway.chat("Hello?").ended.wait(20)


def test_an_idle_agent_is_small(room: Room) -> None:
    room.start()
    assert room.gateway.chat("Hello.").ended.wait(30)
    assert room.process is not None
    status = Path(f"/proc/{room.process.pid}/status").read_text()
    resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident <= 150 * 1024, f"{resident // 1024} MB"


def _content(path: Path) -> bytes:
    """What is in a file; nothing once it is gone: the database lets go of its side files as it likes."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
