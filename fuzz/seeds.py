"""Writes the first inputs of each fuzzing target, small and made here, into `corpus`.

Run it with the Python of `python/check.sh`: `../.venv/bin/python seeds.py`. Notes and bundles hold
ML-DSA signatures, which differ from run to run; everything else is the same bytes.
"""

import gzip
import io
import json
import struct
import sys
import tarfile
import zlib
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "python" / part) for part in ("src", "tests")]

import writer  # noqa: E402
from vectors import FOLDER, load  # noqa: E402
from writer import STAFF, Ledger, Signer, cbor, state_proof  # noqa: E402


def save(target: str, **seeds: bytes) -> None:
    """Writes a target's seeds."""
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in seeds.items():
        (folder / name).write_bytes(data)


def ledger() -> None:
    """Commands, genesis file, notes, proofs."""
    one = Ledger()
    save(
        "bundle",
        record=one.bundle(one.record()),
        entry=one.bundle(one.entry(0, {"entry": one.entry_proof(2)})),
        absent=one.bundle(one.value(b"none")),
    )
    signer = Signer(3)
    ids = [bytes([n]) * 16 for n in range(8)]
    actions = {
        "register": [2, {0: 1, 1: ids[1], 2: signer.public, 3: bytes(32)}],
        "membership": [0, {0: ids[1], 1: [1, [ids[2]]]}],
        "anchor": [8, {0: ids[1], 1: ids[2], 2: bytes(32), 3: bytes(32), 4: 3, 5: ids[4]}],
        "request": [9, {0: ids[1], 1: ids[2], 2: [0, 2], 3: 1, 4: 1_795_341_600_000}],
        "consult": [12, {0: ids[1], 1: ids[2], 2: ids[3], 3: ids[4], 4: ids[:3], 5: ids[5], 6: 9}],
        "read": [14, {0: ids[1], 1: ids[2], 2: ids[:3], 3: 0}],
    }
    for name, action in actions.items():
        command = cbor({0: writer.CONSORTIUM, 1: ids[6], 2: 7, 3: 9, 4: action})
        signature = signer.ed.sign(writer.label("command") + command)
        save("command", **{name: cbor({0: command, 1: signature})})
    save("command", entry=one.entries[2])
    founders = [(STAFF, signer)]
    save("genesis", genesis=writer.genesis([1, 2], founders), list=one.members)
    save(
        "note",
        certified=len(one.members).to_bytes(2, "big") + one.members + one.note().encode(),
        text=one.note().partition("\n\n")[0].encode() + b"\n",
        half="".join(one.note().splitlines(keepends=True)[:9]).encode(),
    )
    proof = state_proof(one.state, b"members")
    fields = {0: proof["depth"], 1: bytes([0x80]), 2: bytes(range(32))}
    leaf = {k: bytes.fromhex(v) for k, v in enumerate(proof["leaf"].values())}
    save(
        "state_proof",
        json=writer.to_json(proof),
        leaf=cbor(fields | {0: 1, 3: leaf}),
        empty=cbor({0: 0, 1: b"", 2: b""}),
        deep=cbor({0: 9, 1: b"\x00\x80", 2: bytes(range(32)), 3: leaf}),
    )


