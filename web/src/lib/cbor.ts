// Deterministic CBOR (RFC 8949 section 4.2.1) as docs/formats.md narrows it: definite lengths,
// shortest integers, map keys ascending, no floats. The decoder refuses every second encoding.
import { type Bytes, compare, concat, equal, fromUtf8, utf8 } from './bytes';

export class Tagged {
  constructor(
    readonly tag: number,
    readonly value: Value,
  ) {}
}

export type Value =
  | number
  | bigint
  | string
  | boolean
  | null
  | Bytes
  | Value[]
  | Map<number, Value>
  | Tagged;

/** Bytes from outside that are not what was expected. */
export class Malformed extends Error {}

const DEPTH_LIMIT = 32;

/** The first bytes of an item: its major type, and its value or length. */
export function head(major: number, value: number | bigint): Bytes {
  const n = BigInt(value);
  const type = major << 5;
  if (n < 24n) return new Uint8Array([type | Number(n)]);
  const size = n < 0x100n ? 1 : n < 0x1_0000n ? 2 : n < 0x1_0000_0000n ? 4 : 8;
  const out = new Uint8Array(1 + size);
  out[0] = type | (24 + Math.log2(size));
  for (let i = 0, rest = n; i < size; i++, rest >>= 8n) out[size - i] = Number(rest & 0xffn);
  return out;
}

export function encode(value: Value): Bytes {
  if (typeof value === 'number' || typeof value === 'bigint') {
    if (typeof value === 'number' && !Number.isSafeInteger(value))
      throw new TypeError('no integer');
    return value < 0 ? head(1, -1n - BigInt(value)) : head(0, value);
  }
  if (value === null) return new Uint8Array([0xf6]);
  if (typeof value === 'boolean') return new Uint8Array([value ? 0xf5 : 0xf4]);
  if (typeof value === 'string') {
    const bytes = utf8(value);
    return concat(head(3, bytes.length), bytes);
  }
  if (value instanceof Uint8Array) return concat(head(2, value.length), value);
  if (Array.isArray(value)) return concat(head(4, value.length), ...value.map(encode));
  if (value instanceof Tagged) return concat(head(6, value.tag), encode(value.value));
  const entries = [...value].map(([key, item]) => [encode(key), encode(item)] as const);
  entries.sort(([a], [b]) => compare(a, b));
  return concat(head(5, entries.length), ...entries.flat());
}

/** A map of the present fields; JavaScript lists integer keys in ascending order. */
export function fields(object: Record<number, Value | undefined>): Map<number, Value> {
  const map = new Map<number, Value>();
  for (const [key, value] of Object.entries(object))
    if (value !== undefined) map.set(Number(key), value);
  return map;
}

class Reader {
  at = 0;
  constructor(readonly bytes: Uint8Array) {}

  take(length: number): Bytes {
    if (length > this.bytes.length - this.at) throw new Malformed('the bytes end early');
    const out = this.bytes.slice(this.at, this.at + length) as Bytes;
    this.at += length;
    return out;
  }

  head(): [major: number, value: number | bigint] {
    const first = this.take(1)[0]!;
    const [major, info] = [first >> 5, first & 31];
    if (info < 24) return [major, info];
    if (info > 27) throw new Malformed('an indefinite or reserved length');
    const size = 1 << (info - 24);
    let value = 0n;
    for (const byte of this.take(size)) value = (value << 8n) | BigInt(byte);
    const least = size === 1 ? 24n : 1n << BigInt(4 * size);
    if (value < least) throw new Malformed('an integer is longer than it needs to be');
    return [major, value <= BigInt(Number.MAX_SAFE_INTEGER) ? Number(value) : value];
  }

  length(value: number | bigint): number {
    // Every item has at least one byte, so no length can exceed what is left.
    if (typeof value === 'bigint' || value > this.bytes.length - this.at)
      throw new Malformed('a length beyond the bytes');
    return value;
  }

