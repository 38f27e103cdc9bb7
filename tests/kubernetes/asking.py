"""Somebody who asks an agent in a cluster all the time, and what became of each question. Used by the stories' rolling updates.

Two ask: a person at the gateway through a forwarded port, and a client in the gateway's own pod, which is who may reach a model
server, by the address of the server's Service.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx

from tests.kubernetes.home import KubernetesHome
from tests.waiting import until

__all__ = ["Asked", "asking"]

_PYTHON = "/opt/paictl/venv/bin/python"
_SECONDS = 60
# One connects for each question. The other keeps its connection and does as the gateway does: where a connection ended before a
# byte of an answer, it asks once more on a new one.
_CLIENT = """
import http.client, json, os, sys, threading, time
host, port = (os.environ[f"MODEL_CHAT_SERVICE_{part}"] for part in ("HOST", "PORT"))
body = json.dumps({"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1})
answered, failed, enough = {}, {}, threading.Event()
def connected(): return http.client.HTTPConnection(host, port, timeout=60)
def ask(connection):
    connection.request("POST", "/v1/chat/completions", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    content = answer.read().decode()
    if answer.status != 200: raise OSError(f"{answer.status}: {content}")
def anew():
    connection = connected()
    try: ask(connection)
    finally: connection.close()
kept = [connected()]
def keeping():
    try: ask(kept[0])
    except Exception as error:
        kept[0] = connected()
        if not isinstance(error, (ConnectionResetError, BrokenPipeError)): raise
        ask(kept[0])  # http.client.RemoteDisconnected is one of these
def go_on(what, one):
    while not enough.is_set():
        try: one()
        except Exception as error:
            said = f"{what}: {error!r}"
            failed[said] = failed.get(said, 0) + 1
            time.sleep(0.05)
        else: answered[what] = answered.get(what, 0) + 1
each = {"the server, each time anew": anew, "the server, on a kept connection": keeping}
threads = [threading.Thread(target=go_on, args=one) for one in each.items()]
for one in threads: one.start()
print("begun", flush=True)
sys.stdin.read()
enough.set()
for one in threads: one.join()
print(json.dumps({"answered": answered, "failed": failed}))
"""


@dataclass
class Asked:
    """How often who was answered, and what went wrong how often; complete once nobody asks any more."""

    answered: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)


@contextmanager
def asking(home: KubernetesHome) -> Iterator[Asked]:
    """Both ask while the block runs, and were answered at least once before it begins and after it has ended."""
    asked, enough, key = Asked(), threading.Event(), home.run("open", "--token").stdout.strip()
    with home.gateway() as url, _within(home, asked):
        person = threading.Thread(target=_person, args=(url, key, home.agent, asked, enough))
        person.start()
        try:
            _once_more(asked)
            yield asked
            _once_more(asked)
        finally:
            enough.set()
            person.join(_SECONDS)


def _once_more(asked: Asked) -> None:
    seen = asked.answered.get("the agent", 0)
    until(lambda: asked.answered.get("the agent", 0) > seen, "an answer", _SECONDS)


def _person(url: str, key: str, agent: str, asked: Asked, enough: threading.Event) -> None:
    """A chat client: it connects for each question, and asks none twice."""
    question = {"model": agent, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8}
    while not enough.is_set():
        try:
            answer = httpx.post(
                f"{url}/v1/chat/completions",
                json=question,
                headers={"Authorization": f"Bearer {key}"},
                timeout=_SECONDS,
                trust_env=False,
            )
            answer.raise_for_status()
        except httpx.HTTPError as error:
            said = f"the agent: {error!r}"
            asked.failed[said] = asked.failed.get(said, 0) + 1
        else:
            asked.answered["the agent"] = asked.answered.get("the agent", 0) + 1


@contextmanager
def _within(home: KubernetesHome, asked: Asked) -> Iterator[None]:
    pod, where = home.pods("gateway")[0]["metadata"]["name"], ("--container=gateway", f"--namespace={home.agent}")
    command = home.access.command("exec", "--stdin", *where, pod, "--", _PYTHON, "-c")
    with subprocess.Popen([*command, _CLIENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "begun\n"
        try:
            yield
        finally:
            client.stdin.close()
            told = json.loads(client.stdout.read())
            asked.answered |= told["answered"]
            asked.failed |= told["failed"]
