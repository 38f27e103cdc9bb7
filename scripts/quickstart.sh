#!/usr/bin/env bash
# Sixty seconds to a running agent: applies the quickstart's manifest, asks it something, and says what to try next.
set -euo pipefail
cd "$(dirname "$0")/.."
paictl=.venv/bin/paictl
manifest=examples/quickstart/agent.yaml

"$paictl" apply "$manifest" --yes
echo
echo "> Tell me in one sentence what you can do for me."
"$paictl" chat --file "$manifest" "Tell me in one sentence what you can do for me."
echo
echo "Your agent answers at $("$paictl" open --file "$manifest")"
cat <<EOT

Try next:
  $paictl chat -f $manifest                 talk to it
  $paictl status $manifest                  what runs, and where
  $paictl verify $manifest                  prove that its room has one door
  $paictl destroy $manifest                 take it down; what it knows stays
EOT
