// Pictures as samples: PNG and JPEG by the browser's decoders, uncompressed and JPEG-compressed DICOM
// by a small reader of our own that takes what windowing needs.
import type { Bytes } from '../../lib/bytes';

export interface Picture {
  width: number;
  height: number;
  /** One gray sample a pixel; colour pictures have none and are shown as they are. */
  gray?: Int16Array | Uint16Array | Uint8Array | Int32Array;
  colour?: ImageBitmap;
  /** Least and greatest sample. */
  least: number;
  greatest: number;
  /** What the source says is a good window. */
  window?: { width: number; level: number };
  /** Stored inverted (MONOCHROME1). */
  inverted: boolean;
}

/** A kind of picture that this page cannot show. */
export class NotShown extends Error {}

const PIXELS_LIMIT = 64_000_000;

export async function readPicture(mediaType: string, bytes: Bytes): Promise<Picture> {
  if (mediaType === 'application/dicom') return readDicom(bytes);
  if (mediaType === 'image/png' || mediaType === 'image/jpeg')
    return readBitmap(new Blob([bytes], { type: mediaType }));
  throw new NotShown(mediaType);
}

async function readBitmap(blob: Blob): Promise<Picture> {
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  if (width * height > PIXELS_LIMIT) throw new NotShown('too large');
  const context = new OffscreenCanvas(width, height).getContext('2d')!;
  context.drawImage(bitmap, 0, 0);
  const { data } = context.getImageData(0, 0, width, height);
  const gray = new Uint8Array(width * height);
  let coloured = false;
  for (let i = 0, p = 0; i < gray.length; i++, p += 4) {
    const [red, green, blue] = [data[p]!, data[p + 1]!, data[p + 2]!];
    if (Math.abs(red - green) > 8 || Math.abs(green - blue) > 8) coloured = true;
    gray[i] = red;
  }
  if (coloured) return { width, height, colour: bitmap, least: 0, greatest: 255, inverted: false };
  return { width, height, gray, ...extremes(gray), inverted: false };
}

function extremes(samples: ArrayLike<number>): { least: number; greatest: number } {
  let [least, greatest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let i = 0; i < samples.length; i++) {
    const sample = samples[i]!;
    if (sample < least) least = sample;
    if (sample > greatest) greatest = sample;
  }
  return { least, greatest };
}

const LONG_VRS = new Set([
  'OB',
  'OD',
  'OF',
  'OL',
  'OV',
  'OW',
  'SQ',
  'UC',
  'UR',
  'UT',
  'UN',
  'SV',
  'UV',
]);
const IMPLICIT = '1.2.840.10008.1.2';
const EXPLICIT = '1.2.840.10008.1.2.1';
const JPEG_8_BIT = new Set(['1.2.840.10008.1.2.4.50']);
const UNDEFINED = 0xffff_ffff;
const PIXEL_DATA = 0x7fe0_0010;

interface Element {
  at: number;
  length: number;
}

class Dataset {
  private readonly view: DataView;
  readonly elements = new Map<number, Element>();
  syntax = EXPLICIT;

  constructor(private readonly bytes: Bytes) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const dicm = bytes.length > 132 && String.fromCharCode(...bytes.slice(128, 132)) === 'DICM';
    if (!dicm) throw new NotShown('no DICOM file');
    const after = this.walk(132, true, (tag) => tag >>> 16 === 2);
    this.syntax = this.text(0x0002_0010);
    this.walk(after, this.syntax !== IMPLICIT, () => true);
  }

  /** Reads elements from `at` while `wanted`; gives the place after the last. */
  private walk(at: number, explicit: boolean, wanted: (tag: number) => boolean): number {
    let next = at;
    while (next + 8 <= this.bytes.length) {
      const tag =
        ((this.view.getUint16(next, true) << 16) | this.view.getUint16(next + 2, true)) >>> 0;
      if (!wanted(tag)) return next;
      let head = 8;
      let length: number;
      if (explicit) {
        const vr = String.fromCharCode(this.bytes[next + 4]!, this.bytes[next + 5]!);
        if (LONG_VRS.has(vr)) {
          head = 12;
          length = this.view.getUint32(next + 8, true);
        } else {
          length = this.view.getUint16(next + 6, true);
        }
      } else {
        length = this.view.getUint32(next + 4, true);
      }
      const start = next + head;
      this.elements.set(tag, { at: start, length });
      if (tag === PIXEL_DATA) return this.bytes.length;
      next = length === UNDEFINED ? this.skipSequence(start) : start + length;
    }
    return next;
  }

  /** The place after a sequence of undefined length: its items are skipped by their delimiters. */
  private skipSequence(at: number): number {
    let depth = 1;
    for (let i = at; i + 8 <= this.bytes.length; i += 2) {
      if (this.view.getUint16(i, true) !== 0xfffe) continue;
      const element = this.view.getUint16(i + 2, true);
      const length = this.view.getUint32(i + 4, true);
      if (element === 0xe0dd && length === 0) {
        depth -= 1;
        if (depth === 0) return i + 8;
      } else if (element === 0xe000 && length !== UNDEFINED) {
        i += 8 + length - 2;
      }
    }
    throw new NotShown('a sequence without an end');
  }

  text(tag: number): string {
    const element = this.elements.get(tag);
    if (!element) return '';
    const raw = this.bytes.slice(element.at, element.at + element.length);
    return String.fromCharCode(...raw)
      .replace(/[\0 ]+$/, '')
      .trim();
  }

  uint(tag: number, fallback?: number): number {
    const element = this.elements.get(tag);
    if (element?.length === 2) return this.view.getUint16(element.at, true);
    if (fallback === undefined) throw new NotShown('a picture without its size');
    return fallback;
  }

  decimal(tag: number): number | undefined {
    const value = Number.parseFloat(this.text(tag).split('\\')[0] ?? '');
    return Number.isFinite(value) ? value : undefined;
  }
}