  value(depth: number): Value {
    if (depth > DEPTH_LIMIT) throw new Malformed('nested too deeply');
    const [major, value] = this.head();
    switch (major) {
      case 0:
        return value;
      case 1: {
        const negative = -1n - BigInt(value);
        return negative >= BigInt(Number.MIN_SAFE_INTEGER) ? Number(negative) : negative;
      }
      case 2:
        return this.take(this.length(value));
      case 3:
        return this.text(this.take(this.length(value)));
      case 4:
        return Array.from({ length: this.length(value) }, () => this.value(depth + 1));
      case 5:
        return this.map(this.length(value), depth);
      case 6:
        return new Tagged(Number(value), this.value(depth + 1));
      default:
        if (value === 20 || value === 21) return value === 21;
        if (value === 22) return null;
        throw new Malformed('a float or simple value');
    }
  }

  text(bytes: Bytes): string {
    try {
      return fromUtf8(bytes);
    } catch {
      throw new Malformed('text that is no UTF-8');
    }
  }

  map(length: number, depth: number): Map<number, Value> {
    const map = new Map<number, Value>();
    let before: Uint8Array | undefined;
    for (let i = 0; i < length; i++) {
      const start = this.at;
      const key = this.value(depth + 1);
      const encoded = this.bytes.subarray(start, this.at);
      if (typeof key !== 'number') throw new Malformed('a map key that is no integer');
      if (before && compare(before, encoded) >= 0) throw new Malformed('map keys out of order');
      before = encoded;
      map.set(key, this.value(depth + 1));
    }
    return map;
  }
}

/** Decodes exactly one value. */
export function decode(bytes: Uint8Array): Value {
  const reader = new Reader(bytes);
  const value = reader.value(0);
  if (reader.at !== bytes.length) throw new Malformed('bytes follow');
  return value;
}

/** The fields of a decoded map, each of the type that is asked for. */
export class Fields {
  constructor(private readonly map: Map<number, Value>) {}

  /** Of a map with exactly these keys, the optional ones present or not. */
  static of(value: Value | undefined, required: number[], optional: number[] = []): Fields {
    if (!(value instanceof Map)) throw new Malformed('no map');
    for (const key of required) if (!value.has(key)) throw new Malformed(`field ${key} is missing`);
    for (const key of value.keys())
      if (!required.includes(key) && !optional.includes(key)) throw new Malformed('unknown field');
    return new Fields(value);
  }

  has = (key: number): boolean => this.map.has(key);

  value(key: number): Value {
    const value = this.map.get(key);
    if (value === undefined) throw new Malformed(`field ${key} is missing`);
    return value;
  }

  bytes(key: number, length?: number): Bytes {
    return asBytes(this.value(key), length);
  }

  /** An unsigned integer below 2^53, or below `limit`. */
  uint(key: number, limit = Number.MAX_SAFE_INTEGER): number {
    return asUint(this.value(key), limit);
  }

  text(key: number): string {
    const value = this.value(key);
    if (typeof value !== 'string') throw new Malformed('no text');
    return value;
  }

  list(key: number): Value[] {
    const value = this.value(key);
    if (!Array.isArray(value)) throw new Malformed('no list');
    return value;
  }

  optional<T>(key: number, read: (this: Fields, key: number) => T): T | undefined {
    return this.has(key) ? read.call(this, key) : undefined;
  }
}

export function asBytes(value: Value | undefined, length?: number): Bytes {
  if (!(value instanceof Uint8Array) || (length !== undefined && value.length !== length))
    throw new Malformed('no byte string of the right length');
  return value;
}

export function asUint(value: Value | undefined, limit = Number.MAX_SAFE_INTEGER): number {
  if (typeof value !== 'number' || value < 0 || value > limit)
    throw new Malformed('no such number');
  return value;
}

/** Whether a value stands in its one encoding in `bytes`. */
export const isEncodingOf = (bytes: Uint8Array, value: Value): boolean =>
  equal(bytes, encode(value));
