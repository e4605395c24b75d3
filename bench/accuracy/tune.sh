#!/usr/bin/env bash
# Compares strategies and rates for one table on validation images of seed 0 (and fold 0); never looks
# at test images. For pneumoniamnist the published test images are not even read: others, whose patients have
# the lowest numbers, are held out in their place and judged beside the validation images (shifted.py).
# Usage: bench/accuracy/tune.sh SALUS DATA OUT TABLE
# The best line's arguments go into `chosen` of tables/TABLE.sh.
set -euo pipefail
salus=$(realpath "$1") data=$(realpath "$2") out=$3 table=$4
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(realpath "$out")
if [ "$table" = pneumoniamnist ]; then
    python3 "$here/shifted.py" "$data" "$out/shifted"
    data=$out/shifted
fi
# shellcheck source=/dev/null
source "$here/tables/$table.sh"
[ "${folds[0]}" = all ] || common+=(--fold "${folds[0]}")
export RAYON_NUM_THREADS=${THREADS:-1} salus out

candidates=(
    "--strategy fedavg --rate 0.001"
    "--strategy fedavg --rate 0.003"
    "--strategy fedavg --rate 0.0003"
    "--strategy fedavgm --server-momentum 0.5 --rate 0.001"
    "--strategy fedavgm --server-momentum 0.9 --server-rate 0.3 --rate 0.001"
    "--strategy fedadam --server-rate 0.003 --rate 0.001"
    "--strategy fedadam --server-rate 0.001 --rate 0.001"
    "--strategy fedyogi --server-rate 0.003 --rate 0.001"
    "--strategy fedprox --mu 0.01 --rate 0.001"
    "--strategy fedavg --rate 0.001 --smoothing 0.1"
    "--strategy fedavg --rate 0.001 --rotation 15 --zoom 0.15 --shift 0.1 --lighting 0.25"
    "--strategy fedavg --rate 0.001 --rotation 15 --zoom 0.2 --shift 0.1 --lighting 0.4"
    "--strategy fedavg --rate 0.001 --weight-decay 0.05"
    "--strategy fedavg --optimiser sgd --rate 0.02 --weight-decay 0.0005"
    "--strategy scaffold --optimiser sgd --momentum 0 --weight-decay 0 --schedule constant --rate 0.05"
    "--strategy fedavg --rate 0.001 --batch 16"
    "--strategy fedavg --rate 0.001 --flip"
)

one() {
    local number=$1
    shift
    "$salus" "$@" --out "$out/$number.run" --json >"$out/$number.json" 2>"$out/$number.log" ||
        echo "failed: $*" >&2
    rm -rf "$out/$number.run"
}
export -f one

for i in "${!candidates[@]}"; do
    echo "$i federated simulate --seed 0 ${common[*]} ${candidates[$i]}"
done | xargs -d '\n' -P "${JOBS:-$(nproc)}" -I{} bash -c 'one {}'

printf '%s\n' "${candidates[@]}" | python3 -c '
import json, pathlib, sys
shifted = sys.argv[2] == "pneumoniamnist"
rows = []
for i, text in enumerate(sys.stdin.read().splitlines()):
    path = pathlib.Path(sys.argv[1], f"{i}.json")
    if path.exists() and path.stat().st_size:
        report = json.loads(path.read_text())
        # Where nothing stands in for them, "test" are the test images and stays unread.
        judged = [report["validation"]] + ([report["test"]] if shifted else [])
        rows.append([v[k] for v in judged for k in ("auc", "balanced_accuracy", "loss")] + [text])
print("validation of seed 0" + (", then the lowest numbers" if shifted else "") + ": AUC, balanced accuracy, loss")
for *figures, text in sorted(rows, key=lambda row: -row[-4]):
    print(*(f"{figure:.4f}" for figure in figures), text)
' "$out" "$table" | tee "$out/tuning.txt"
