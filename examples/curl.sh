#!/bin/sh
# Publishing, reading and resuming with nothing but curl. Needs a running gateway: sluice serve
#
#     sh examples/curl.sh [url]
set -eu
url=${1:-http://127.0.0.1:8080}
topic=$url/v1/topics/examples/curl-$$

echo "# One event, several events in one batch, and an event with a name:"
curl -sS --fail-with-body -d 'hello' "$topic"
printf '{"n":1}\n{"n":2}\n' |
  curl -sS --fail-with-body -H 'Content-Type: application/x-ndjson' --data-binary @- "$topic"
curl -sS --fail-with-body -d 'ready' "$topic?event=status"

echo "# All of them; the topic is ended, so the stream ends too (without that curl -N stays):"
curl -sS --fail-with-body -X DELETE "$topic"
stream=$(curl -sSN --fail-with-body "$topic?last_event_id=earliest")
printf '%s\n' "$stream"

echo "# Resumed behind the first event:"
first=$(printf '%s\n' "$stream" | sed -n '/^data: hello$/{n;s/^id: //p;}')
curl -sSN --fail-with-body -H "Last-Event-ID: $first" "$topic"

echo "# Resumed behind the end there is nothing more to come, which is what 204 says:"
last=$(printf '%s\n' "$stream" | sed -n 's/^id: //p' | tail -n 1)
curl -sS -o /dev/null -w '%{http_code}\n' -H "Last-Event-ID: $last" "$topic"
