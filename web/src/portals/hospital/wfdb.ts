// ECGs in WFDB format (header(5), signal(5)) of one segment, in the storage formats that recorders write
// today: 16, 61, 80, 160 and 212. Everything else is left to `salus intake`, and said so.
import { type Bytes, fromUtf8 } from '../../lib/bytes';
import { encode, fields, type Value } from '../../lib/cbor';
import { Refused } from './refused';

/** The sample that means "none". */
const MISSING = -(2 ** 31);
const LEADS_LIMIT = 64;
const SAMPLES_LIMIT = 67_108_864;
const HEADER_LIMIT = 1 << 20;
/** What each format writes where there is no sample. */
const NO_SAMPLE: Record<number, number> = {
  16: -0x8000,
  61: -0x8000,
  80: -0x80,
  160: -0x8000,
  212: -0x800,
};

/** `[mantissa, exponent]`: mantissa times ten to the exponent, in its one form. */
export type Decimal = [mantissa: number, exponent: number];

export interface Signal {
  name: string;
  unit: string;
  gain: Decimal;
  baseline: number;
  perFrame: number;
  samples: Int32Array;
}

export interface Recording {
  record: string;
  rate: Decimal;
  start?: string;
  signals: Signal[];
  remarks: string[];
}

interface Spec {
  file: string;
  format: number;
  perFrame: number;
  offset: number;
  gain: Decimal;
  baseline: number;
  unit: string;
  checksum?: number;
  name: string;
}

interface Header {
  record: string;
  rate: Decimal;
  frames?: number;
  start?: string;
  specs: Spec[];
  remarks: string[];
}

const bad = (): never => {
  throw new Refused('ecg-header');
};

export function decimal(text: string): Decimal {
  const found = /^([+-]?)(\d*)(?:\.(\d*))?(?:[eE]([+-]?\d{1,3}))?$/.exec(text) ?? bad();
  const [, sign, whole = '', fraction = '', power = '0'] = found;
  if (whole.length + fraction.length === 0) bad();
  let mantissa = Number(whole + fraction) * (sign === '-' ? -1 : 1);
  let exponent = Number(power) - fraction.length;
  if (!Number.isSafeInteger(mantissa)) bad();
  if (mantissa === 0) return [0, 0];
  while (mantissa % 10 === 0) {
    mantissa /= 10;
    exponent += 1;
  }
  return Math.abs(exponent) <= 18 ? [mantissa, exponent] : bad();
}

const integer = (text: string | undefined, otherwise: number): number => {
  if (text === undefined) return otherwise;
  return /^[+-]?\d{1,10}$/.test(text) ? Number(text) : bad();
};

const two = (part: string): string => part.padStart(2, '0');

/** `8:26:04` or `26:04.5` or `4`: missing parts are the larger ones. */
function clock(text: string): string {
  const parts = (text.replace(/[[\]]/g, '').split('.')[0] ?? '').split(':');
  if (parts.length > 3 || parts.some((part) => !/^\d{1,2}$/.test(part))) bad();
  const [hour, minute, second] = [...Array(3 - parts.length).fill('0'), ...parts] as string[];
  const real = Number(hour) < 24 && Number(minute) < 60 && Number(second) < 61;
  return real ? `${two(hour!)}:${two(minute!)}:${two(second!)}` : bad();
}

function startOf(time: string | undefined, day: string | undefined): string | undefined {
  if (time === undefined) return undefined;
  if (day === undefined) return clock(time);
  const [, date = '', month = '', year = ''] =
    /^\[?(\d{1,2})\/(\d{1,2})\/(\d{1,4})\]?$/.exec(day) ?? bad();
  if (Number(date) < 1 || Number(date) > 31 || Number(month) < 1 || Number(month) > 12) bad();
  return `${year.padStart(4, '0')}-${two(month)}-${two(date)}T${clock(time)}`;
}

function specOf(line: string): Spec {
  const [, file = '', kind = '', ...rest] =
    /^\s*(\S+)\s+(\S+)(?:\s+(\S+))?(?:\s+(\S+))?(?:\s+(\S+))?(?:\s+(\S+))?(?:\s+(\S+))?(?:\s+(\S+))?(?:\s+(.*))?$/.exec(
      line,
    ) ?? bad();
  const [gain = '200', , zero, , checksum, , name = ''] = rest as (string | undefined)[];
  if (/[/\\]/.test(file) || file.startsWith('.')) bad();
  const [, format, perFrame, skew, offset] =
    /^(\d{1,3})(?:x(\d{1,4}))?(?::(\d{1,7}))?(?:\+(\d{1,10}))?$/.exec(kind) ?? bad();
  if (!(Number(format) in NO_SAMPLE) || Number(skew ?? 0) !== 0)
    throw new Refused('ecg-format', { format: format ?? '' });
  const [, steps = '', baseline, unit = 'mV'] =
    /^([^(/]+)(?:\(([^)]+)\))?(?:\/(.*))?$/.exec(gain) ?? bad();
  const value = decimal(steps);
  return {
    file,
    format: Number(format),
    perFrame: Math.max(1, integer(perFrame, 1)),
    offset: integer(offset, 0),
    // A gain of zero means uncalibrated: 200 by convention.
    gain: value[0] === 0 ? [2, 2] : value,
    baseline: integer(baseline, integer(zero, 0)),
    unit,
    checksum: checksum === undefined ? undefined : integer(checksum, 0) & 0xffff,
    name: name.trim(),
  };
}