def federated() -> None:
    """Plan, update and the documents of a round."""
    job, digest = bytes([1]) * 16, bytes([2]) * 32
    network = {0: 0, 1: 0, 2: ["normal", "pneumonia"], 3: 1, 4: 28, 5: 500_000, 6: 250_000}
    augmentation = {0: False, 1: 5_000_000, 2: 100_000, 3: 50_000, 4: 100_000}
    training = {0: 1, 1: 32, 2: [0, [900_000]], 3: 10_000, 4: 100, 5: 1}
    training |= {6: [1_000_000, 1_000_000], 7: augmentation, 8: 0, 9: 0, 10: 7}
    plan = {0: job, 1: "triage", 2: network, 3: [{0: "fc.bias", 1: [2], 2: 0}]}
    roster = [{0: bytes([n]) * 16, 1: 100, 2: digest} for n in (1, 2, 3)]
    plan |= {4: [2, [1_000_000, 900_000]], 5: training, 6: 10, 7: roster, 8: 2, 9: 60_000, 10: 24}
    plan |= {11: [{0: "accuracy", 1: 1, 2: 10}], 12: digest}
    update = {0: job, 1: 1, 2: bytes(16), 3: digest, 4: digest, 5: 4096, 6: 100, 7: 0}
    save(
        "federated",
        plan=cbor_with_booleans(plan),
        update=cbor(update | {8: [{0: 0, 1: -5, 2: 100}]}),
        opened=cbor({0: job, 1: 1, 2: digest, 3: 9}),
        closed=cbor({0: job, 1: 1, 2: [{0: bytes(16), 1: digest}]}),
        result=cbor({0: job, 1: 1, 2: digest, 3: digest, 4: [{0: 0, 1: 5, 2: 9}]}),
    )


def cbor_with_booleans(value: object) -> bytes:
    """As `cbor`; a plan's augmentation is the only place with a boolean."""
    marked = cbor(json_free(value))
    return marked.replace(b"\x6b<no flip!!>", b"\xf4")


def json_free(value: object) -> object:
    """Replaces False by a text that `cbor_with_booleans` finds again."""
    match value:
        case bool():
            return "<no flip!!>"
        case list():
            return [json_free(item) for item in value]
        case dict():
            return {key: json_free(item) for key, item in value.items()}
        case _:
            return value


def sealed() -> None:
    """Golden vectors of batches, envelopes, streams, files and keyrings."""
    save("batch", golden=bytes.fromhex(load("record/batch.json")["batch"]))
    envelopes = {v["name"]: v for v in load("crypto/signatures.json")["envelopes"]}
    for name in ("attached", "detached"):
        save("envelope", **{name: bytes.fromhex(envelopes[name]["envelope"])})
    for name in ("empty", "small", "small-piped"):
        save("stream", **{name: (FOLDER / f"crypto/sealed-stream-{name}.bin").read_bytes()})
    first = load("crypto/sealed-file.json")["files"][0]
    save("file", golden=bytes.fromhex(first["file"]), identity=first["identity"].encode() + b"\n")
    golden = load("crypto/keyring.json")["keyrings"][0]
    save("keyring", golden=bytes.fromhex(golden["sealed_keyring"]))


def fhir() -> None:
    """A bundle with each kind of resource that is looked into."""
    system = {"system": "http://loinc.org", "code": "8867-4", "display": "Heart rate"}
    patient = {
        "resourceType": "Patient",
        "id": "p1",
        "identifier": [{"system": "urn:x", "value": "7"}],
        "name": [{"use": "official", "family": "Muster", "given": ["Anna", "B."]}],
        "telecom": [
            {"system": "phone", "value": "555-0100"},
            {"system": "email", "value": "a@b.c"},
        ],
        "gender": "female",
        "birthDate": "1970-01-31",
        "address": [{"line": ["Weg 1"], "city": "Bern", "postalCode": "3000", "country": "CH"}],
        "_birthDate": {"extension": []},
    }
    reference = {"reference": "urn:uuid:1"}
    quantity = {"value": 71.5, "unit": "/min", "code": "/min"}
    pressure = [
        {
            "code": {"coding": [{"system": "http://loinc.org", "code": code}]},
            "valueQuantity": quantity,
        }
        for code in ("8480-6", "8462-4")
    ]
    observation = {
        "resourceType": "Observation",
        "status": "final",
        "category": [{"coding": [{"code": "vital-signs"}]}],
        "code": {"coding": [system], "text": "Pulse \u00e9\ud83d\ude00"},
        "subject": reference,
        "effectiveDateTime": "2020-01-01T00:00:00Z",
        "valueQuantity": quantity,
        "component": pressure,
    }
    condition = {
        "resourceType": "Condition",
        "clinicalStatus": {"coding": [{"code": "active"}]},
        "code": {
            "coding": [{"system": "http://snomed.info/sct", "code": "49727002"}],
            "text": "Cough",
        },
        "subject": reference,
        "onsetDateTime": "2020-01-01",
    }
    hospital = {
        "resourceType": "Organization",
        "identifier": [{"system": "urn:y", "value": "9"}],
        "name": "North",
    }
    resources = [patient, observation, condition, hospital]
    entries = [{"fullUrl": f"urn:uuid:{n}", "resource": r} for n, r in enumerate(resources, 1)]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    text = json.dumps(bundle).encode()
    save(
        "fhir",
        bundle=text,
        gzip=gzip.compress(text, mtime=0),
        pretty=b"\xef\xbb\xbf"
        + json.dumps({"resourceType": "Bundle", "entry": []}, indent=2).encode(),
        deep=b'{"resourceType":"Bundle","x":' + b"[" * 200 + b"]" * 200 + b"}",
    )