/** Whom a DICOM file names, in one line; nothing where it names nobody or cannot be read. */
export function dicomPatient(bytes: Bytes): string | undefined {
  try {
    // `Family^Given^Middle`, other writings after `=` (DICOM PS3.5 section 6.2).
    const written = new Dataset(bytes).text(0x0010_0010).split('=')[0] ?? '';
    return written.split('^').filter(Boolean).join(' ') || undefined;
  } catch {
    return undefined;
  }
}

async function readDicom(bytes: Bytes): Promise<Picture> {
  const set = new Dataset(bytes);
  const pixels = set.elements.get(PIXEL_DATA);
  const [height, width] = [set.uint(0x0028_0010), set.uint(0x0028_0011)];
  if (!pixels || width * height > PIXELS_LIMIT) throw new NotShown('no picture of a size to show');
  const slope = set.decimal(0x0028_1053) ?? 1;
  const intercept = set.decimal(0x0028_1052) ?? 0;
  const [level, span] = [set.decimal(0x0028_1050), set.decimal(0x0028_1051)];
  const window = level !== undefined && span ? { level, width: span } : undefined;
  const inverted = set.text(0x0028_0004) === 'MONOCHROME1';

  if (JPEG_8_BIT.has(set.syntax)) {
    const picture = await readBitmap(
      new Blob([firstFragment(bytes, pixels.at)], { type: 'image/jpeg' }),
    );
    return { ...picture, inverted };
  }
  if (set.syntax !== EXPLICIT && set.syntax !== IMPLICIT) throw new NotShown(set.syntax);
  if (set.uint(0x0028_0002, 1) !== 1) throw new NotShown('colour DICOM');
  const stored = rawSamples(bytes, pixels, set, width * height);
  const gray = new Int32Array(stored.length);
  for (let i = 0; i < gray.length; i++) gray[i] = stored[i]! * slope + intercept;
  return { width, height, gray, ...extremes(gray), window, inverted };
}

function rawSamples(bytes: Bytes, at: Element, set: Dataset, count: number): ArrayLike<number> {
  const allocated = set.uint(0x0028_0100, 8);
  const stored = set.uint(0x0028_0101, allocated);
  const signed = set.uint(0x0028_0103, 0) === 1;
  const needed = count * (allocated / 8);
  if (at.length < needed || at.at + needed > bytes.length)
    throw new NotShown('samples are missing');
  const raw = bytes.slice(at.at, at.at + needed);
  if (allocated === 8) return raw;
  if (allocated !== 16) throw new NotShown(`${allocated} bits`);
  const unused = 16 - stored;
  const samples = signed ? new Int16Array(raw.buffer) : new Uint16Array(raw.buffer);
  if (unused > 0)
    for (let i = 0; i < samples.length; i++)
      samples[i] = signed
        ? (samples[i]! << (16 + unused)) >> (16 + unused)
        : samples[i]! & (0xffff >> unused);
  return samples;
}

/** The first fragment after the offset table of encapsulated pixel data. */
function firstFragment(bytes: Bytes, at: number): Bytes {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const item = (place: number): number => {
    if (view.getUint16(place, true) !== 0xfffe) throw new NotShown('no fragment');
    return view.getUint32(place + 4, true);
  };
  const table = item(at);
  const length = item(at + 8 + table);
  return bytes.slice(at + 16 + table, at + 16 + table + length);
}

/** Fills `out` with gray levels for a window: what is below is black, what is above white. */
export function applyWindow(
  picture: Picture,
  width: number,
  level: number,
  inverted: boolean,
  out: Uint32Array,
  step = 1,
): void {
  const { gray, least, greatest } = picture;
  if (!gray) return;
  const table = new Uint32Array(greatest - least + 1);
  for (let i = 0; i < table.length; i++) {
    const part = Math.min(1, Math.max(0, (i + least - (level - width / 2)) / width));
    const shade = Math.round((inverted ? 1 - part : part) * 255);
    table[i] = (0xff000000 | (shade << 16) | (shade << 8) | shade) >>> 0;
  }
  if (step === 1) {
    for (let i = 0; i < gray.length; i++) out[i] = table[gray[i]! - least]!;
    return;
  }
  let at = 0;
  for (let row = 0; row < gray.length; row += step * picture.width) {
    const end = row + picture.width;
    for (let i = row; i < end; i += step) out[at++] = table[gray[i]! - least]!;
  }
}
