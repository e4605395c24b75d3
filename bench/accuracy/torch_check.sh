#!/bin/sh
# Trains every built-in network a little and checks its probabilities against PyTorch's (torch_check.py).
#   sh bench/accuracy/torch_check.sh SALUS
# SALUS_TORCH_PYTHON names a Python that has torch, safetensors, numpy and Pillow; else they are installed
# into a virtual environment below the target folder, from wherever pip is set up to install from.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
salus=$1
target=${CARGO_TARGET_DIR:-$here/../../target}
python=${SALUS_TORCH_PYTHON:-$target/torch/bin/python}
if [ -z "${SALUS_TORCH_PYTHON:-}" ] && ! "$python" -c 'import torch, safetensors' 2>/dev/null; then
    python3 -m venv "$target/torch"
    if ! "$python" -m pip install --quiet --disable-pip-version-check torch safetensors numpy pillow; then
        echo "torch: cannot be installed here; the networks are not compared with PyTorch" >&2
        exit 0
    fi
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
for side in 28 64; do
    (cd "$here" && python3 -c 'import discs, pathlib, sys
discs.write(pathlib.Path(sys.argv[1]), int(sys.argv[2]), 40, 8)' "$work/images-$side" "$side")
    for model in small darkcovidnet resnet18; do
        for norm in group batch; do
            echo "torch: $model, $norm normalisation, $side pixels"
            "$salus" federated central --data "$work/images-$side" --size "$side" --sites 2 --rounds 2 \
                --model "$model" --norm "$norm" --out "$work/$model-$norm-$side" --json >/dev/null
            "$python" "$here/torch_check.py" "$salus" "$work/$model-$norm-$side" "$work/images-$side"/test/*/*.png
        done
    done
done