def ecg() -> None:
    """WFDB records, annotations, and the stored form."""
    samples = [995, 996, 994, -5, 2047, -2048, 0, 7]
    total = (sum(samples) + 32768) % 65536 - 32768
    line = f"200(1024)/mV 12 0 {samples[0]} {total} 0 II"
    data = struct.pack("<8h", *samples)
    packed = b""
    for a, b in zip(samples[::2], samples[1::2], strict=True):
        packed += bytes([a & 255, (a >> 8 & 15) | (b >> 8 & 15) << 4, b & 255])
    head = "r 1 360 8 12:00:00 01/02/1990\nr.dat {} " + line + "\n# age 7\n"
    segments = "r/2 1 360 16\nr_1 8\nr_1 8\n"
    save(
        "wfdb",
        format16=head.format(16).encode() + b"\0" + data,
        format212=head.format(212).encode() + b"\0" + packed,
        format8=b"r 1 128 4\nr.dat 8 100 8 0 10 44 0 V\n" + b"\0" + bytes([0, 1, 1, 255]),
        format80=b"r 1 128 3\nr.dat 80 100 8 0 1 0 0 V\n" + b"\0" + bytes([129, 128, 127]),
        segments=segments.encode() + b"\0r_1 1 360 8\n",
        two=b"r 2 250/1000(0) 2\nr.dat 16x2 100/uV 16 0\nr.dat 16 100\n\0" + data[:12],
    )
    beats = [1 << 10 | 18, 22 << 10 | 5, 63 << 10 | 3]
    rhythm = struct.pack("<3H", *beats) + b"(N\0\0"
    skip = struct.pack("<HHHH", 59 << 10, 1, 0x86A0, 1 << 10 | 5)
    save(
        "annotations",
        beats=rhythm + b"\0\0",
        skip=skip + struct.pack("<HHH", 60 << 10 | 2, 62 << 10 | 1, 0),
    )
    vector = "a300821824010281a60062494901626d56028202020319040004010549c60f0203bcf0ffff0f0380"
    save("ecg", vector=bytes.fromhex(vector))


