"""Pictures for checks of the trainer that need no real data: a bright disc to the left or to the right."""

import pathlib
import random
import struct
import zlib


def png(side: int, rows: list[bytes]) -> bytes:
    """An 8-bit grey PNG."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def disc(side: int, left: bool, dice: random.Random) -> bytes:
    x, y = side * (0.3 if left else 0.7) + dice.uniform(-2, 2), side / 2 + dice.uniform(-side / 4, side / 4)
    radius = side / 6
    rows = []
    for row in range(side):
        grey = (200 if (column - x) ** 2 + (row - y) ** 2 < radius**2 else 60 for column in range(side))
        rows.append(bytes(max(0, min(255, value + dice.randint(-40, 40))) for value in grey))
    return png(side, rows)


def write(folder: pathlib.Path, side: int, training: int, test: int) -> list[pathlib.Path]:
    """Writes so many pictures of each of two classes; the test pictures' paths."""
    dice = random.Random(side)
    tests = []
    for split, count in (("train", training), ("test", test)):
        for name in ("left", "right"):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                path = folder / split / name / f"{number:04}.png"
                path.write_bytes(disc(side, name == "left", dice))
                if split == "test":
                    tests.append(path)
    return tests
