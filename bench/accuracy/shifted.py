#!/usr/bin/env python3
"""Writes PneumoniaMNIST for tuning: its published test images left out, other images in their place.

Usage: shifted.py DATA OUT      DATA and OUT: folders with medmnist/ and pneumonia-cxr-224/

The published test images are not a random part: their normal films are those of the patients with the lowest
numbers (IM-0001 to IM-0111 of IM-, 7 to 381 of NORMAL2-IM-), those of the training split follow. So the images
held out here are of the patients with the lowest numbers in the training split: as near to such a shift as tuning
can come without looking at the test images. Standard library only.
"""

import ast
import csv
import pathlib
import re
import struct
import sys
import zipfile

# Share of the training split's images that are held out, in each series of patient numbers.
HELD_OUT = 0.15
SIDE = 28


def read_npy(data: bytes) -> tuple[tuple[int, ...], bytes]:
    """Shape and values of an array of bytes (npy version 1)."""
    (length,) = struct.unpack("<H", data[8:10])
    header = ast.literal_eval(data[10 : 10 + length].decode("latin-1"))
    assert header["descr"] == "|u1" and not header["fortran_order"]
    return header["shape"], data[10 + length :]


def npy(shape: tuple[int, ...], values: bytes) -> bytes:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape!r}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + values


def held_out(rows: list[dict[str, str]]) -> set[str]:
    """The patients with the lowest numbers, by label, subtype and kind of number."""
    series: dict[tuple[str, ...], list[tuple[int, str]]] = {}
    for row in rows:
        kind, number = re.fullmatch(r"(.*?)(\d+)", row["patient"]).groups()
        series.setdefault((row["label"], row["subtype"], kind), []).append((int(number), row["patient"]))
    held = set()
    for numbers in series.values():
        numbers.sort()
        first_kept = numbers[int(len(numbers) * HELD_OUT)][0]
        held.update(patient for number, patient in numbers if number < first_kept)
    return held


def main() -> None:
    data, out = map(pathlib.Path, sys.argv[1:])
    images, labels = {}, {}
    with zipfile.ZipFile(data / "medmnist/pneumoniamnist.npz") as archive:
        for split in ("train", "val"):
            (count, *_), values = read_npy(archive.read(f"{split}_images.npy"))
            images[split] = [values[i * SIDE**2 : (i + 1) * SIDE**2] for i in range(count)]
            labels[split] = read_npy(archive.read(f"{split}_labels.npy"))[1]
    with open(data / "pneumonia-cxr-224/manifest.csv", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["medmnist_split"] in images]
    held = held_out(rows)
    test = [row for row in rows if row["patient"] in held]
    rest = [row for row in rows if row["patient"] not in held]
    for folder in ("medmnist", "pneumonia-cxr-224"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    with (
        zipfile.ZipFile(out / "medmnist/pneumoniamnist.npz", "w") as archive,
        open(out / "pneumonia-cxr-224/manifest.csv", "w", newline="") as file,
    ):
        manifest = csv.writer(file)
        manifest.writerow(["split", "patient", "medmnist_split", "medmnist_index"])
        # Training and validation images form one pool; an npz has both.
        for split, part in (("train", rest[1:]), ("val", rest[:1]), ("test", test)):
            where = [(row["medmnist_split"], int(row["medmnist_index"])) for row in part]
            pixels = b"".join(images[source][index] for source, index in where)
            classes = bytes(labels[source][index] for source, index in where)
            archive.writestr(f"{split}_images.npy", npy((len(part), SIDE, SIDE), pixels))
            archive.writestr(f"{split}_labels.npy", npy((len(part), 1), classes))
            manifest.writerows(["train", row["patient"], split, i] for i, row in enumerate(part))
    print(f"{len(rest)} images to train with, {len(test)} of the patients with the lowest numbers held out")


if __name__ == "__main__":
    main()
