#!/bin/sh
# Asks a running server with curl:
#
#     vectalk serve runs/demo/run --port 8000 &
#     sh examples/client.sh
#
# Another server, space or points:  BASE=... SPACE=user POINT="'17'" OTHER="'18'" sh examples/client.sh
set -eu
BASE=${BASE:-http://127.0.0.1:8000}
SPACE=${SPACE:-film}
POINT=${POINT:-"'Alien (1979)'"}
OTHER=${OTHER:-"'Annie Hall (1977)'"}

call() {
    path=$1
    shift
    curl --silent --show-error --fail-with-body --no-buffer \
        --header "Authorization: Bearer ${VECTALK_API_KEY:-none}" --header "Content-Type: application/json" \
        "$@" "$BASE$path"
    echo
}

echo "# the model"
models=$(call /v1/models)
echo "$models"
MODEL=$(printf '%s' "$models" | sed 's/.*"data":\[{"id":"\([^"]*\)".*/\1/')

echo "# a question about a point between two entities, as a content part"
call /v1/chat/completions --data @- <<END
{"model": "$MODEL", "max_tokens": 60, "messages": [{"role": "user", "content": [
    {"type": "text", "text": "Describe "},
    {"type": "vector", "space": "$SPACE", "expression": "lerp($POINT, $OTHER, 0.5)"},
    {"type": "text", "text": "."}]}]}
END

echo "# the same as plain text, streamed"
call /v1/chat/completions --data @- <<END
{"model": "$MODEL", "max_tokens": 60, "stream": true, "stream_options": {"include_usage": true},
 "messages": [{"role": "user", "content": "Describe $SPACE:lerp($POINT, $OTHER, 0.5)."}]}
END

echo "# where the point comes from, and whether it is in the distribution"
call "/api/spaces/$SPACE/resolve" --data "{\"expression\": \"lerp($POINT, $OTHER, 0.5)\"}"

echo "# its nearest entities"
call "/api/spaces/$SPACE/neighbors" --data "{\"expression\": \"lerp($POINT, $OTHER, 0.5)\", \"k\": 3}"