def png(color: int, depth: int, rows: list[bytes], *, interlaced: bool = False) -> bytes:
    """A PNG four pixels wide."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    header = struct.pack(">IIBBBBB", 4, len(rows), depth, color, 0, 0, int(interlaced))
    palette = chunk(b"PLTE", bytes(range(12))) if color == 3 else b""
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    parts = [b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), palette, chunk(b"IDAT", body)]
    return b"".join(parts) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    """A grey baseline JPEG of 8 by 8 pixels, all of the mean level."""

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body

    one_code = bytes([1]) + bytes(15) + b"\0"
    return b"".join(
        [
            b"\xff\xd8",
            segment(0xDB, b"\0" + b"\x01" * 64),
            segment(0xC0, struct.pack(">BHHB", 8, 8, 8, 1) + b"\x01\x11\x00"),
            segment(0xC4, b"\x00" + one_code),
            segment(0xC4, b"\x10" + one_code),
            segment(0xDA, b"\x01\x01\x00\x00\x3f\x00"),
            b"\x3f\xff\xd9",
        ]
    )


def pictures() -> None:
    """PNG and JPEG."""
    grey = [bytes(range(4))] * 4
    save(
        "image",
        grey=png(0, 8, grey),
        grey16=png(0, 16, [bytes(8)] * 2),
        bits=png(0, 1, [b"\xa0"] * 4),
        palette=png(3, 2, [b"\x1b"] * 4),
        colour=png(2, 8, [bytes(12)] * 2),
        alpha=png(6, 8, [bytes(16)] * 2),
        jpeg=jpeg(),
    )


def element(group: int, number: int, kind: str, value: bytes, *, implicit: bool = False) -> bytes:
    """A DICOM data element, little-endian."""
    if len(value) % 2:
        value += b" " if kind not in ("OB", "UI", "UN") else b"\0"
    tag = struct.pack("<HH", group, number)
    if implicit:
        return tag + struct.pack("<I", len(value)) + value
    if kind in ("OB", "OW", "SQ", "UN", "UT"):
        return tag + kind.encode() + b"\0\0" + struct.pack("<I", len(value)) + value
    return tag + kind.encode() + struct.pack("<H", len(value)) + value


def dicom_file(syntax: str, data_set: bytes) -> bytes:
    """Preamble, file meta information and data set."""
    meta = element(2, 1, "OB", b"\0\1")
    meta += element(2, 2, "UI", b"1.2.840.10008.5.1.4.1.1.7") + element(2, 3, "UI", b"1.2.3")
    meta += element(2, 0x10, "UI", f"1.2.840.10008.1.2{syntax}".encode())
    length = element(2, 0, "UL", struct.pack("<I", len(meta)))
    return bytes(128) + b"DICM" + length + meta + data_set


def picture_set(pixels: bytes, *, implicit: bool = False, side: int = 4) -> bytes:
    """The data set of a grey picture; `pixels` is the whole last element."""

    def short(number: int, value: int) -> bytes:
        return element(0x28, number, "US", struct.pack("<H", value), implicit=implicit)

    def text(group: int, number: int, kind: str, value: str) -> bytes:
        return element(group, number, kind, value.encode(), implicit=implicit)

    parts = [
        text(8, 5, "CS", "ISO_IR 100"),
        text(8, 0x16, "UI", "1.2.840.10008.5.1.4.1.1.7"),
        text(8, 0x60, "CS", "OT"),
        text(0x10, 0x10, "PN", "Muster^Anna"),
        short(2, 1),
        text(0x28, 4, "CS", "MONOCHROME2"),
        text(0x28, 8, "IS", "1"),
        short(0x10, side),
        short(0x11, side),
        short(0x100, 8),
        short(0x101, 8),
        short(0x102, 7),
        short(0x103, 0),
    ]
    return b"".join(parts) + pixels


def encapsulated(fragment: bytes) -> bytes:
    """Pixel data of undefined length with an empty offset table and one fragment."""
    items = [b"", fragment + b"\0" * (len(fragment) % 2)]
    body = b"".join(struct.pack("<HHI", 0xFFFE, 0xE000, len(i)) + i for i in items)
    start = struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OB", 0, 0xFFFFFFFF)
    return start + body + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)


def dicom() -> None:
    """Pictures in several transfer syntaxes, and a waveform."""
    plain = element(0x7FE0, 0x10, "OW", bytes(range(16)))
    implicit = picture_set(
        element(0x7FE0, 0x10, "OW", bytes(range(16)), implicit=True), implicit=True
    )
    deflate = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = deflate.compress(picture_set(plain)) + deflate.flush()
    rle = struct.pack("<16I", 1, 64, *[0] * 14) + bytes([15, *range(16)])
    definition = b"".join(
        [
            element(0x3A, 0x200, "SQ", b""),
            element(0x3A, 0x210, "DS", b"1.25"),
            element(0x3A, 0x213, "DS", b"0"),
            element(0x3A, 0x21A, "US", struct.pack("<H", 16)),
        ]
    )

    def item(body: bytes) -> bytes:
        return struct.pack("<HHI", 0xFFFE, 0xE000, len(body)) + body

    group = b"".join(
        [
            element(0x3A, 5, "US", struct.pack("<H", 1)),
            element(0x3A, 0x10, "UL", struct.pack("<I", 4)),
            element(0x3A, 0x1A, "DS", b"500"),
            element(0x3A, 0x200, "SQ", item(definition)),
            element(0x5400, 0x1004, "US", struct.pack("<H", 16)),
            element(0x5400, 0x1006, "CS", b"SS"),
            element(0x5400, 0x1010, "OW", struct.pack("<4h", 1, -1, 300, 0)),
        ]
    )
    wave = element(8, 0x60, "CS", b"ECG") + element(0x5400, 0x100, "SQ", item(group))
    save(
        "dicom",
        explicit=dicom_file(".1", picture_set(plain)),
        implicit=dicom_file("", implicit),
        deflated=dicom_file(".1.99", deflated),
        rle=dicom_file(".5", picture_set(encapsulated(rle))),
        jpeg=dicom_file(".4.50", picture_set(encapsulated(jpeg()), side=8)),
        jpeg_ls=dicom_file(".4.80", picture_set(encapsulated(jpeg_ls()))),
        waveform=dicom_file(".1", wave),
    )


def jpeg_ls() -> bytes:
    """Headers of a JPEG-LS picture of 4 by 4 pixels, and a scan of one bits: runs to the ends."""
    frame = b"\xff\xf7" + struct.pack(">HBHHB", 11, 8, 4, 4, 1) + b"\x01\x11\x00"
    scan = b"\xff\xda" + struct.pack(">HBBBBBB", 8, 1, 1, 0, 0, 0, 0)
    return b"\xff\xd8" + frame + scan + b"\xff\x7f\xff\x7f" + b"\xff\xd9"


def pdf_file(catalogue: bytes = b"") -> bytes:
    """A document of one empty page with a classic cross-reference table."""
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R %s>>" % catalogue,
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 100 100] /Contents 4 0 R >>",
        b"<< /Length 5 >>\nstream\n0 0 m\nendstream",
    ]
    out, offsets = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n", []
    for number, body in enumerate(objects, 1):
        offsets.append(len(out))
        out += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    end = b"trailer\n<< /Size 5 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(out)
    return out + b"xref\n0 5\n0000000000 65535 f \n" + table + end


def files() -> None:
    """PDF, tar, manifests."""
    good = pdf_file()
    save(
        "pdf",
        page=good,
        prefixed=b"junk\n" + good,
        active=pdf_file(b"/OpenAction << /S /JavaScript /JS (x) >> "),
    )
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, data in (("a/b.txt", b"hello"), ("long/" + "x" * 90 + "/y" * 10, b"")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        folder = tarfile.TarInfo("folder")
        folder.type = tarfile.DIRTYPE
        tar.addfile(folder)
    save("tar", members=archive.getvalue()[:4096])
    save(
        "manifest",
        full=b"file,sha256,label,patient,split\na/b.png,%s,normal,p1,train\n" % (b"ab" * 32),
        quoted=b'split,"file",note\r\ntest,"a, b.png","x ""y"""\r\n',
        climbing=b"file\n../../etc/passwd\n",
    )


if __name__ == "__main__":
    for part in (ledger, federated, sealed, fhir, ecg, pictures, dicom, files):
        part()
