// The code of a printed prescription: what a pharmacy needs to check it, and nothing that opens
// anything else (docs/formats.md, "Prescription code").
import { type Bytes, base64url, fromBase64url, hex, unhex } from '../../lib/bytes';
import { decode, encode, Fields, fields } from '../../lib/cbor';

/** The code's content. */
export interface Code {
  /** The first eight bytes of the genesis file's digest: which consortium. */
  consortium: Bytes;
  /** The hospital whose node keeps the record. */
  custodian: string;
  record: string;
  /** Salt and body of the prescription's plaintext, as the doctor signed them. */
  salt: Bytes;
  body: Bytes;
}

const VERSION = 1;
/** Bytes of the genesis digest. */
export const CONSORTIUM_BYTES = 8;
/** Longest prescription, in bytes. */
const BODY_LIMIT = 16 << 10;
/** Longest code, in characters: what a QR code of the lowest error correction still takes, with room
 * for the address. */
export const CODE_LIMIT = 2_700;

/** It is no code, or not the whole of it. */
export class Unreadable extends Error {}

/** Every byte that a stream gives, at most `limit`. */
async function collect(stream: ReadableStream<Uint8Array>, limit: number): Promise<Bytes> {
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  for (let next = await reader.read(); !next.done; next = await reader.read()) {
    length += next.value.length;
    if (length > limit) {
      await reader.cancel().catch(() => {});
      throw new Unreadable('too long');
    }
    parts.push(next.value);
  }
  const out = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

const through = (bytes: Bytes, transform: ReadableWritablePair<Uint8Array, BufferSource>) =>
  new Blob([bytes]).stream().pipeThrough(transform as ReadableWritablePair<Uint8Array, Uint8Array>);

/** The code as text, or nothing if it would be too long to print. */
export async function encodeCode(code: Code): Promise<string | undefined> {
  const plain = encode(
    fields({
      0: VERSION,
      1: code.consortium,
      2: unhex(code.custodian),
      3: unhex(code.record),
      4: code.salt,
      5: code.body,
    }),
  );
  if (code.body.length > BODY_LIMIT) return undefined;
  const small = await collect(through(plain, new CompressionStream('deflate-raw')), 2 * BODY_LIMIT);
  const text = base64url(small);
  return text.length > CODE_LIMIT ? undefined : text;
}

/** Reads a code: bare, or as the fragment of an address. */
export async function decodeCode(text: string): Promise<Code> {
  const bare = text.slice(text.indexOf('#') + 1).replace(/\s/g, '');
  if (bare.length === 0 || bare.length > 2 * CODE_LIMIT) throw new Unreadable('length');
  try {
    const stream = through(fromBase64url(bare), new DecompressionStream('deflate-raw'));
    const map = Fields.of(decode(await collect(stream, 2 * BODY_LIMIT)), [0, 1, 2, 3, 4, 5]);
    if (map.uint(0) !== VERSION) throw new Unreadable('version');
    return {
      consortium: map.bytes(1, CONSORTIUM_BYTES),
      custodian: hex(map.bytes(2, 16)),
      record: hex(map.bytes(3, 16)),
      salt: map.bytes(4, 16),
      body: map.bytes(5),
    };
  } catch {
    throw new Unreadable('not a code');
  }
}
