#!/usr/bin/env bash
# The accuracy table: every arm, fold and seed as one process of THREADS threads (1 unless set), JOBS at a time.
# Usage: bench/accuracy/run.sh SALUS DATA OUT [TABLE...]
#   SALUS  the program (a release build)        DATA  folder with medmnist, pneumonia-cxr-224, covid-xray
#   OUT    folder for reports                   TABLE pneumoniamnist, cxr, covid3, covid2; all by default
# A run that is already in OUT is not repeated; a run that was cut short goes on from its checkpoint.
set -euo pipefail
salus=$(realpath "$1") data=$(realpath "$2") out=$3
shift 3
tables=("$@")
[ ${#tables[@]} -gt 0 ] || tables=(pneumoniamnist cxr covid3 covid2)
seeds=${SEEDS:-0 1 2}
here=$(cd "$(dirname "$0")" && pwd)
mkdir -p "$out"
out=$(realpath "$out")
export RAYON_NUM_THREADS=${THREADS:-1} salus out

# NAME ARGUMENTS...: one line for each run.
plan() {
    local table=$1 seed arm fold
    # shellcheck source=/dev/null
    source "$here/tables/$table.sh"
    for seed in $seeds; do
        for fold in "${folds[@]}"; do
            for arm in simulate central local; do
                local name="$table-$arm-seed$seed" extra=()
                if [ "$fold" != all ]; then
                    name="$name-fold${fold%/*}"
                    extra=(--fold "$fold")
                fi
                echo "$name federated $arm --seed $seed ${common[*]} ${chosen[*]} ${extra[*]}"
            done
        done
    done
}

one() {
    local name=$1
    shift
    [ -s "$out/$name.json" ] && return 0
    "$salus" "$@" --out "$out/$name.run" --json >"$out/$name.stdout" 2>"$out/$name.log" || {
        echo "failed: $name" >&2
        return 1
    }
    mv "$out/$name.run/report.json" "$out/$name.json"
    rm -rf "$out/$name.stdout" "$out/$name.log" "$out/$name.run/checkpoint"
    echo "done: $name"
}
export -f one

for table in "${tables[@]}"; do plan "$table"; done |
    xargs -d '\n' -P "${JOBS:-$(nproc)}" -I{} bash -c 'one {}'
python3 "$here/summarise.py" "$out" "${tables[@]}" | tee "$out/summary.md"
