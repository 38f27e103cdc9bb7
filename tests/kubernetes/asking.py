"""A client in a cluster that asks an agent and its model server all the time, and what became of each question.

Used by the stories' rolling updates. It is a pod beside the agent's, which policies of its own let in, and goes by the addresses of
the Services. Gone afterwards.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Any

from tests.kubernetes.documents import pod
from tests.kubernetes.home import KubernetesHome
from tests.waiting import until

__all__ = ["AGENT", "ANEW", "KEPT", "Asked", "asking"]

AGENT = "the agent"
ANEW = "the model server, each time anew"
KEPT = "the model server, on a kept connection"
_NAME = "asker"
_PYTHON = "/opt/paictl/venv/bin/python"
_SECONDS = 120
_END_SECONDS = 20
# Two connect for each question, and ask none twice. The third keeps its connection and does as the gateway does: where that ended
# before a byte of an answer, it asks once more on a new one.
_CLIENT = f"""
import http.client, json, os, sys, threading, time
key = sys.stdin.readline().strip()
question = [{{"role": "user", "content": "Say hello."}}]
def connected(service):
    host, port = (os.environ[service + part] for part in ("_SERVICE_HOST", "_SERVICE_PORT"))
    return http.client.HTTPConnection(host, port, timeout={_SECONDS})
def ask(connection, tokens):
    headers = {{"Content-Type": "application/json", "Authorization": "Bearer " + key}}
    body = {{"model": sys.argv[1], "messages": question, "max_tokens": tokens}}
    connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
    answer = connection.getresponse()
    content = answer.read().decode()
    if answer.status != 200: raise OSError(f"{{answer.status}}: {{content}}")
def anew(service, tokens):
    connection = connected(service)
    try: ask(connection, tokens)
    finally: connection.close()
kept = [connected("MODEL_CHAT")]
def keeping():
    try: ask(kept[0], 1)
    except Exception as error:
        kept[0] = connected("MODEL_CHAT")
        if not isinstance(error, (ConnectionResetError, BrokenPipeError)): raise
        ask(kept[0], 1)  # http.client.RemoteDisconnected is one of these
enough, telling = threading.Event(), threading.Lock()
def go_on(whom, one):
    while not enough.is_set():
        failed = ""
        try: one()
        except Exception as error: failed = repr(error)
        with telling: print(json.dumps([whom, failed]), flush=True)
        time.sleep(0.05)
each = {{{AGENT!r}: lambda: anew("GATEWAY", 8), {ANEW!r}: lambda: anew("MODEL_CHAT", 1), {KEPT!r}: keeping}}
threads = [threading.Thread(target=go_on, args=one) for one in each.items()]
for one in threads: one.start()
sys.stdin.read()
enough.set()
for one in threads: one.join()
"""


@dataclass
class Asked:
    """How often each was answered, and what went wrong; complete once nobody asks any more."""

    answered: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def listen(self, told: IO[str]) -> None:
        """Note what the client says, until it ends."""
        for line in told:
            whom, failed = json.loads(line)
            if failed:
                self.failed.append(f"{whom}: {failed}")
            else:
                self.answered[whom] = self.answered.get(whom, 0) + 1

    def once_more(self) -> None:
        """Wait until each has answered again."""
        before = dict(self.answered)
        until(lambda: all(self.answered.get(one, 0) > before.get(one, 0) for one in _EACH), "an answer", _SECONDS)


_EACH = (AGENT, ANEW, KEPT)


@contextmanager
def asking(home: KubernetesHome) -> Iterator[Asked]:
    """It asks while the block runs, and is answered at least once before that begins and once after it has ended."""
    key = home.run("open", "--token").stdout.strip()
    documents = list(_documents(home.agent, home.image))
    home.access.apply(*documents)
    try:
        home.kubectl("wait", "--for=condition=Ready", f"pod/{_NAME}", f"--timeout={_SECONDS}s")
        with _client(home, key) as asked:
            asked.once_more()
            yield asked
            asked.once_more()
    finally:
        names = [f"{one['kind']}/{one['metadata']['name']}" for one in documents]
        home.kubectl("delete", *names, "--ignore-not-found")


@contextmanager
def _client(home: KubernetesHome, key: str) -> Iterator[Asked]:
    asked, within = Asked(), (f"--namespace={home.agent}", _NAME, "--", _PYTHON, "-c", _CLIENT, home.agent)
    command = home.access.command("exec", "--stdin", *within)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(f"{key}\n")
        client.stdin.flush()
        listener = threading.Thread(target=asked.listen, args=[client.stdout])
        listener.start()
        try:
            yield asked
        finally:
            client.stdin.close()
            listener.join(_END_SECONDS)
            client.terminate()  # its connection may be broken; what became of the questions was told as it happened
            listener.join(_END_SECONDS)


def _documents(namespace: str, image: str) -> Iterator[Mapping[str, Any]]:
    """The pod, what lets it out, and what lets it in to all of the agent's."""
    marks = {"app": _NAME}
    made = pod(_PYTHON, "-c", "import time; time.sleep(3600)", labels=marks, enableServiceLinks=True)
    room = {"requests": {"cpu": "50m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}}
    made["spec"]["containers"][0] |= {"image": image, "resources": room}
    made["metadata"] |= {"name": _NAME, "namespace": namespace}
    yield {"apiVersion": "v1", "kind": "Pod", **made}
    everybody = {"matchLabels": {"app.kubernetes.io/instance": namespace}}
    ways = {
        "out": {"podSelector": {"matchLabels": marks}, "egress": [{"to": [{"podSelector": everybody}]}]},
        "in": {"podSelector": everybody, "ingress": [{"from": [{"podSelector": {"matchLabels": marks}}]}]},
    }
    for way, spec in ways.items():
        agreed = {"paictl/agreed": namespace}
        metadata = {"name": f"{_NAME}-{way}", "namespace": namespace, "annotations": agreed}
        yield {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}
