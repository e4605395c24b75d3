// Bytes and their text forms: hexadecimal for ids and digests, base64url for everything else.

export type Bytes = Uint8Array<ArrayBuffer>;

const encoder = new TextEncoder();
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

export const utf8 = (text: string): Bytes => encoder.encode(text);

/** Throws on bytes that are no UTF-8. */
export const fromUtf8 = (bytes: Uint8Array): string => decoder.decode(bytes);

export function concat(...parts: Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Compares without telling by its time where two values differ. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a[i]! ^ b[i]!;
  return difference === 0;
}

/** The order of byte strings: by the first byte that differs. */
export function compare(a: Uint8Array, b: Uint8Array): number {
  const length = Math.min(a.length, b.length);
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}

export const hex = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');

export function unhex(text: string): Bytes {
  if (text.length % 2 !== 0 || /[^0-9a-fA-F]/.test(text)) throw new TypeError('not hexadecimal');
  const out = new Uint8Array(text.length / 2);
  for (let i = 0; i < out.length; i++) out[i] = Number.parseInt(text.slice(2 * i, 2 * i + 2), 16);
  return out;
}

function binary(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x8000)
    text += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return text;
}

const fromBinary = (text: string): Bytes => Uint8Array.from(text, (c) => c.charCodeAt(0));

export const base64 = (bytes: Uint8Array): string => btoa(binary(bytes));

/** Standard base64 with padding; refuses everything that would not be written the same way. */
export function fromBase64(text: string): Bytes {
  const bytes = fromBinary(atob(text));
  if (base64(bytes) !== text) throw new TypeError('not canonical base64');
  return bytes;
}

export const base64url = (bytes: Uint8Array): string =>
  base64(bytes).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');

export function fromBase64url(text: string): Bytes {
  if (/[^A-Za-z0-9_-]/.test(text)) throw new TypeError('not base64url');
  const bytes = fromBinary(atob(text.replaceAll('-', '+').replaceAll('_', '/')));
  if (base64url(bytes) !== text) throw new TypeError('not canonical base64url');
  return bytes;
}

export const random = (length: number): Bytes => crypto.getRandomValues(new Uint8Array(length));

/** Unsigned, big-endian. */
export function uint(value: number, length: 2 | 4): Bytes {
  const out = new Uint8Array(length);
  const view = new DataView(out.buffer);
  if (length === 2) view.setUint16(0, value);
  else view.setUint32(0, value);
  return out;
}
