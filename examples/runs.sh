#!/bin/sh
# A streamed answer that outlives its reader, with nothing but curl. Needs an origin and a gateway before it:
#
#     node examples/origin.ts &
#     sluice serve --upstream http://127.0.0.1:3000 &
#     sh examples/runs.sh [url]
set -eu
url=${1:-http://127.0.0.1:8080}
head=$(mktemp)
trap 'rm -f "$head"' EXIT

# Asks, and is cut off after so many lines; what is left is the id of the run.
ask() {
  curl -sSN -D "$head" -d "$1" "$url/api/chat" 2>/dev/null | head -n "$2"
  run=$(tr -d '\r' <"$head" | sed -n 's/^[Ss]luice-[Rr]un: //p')
}

echo "# Asks, and is cut off in the middle of the answer:"
ask 'why?' 8

echo "# The whole answer of run $run, from the first token on, although its reader had gone:"
answer=$(curl -sSN --fail-with-body "$url/v1/runs/$run")
printf '%s\n' "$answer"

echo "# Resumed behind the second token; nobody is asked again:"
second=$(printf '%s\n' "$answer" | sed -n '/^data: /{n;s/^id: //p;}' | sed -n 2p)
curl -sSN --fail-with-body -H "Last-Event-ID: $second" "$url/v1/runs/$run"

echo "# Another one is stopped, and the origin with it; how it ended stays readable:"
ask 'and why is that so?' 4
curl -sS -X DELETE -o /dev/null -w '%{http_code}\n' "$url/v1/runs/$run"
curl -sSN --fail-with-body "$url/v1/runs/$run"
