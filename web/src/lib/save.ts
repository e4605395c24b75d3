// Handing a file to the person, by a link that the browser saves; and packing several into one.
import { type Bytes, concat, utf8 } from './bytes';

/** A name that every system takes. */
export const fileName = (title: string, ending = ''): string =>
  `${
    title
      .replace(/[^\p{L}\p{N}._-]+/gu, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 80) || 'salus'
  }${ending}`;

const ENDINGS: Record<string, string> = {
  'application/pdf': '.pdf',
  'application/fhir+json': '.json',
  'application/json': '.json',
  'application/dicom': '.dcm',
  'image/png': '.png',
  'image/jpeg': '.jpg',
  'application/zip': '.zip',
  'application/x-safetensors': '.safetensors',
  'text/plain': '.txt',
  'text/plain; charset=utf-8': '.txt',
};

export const endingOf = (mediaType: string): string => ENDINGS[mediaType] ?? '.bin';

export function saveFile(title: string, mediaType: string, body: Bytes): void {
  const ending = endingOf(mediaType);
  const name = fileName(title);
  const url = URL.createObjectURL(new Blob([body], { type: mediaType }));
  const link = document.createElement('a');
  link.href = url;
  link.download = name.toLowerCase().endsWith(ending) ? name : name + ending;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

const CRC = Uint32Array.from({ length: 256 }, (_, n) => {
  let c = n;
  for (let k = 0; k < 8; k++) c = c & 1 ? 0xedb88320 ^ (c >>> 1) : c >>> 1;
  return c >>> 0;
});

function crc32(bytes: Bytes): number {
  let c = 0xffff_ffff;
  for (const byte of bytes) c = CRC[(c ^ byte) & 0xff]! ^ (c >>> 8);
  return (c ^ 0xffff_ffff) >>> 0;
}

function little(values: [value: number, size: 2 | 4][]): Bytes {
  const out = new Uint8Array(values.reduce((sum, [, size]) => sum + size, 0));
  const view = new DataView(out.buffer);
  let at = 0;
  for (const [value, size] of values) {
    if (size === 2) view.setUint16(at, value, true);
    else view.setUint32(at, value, true);
    at += size;
  }
  return out;
}

/** A ZIP file without compression (APPNOTE 6.3, method 0, names in UTF-8). */
export function zip(files: { name: string; body: Bytes }[]): Bytes {
  const parts: Bytes[] = [];
  const directory: Bytes[] = [];
  let at = 0;
  for (const { name, body } of files) {
    const path = utf8(name);
    const [crc, length] = [crc32(body), body.length];
    // Version, flags (UTF-8), method, time, date (1 January 1980).
    const about: [number, 2 | 4][] = [
      [20, 2],
      [0x0800, 2],
      [0, 2],
      [0, 2],
      [33, 2],
      [crc, 4],
      [length, 4],
      [length, 4],
      [path.length, 2],
      [0, 2],
    ];
    const local = concat(little([[0x04034b50, 4], ...about]), path);
    parts.push(local, body);
    directory.push(
      little([[0x02014b50, 4], [20, 2], ...about, [0, 2], [0, 2], [0, 2], [0, 4], [at, 4]]),
      path,
    );
    at += local.length + length;
  }
  const central = concat(...directory);
  const n = files.length;
  const end = little([
    [0x06054b50, 4],
    [0, 2],
    [0, 2],
    [n, 2],
    [n, 2],
    [central.length, 4],
    [at, 4],
    [0, 2],
  ]);
  return concat(...parts, central, end);
}