/** Reads a header; its files are named in `specs`. */
export function header(bytes: Bytes): Header {
  if (bytes.length > HEADER_LIMIT) bad();
  let text: string;
  try {
    text = fromUtf8(bytes);
  } catch {
    return bad();
  }
  const remarks: string[] = [];
  const lines: string[] = [];
  for (const line of text.split(/\r?\n/)) {
    const remark = /^\s*#(.*)$/.exec(line)?.[1];
    if (remark === undefined) {
      if (line.trim()) lines.push(line);
    } else if (lines.length > 0) remarks.push(remark.trim());
  }
  const [record = '', count, rate = '250', frames, time, day] = (lines[0] ?? '')
    .trim()
    .split(/\s+/);
  if (record.includes('/')) throw new Refused('ecg-segments');
  const signals = integer(count, -1);
  if (signals < 1 || signals > LEADS_LIMIT || lines.length < signals + 1) bad();
  const value = decimal(rate.split(/[/(]/)[0] ?? '');
  if (value[0] <= 0) bad();
  return {
    record,
    rate: value,
    frames: integer(frames, 0) > 0 ? integer(frames, 0) : undefined,
    start: startOf(time, day),
    specs: lines.slice(1, signals + 1).map(specOf),
    remarks,
  };
}

/** How many whole samples a file of so many bytes has. */
function capacity(format: number, length: number): number {
  if (format === 212) return Math.floor(length / 3) * 2 + (length % 3 === 2 ? 1 : 0);
  return format === 80 ? length : Math.floor(length / 2);
}

function sampleAt(bytes: Bytes, format: number, at: number): number {
  switch (format) {
    case 16:
      return ((bytes[2 * at]! | (bytes[2 * at + 1]! << 8)) << 16) >> 16;
    case 61:
      return (((bytes[2 * at]! << 8) | bytes[2 * at + 1]!) << 16) >> 16;
    case 160:
      return (bytes[2 * at]! | (bytes[2 * at + 1]! << 8)) - 0x8000;
    case 80:
      return bytes[at]! - 0x80;
    default: {
      const block = Math.floor(at / 2) * 3;
      const middle = bytes[block + 1]!;
      const value =
        at % 2 === 0
          ? bytes[block]! | ((middle & 15) << 8)
          : bytes[block + 2]! | ((middle >> 4) << 8);
      return (value << 20) >> 20;
    }
  }
}

/** The signals of one file, whose frames stand one after the other. */
function readGroup(group: Spec[], file: Bytes, frames: number | undefined): Signal[] {
  const { format, offset } = group[0]!;
  if (group.some((spec) => spec.format !== format || spec.offset !== offset)) bad();
  const bytes = file.subarray(offset) as Bytes;
  const wide = group.reduce((sum, spec) => sum + spec.perFrame, 0);
  const count = frames ?? Math.floor(capacity(format, bytes.length) / wide);
  if (count * wide > SAMPLES_LIMIT) throw new Refused('too-large');
  if (count === 0 || count * wide > capacity(format, bytes.length)) throw new Refused('ecg-short');
  let first = 0;
  return group.map((spec) => {
    const samples = new Int32Array(count * spec.perFrame);
    let sum = 0;
    for (let i = 0; i < samples.length; i++) {
      const frame = Math.floor(i / spec.perFrame);
      const value = sampleAt(bytes, format, frame * wide + first + (i % spec.perFrame));
      sum = (sum + value) | 0;
      samples[i] = value === NO_SAMPLE[format] ? MISSING : value;
    }
    if (spec.checksum !== undefined && (sum & 0xffff) !== spec.checksum)
      throw new Refused('ecg-checksum');
    first += spec.perFrame;
    const { name, unit, gain, baseline, perFrame } = spec;
    return { name, unit, gain, baseline, perFrame, samples };
  });
}

/** Reads a recording from its header and the files that the header names. */
export function readWfdb(hea: Bytes, files: Map<string, Bytes>): Recording {
  const { record, rate, frames, start, specs, remarks } = header(hea);
  const signals: Signal[] = [];
  let length = frames;
  for (let at = 0; at < specs.length; ) {
    const name = specs[at]!.file;
    let end = at;
    while (specs[end]?.file === name) end += 1;
    const bytes = files.get(name);
    if (!bytes) throw new Refused('ecg-missing', { name });
    const group = readGroup(specs.slice(at, end), bytes, length);
    length ??= group[0]!.samples.length / group[0]!.perFrame;
    signals.push(...group);
    at = end;
  }
  return { record, rate, start, signals, remarks };
}

/** Differences of neighbours, zigzag, LEB128. */
function packed(samples: Int32Array): Bytes {
  const out = new Uint8Array(samples.length * 5);
  let at = 0;
  let previous = 0;
  for (const sample of samples) {
    const difference = (sample - previous) | 0;
    previous = sample;
    let rest = ((difference << 1) ^ (difference >> 31)) >>> 0;
    while (rest >= 0x80) {
      out[at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    out[at++] = rest;
  }
  return out.slice(0, at);
}

/** A recording in Salus's own form (docs/formats.md, "Clinical content"). */
export function encodeRecording({ rate, start, signals, remarks }: Recording): Bytes {
  const leads: Value[] = signals.map(({ name, unit, gain, baseline, perFrame, samples }) =>
    fields({ 0: name, 1: unit, 2: gain, 3: baseline, 4: perFrame, 5: packed(samples) }),
  );
  return encode(fields({ 0: rate, 1: start, 2: leads, 3: remarks }));
}

/** Whether a file looks like a WFDB header, by its name; the format has no marks of its own. */
export const isHeader = (name: string): boolean => name.toLowerCase().endsWith('.hea');
