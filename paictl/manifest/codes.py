"""The stable codes of everything that can be wrong with a manifest, each with its meaning; the index of errors is this."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["CODES"]

CODES: Mapping[str, str] = {
    # The file and its YAML.
    "alias-limit": "anchors and aliases expand to more than 20,000 values, or an alias contains itself",
    "custom-tag": "a YAML tag such as !!python or !vault; manifests hold plain values only",
    "duplicate-key": "the same key twice in one mapping",
    "empty": "there is nothing in the file",
    "key-type": "a key that is not text, such as a number or a list",
    "not-a-file": "a directory or a device where a file belongs",
    "not-found": "the manifest does not exist",
    "not-readable": "the manifest exists, but may not be read",
    "not-utf8": "the file is not UTF-8 text",
    "several-documents": "more than one YAML document in one file",
    "too-deep": "mappings and lists nested more than 64 deep",
    "too-large": "the file is larger than 1 MiB",
    "yaml-syntax": "the text is not YAML",
    "yaml-tab": "a tab where YAML wants spaces",
    # Keys and values.
    "bad-name": "a name with characters that names can't have",
    "invalid-value": "a value that is not of the form the field has",
    "missing-key": "a key that must be there is not",
    "not-a-choice": "a value that is not one of the field's choices",
    "out-of-range": "a number outside the field's limits",
    "too-few": "a list or mapping that must hold something is empty",
    "unknown-key": "a key that does not exist there",
    "unknown-version": "an apiVersion that this paictl does not know",
    "wrong-type": "a value of another type than the field's",
    # Names that refer to something.
    "no-target": "several targets, and nothing says which one is meant",
    "unknown-profile": "a hardware profile that does not exist",
    "unknown-reference": "a name that refers to nothing in the manifest",
    "wrong-task": "a model used for another task than its own",
    # Fields that depend on each other.
    "exactly-one": "exactly one of several keys must be given",
    "missing-hash": "a download over http(s) without its sha256",
    "no-chat-model": "nothing for the agent to think with; a warning",
    "needs": "a key that another key or value requires is missing",
    "not-with": "a key that has no meaning beside another key or value",
    "owner-role": "the owner is given another role, or the role `owner` is redefined",
    "scale-state": "several of a service that keeps its state in files of its own",
    "schedule": "not a cron expression of five fields",
    "store-class": "an external store or database would hold a data class that it is not given",
    "store-unused": "a store of vectors without a model that makes them; a warning",
    "session-space": "the space `session` retains something beyond the conversation",
    "time-zone": "not an IANA time zone",
    # Secrets, variables, included files, layers.
    "floor": "a later layer allows what a profile rules out",
    "include": "an included file is missing, unreadable, too large, not text, or outside the manifest's folder",
    "literal-secret": "a secret's value stands in the manifest",
    "overlay": "an overlay where none can be, or one that changes more than spec",
    "secret-host": "a secret is used for a host that it may not be sent to",
    "variable": "a ${…} that is malformed, unset, or stands where variables are not replaced",
}
