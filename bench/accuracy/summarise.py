#!/usr/bin/env python3
"""Turns the reports of run.sh into the tables of docs/accuracy.md. Standard library only.

Usage: summarise.py OUT [TABLE...]
"""

import json
import math
import pathlib
import random
import statistics
import sys

# Student's t, 97.5 %, by degrees of freedom.
T = {1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


def auc(scores, labels):
    """The chance that a positive scores above a negative; ties count half."""
    ranked = sorted(zip(scores, labels))
    wins = below = 0.0
    i = 0
    while i < len(ranked):
        j = i
        while j < len(ranked) and ranked[j][0] == ranked[i][0]:
            j += 1
        positives = sum(label for _, label in ranked[i:j])
        negatives = (j - i) - positives
        wins += positives * (below + negatives / 2)
        below += negatives
        i = j
    return wins / (below * (len(ranked) - below)) if 0 < below < len(ranked) else math.nan


def figures(probabilities, classes):
    """Accuracy, balanced accuracy and AUC (of class 1, or one against the rest)."""
    k = len(probabilities[0])
    guess = [max(range(k), key=lambda c: (p[c], -c)) for p in probabilities]
    right = [g == c for g, c in zip(guess, classes)]
    recalls = [statistics.mean(r for r, c in zip(right, classes) if c == wanted) for wanted in sorted(set(classes))]
    areas = [auc([p[c] for p in probabilities], [int(label == c) for label in classes]) for c in range(k)]
    return {
        "accuracy": statistics.mean(right),
        "balanced accuracy": statistics.mean(recalls),
        "AUC": areas[1] if k == 2 else statistics.mean(areas),
    }


def interval(values):
    """Mean and half width of the 95 % interval over seeds."""
    mean = statistics.mean(values)
    if len(values) < 2:
        return mean, math.nan
    return mean, T.get(len(values) - 1, 1.96) * statistics.stdev(values) / math.sqrt(len(values))


def mcnemar(first, second):
    """Two-sided exact test on the images that exactly one of two models gets right."""
    b = sum(f and not s for f, s in zip(first, second))
    c = sum(s and not f for f, s in zip(first, second))
    n, k = b + c, min(b, c)
    if n == 0:
        return b, c, 1.0
    tail = sum(math.comb(n, i) for i in range(k + 1)) / 2**n
    return b, c, min(1.0, 2 * tail)


def paired_difference(federated, central, patients, classes, name, draws=1000):
    """95 % interval of federated minus central over resampled patients."""
    groups = {}
    for i, patient in enumerate(patients):
        groups.setdefault(patient, []).append(i)
    groups = list(groups.values())
    rng = random.Random(0)
    out = []
    for _ in range(draws):
        chosen = [i for g in rng.choices(groups, k=len(groups)) for i in g]
        labels = [classes[i] for i in chosen]
        if len(set(labels)) < len(set(classes)):
            continue
        f = figures([federated[i] for i in chosen], labels)[name]
        c = figures([central[i] for i in chosen], labels)[name]
        out.append(f - c)
    out.sort()
    return out[int(len(out) * 0.025)], out[int(len(out) * 0.975)]


def load(folder, table, arm):
    """{seed: {fold: report}}"""
    runs = {}
    for path in sorted(folder.glob(f"{table}-{arm}-seed*.json")):
        seed, _, fold = path.stem.split("-seed")[1].partition("-fold")
        runs.setdefault(int(seed), {})[fold] = json.loads(path.read_text())
    return runs


def pooled(folds):
    """Test predictions of all folds together: (probabilities, classes, patients)."""
    out = ([], [], [])
    for fold, report in sorted(folds.items()):
        out[0].extend(report["test_probabilities"])
        out[1].extend(report["test_classes"])
        out[2].extend((fold, p) for p in report["test_patients"])
    return out


def summarise(folder, table):
    arms = {arm: load(folder, table, arm) for arm in ("simulate", "central", "local")}
    if not arms["simulate"] or not arms["central"]:
        return
    seeds = sorted(set(arms["simulate"]) & set(arms["central"]))
    print(f"\n### {table}\n\nSeeds {', '.join(map(str, seeds))}; mean and 95 % interval over seeds.\n")
    names = ["accuracy", "balanced accuracy", "AUC"]
    print("| Arm | " + " | ".join(names) + " |\n|---|" + "---|" * len(names))
    for arm, title in (("simulate", "federated"), ("central", "central")):
        each = [figures(*pooled(arms[arm][s])[:2]) for s in seeds]
        cells = ["{:.4f} ± {:.4f}".format(*interval([e[n] for e in each])) for n in names]
        print(f"| {title} | " + " | ".join(cells) + " |")
    sites = []
    for seed in sorted(arms["local"]):
        for fold, report in arms["local"][seed].items():
            for hospital in report["hospitals"]:
                common = arms["simulate"].get(seed, {}).get(fold, {}).get("test")
                if common and hospital["test"]:
                    sites.append((seed, fold, hospital["site"], hospital["test"], common))
    if sites:
        keys = ["accuracy", "balanced_accuracy", "auc"]
        cells = [f"{statistics.mean(s[3][k] for s in sites if s[3][k] is not None):.4f}" for k in keys]
        print("| alone, mean hospital | " + " | ".join(cells) + " |")
        best = [max(s[3][k] for s in sites if s[3][k] is not None) for k in keys]
        print("| alone, best hospital | " + " | ".join(f"{b:.4f}" for b in best) + " |")
    print()
    for seed in seeds:
        fp, classes, patients = pooled(arms["simulate"][seed])
        cp, same, _ = pooled(arms["central"][seed])
        assert classes == same, "the arms were tested on different images"
        right = [[max(range(len(p)), key=lambda c: (p[c], -c)) == c for p, c in zip(ps, classes)] for ps in (fp, cp)]
        b, c, p = mcnemar(*right)
        low, high = paired_difference(fp, cp, patients, classes, "AUC")
        print(
            f"- seed {seed}: federated alone right on {b} images, central alone on {c}, McNemar p = {p:.3f}; "
            f"AUC federated minus central, 95 % by patient: {low:+.4f} to {high:+.4f}"
        )
    if sites:
        better = [s for s in sites if s[4]["balanced_accuracy"] > s[3]["balanced_accuracy"]]
        higher = [s for s in sites if (s[4]["auc"] or 0) > (s[3]["auc"] or 0)]
        print(
            f"- hospitals for which the federated model is better on the common test set than their own: "
            f"{len(better)} of {len(sites)} by balanced accuracy, {len(higher)} of {len(sites)} by AUC"
        )


def main():
    folder = pathlib.Path(sys.argv[1])
    for table in sys.argv[2:] or ["pneumoniamnist", "cxr", "covid3", "covid2"]:
        summarise(folder, table)


if __name__ == "__main__":
    main()
