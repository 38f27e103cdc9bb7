#!/usr/bin/env bash
# Refreshes requirements/*.txt from pyproject.toml: one resolution for development, the part of it that targets run, what
# the images of the Docker tests are made of, and the programs of the Kubernetes tests.
set -euo pipefail
cd "$(dirname "$0")/.."
uv=.venv/bin/uv
compile=("$uv" pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url "$@")
export UV_CUSTOM_COMPILE_COMMAND="make lock"
"${compile[@]}" pyproject.toml --extra runtime --group dev --output-file requirements/dev.txt
pins=$(mktemp) runtime=$(mktemp)
trap 'rm -f "$pins" "$runtime"' EXIT
grep -E '^[a-z0-9_.-]+==' requirements/dev.txt | sed 's/ *\\$//' >"$pins"
.venv/bin/python - >"$runtime" <<'PY'
import tomllib
with open("pyproject.toml", "rb") as source:
    print("\n".join(tomllib.load(source)["project"]["optional-dependencies"]["runtime"]))
PY
"${compile[@]}" "$runtime" --constraints "$pins" --output-file requirements/runtime.txt
"${compile[@]}" --no-deps --group images --output-file requirements/images.txt
"${compile[@]}" --no-deps --group kubernetes-tests --output-file requirements/kubernetes-tests.txt
