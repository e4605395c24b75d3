// The sealed stream: AES-256-GCM in chunks with a key-committing header (docs/formats.md).
import { type Bytes, concat, equal, random, uint, utf8 } from '../lib/bytes';
import { decode, encode, Fields, fields } from '../lib/cbor';
import { derive, hmac } from './digest';
import { CryptoError } from './error';
import { LABEL } from './label';

const MAGIC = utf8('salus.s1');
const HEADER_LIMIT = 128;
const BINDING_LENGTH = 32;
const TAG_LENGTH = 16;
const PREFIX_LENGTH = 7;
const CHUNK_SIZE = 1 << 20;

interface Header {
  chunkSize: number;
  prefix: Bytes;
  commitment: Bytes;
  length?: number;
}

/** Seals content of a known length, chunk by chunk. */
export class Sealer {
  private constructor(
    readonly prelude: Bytes,
    private readonly key: CryptoKey,
    private readonly prefix: Bytes,
    private readonly binding: Bytes,
    readonly chunkSize: number,
    private readonly count: number,
  ) {}

  static async create(recordKey: Bytes, context: Bytes, length: number): Promise<Sealer> {
    const prefix = random(PREFIX_LENGTH);
    const commitment = await derive(recordKey, prefix, LABEL.streamCommitment);
    const header = encode(fields({ 1: CHUNK_SIZE, 2: prefix, 3: commitment, 4: length }));
    const opening = concat(MAGIC, uint(header.length, 2), header);
    const bindingKey = await derive(recordKey, prefix, LABEL.streamBinding);
    const binding = await hmac(bindingKey, opening, context);
    const key = await chunkKey(recordKey, prefix, 'encrypt');
    const count = Math.max(1, Math.ceil(length / CHUNK_SIZE));
    return new Sealer(concat(opening, binding), key, prefix, binding, CHUNK_SIZE, count);
  }

  /** How many chunks follow the prelude. */
  get chunks(): number {
    return this.count;
  }

  /** Number of the sealed bytes of content of this length. */
  sealedLength(length: number): number {
    return this.prelude.length + length + this.count * TAG_LENGTH;
  }

  async chunk(index: number, content: Bytes): Promise<Bytes> {
    const parameters = {
      name: 'AES-GCM',
      iv: nonce(this.prefix, index, index === this.count - 1),
      additionalData: this.binding,
    };
    return new Uint8Array(await crypto.subtle.encrypt(parameters, this.key, content));
  }
}

/** Seals content that is in memory. */
export async function sealStream(recordKey: Bytes, context: Bytes, content: Bytes): Promise<Bytes> {
  const sealer = await Sealer.create(recordKey, context, content.length);
  const parts = [sealer.prelude];
  for (let i = 0; i < sealer.chunks; i++)
    parts.push(await sealer.chunk(i, content.slice(i * CHUNK_SIZE, (i + 1) * CHUNK_SIZE)));
  return concat(...parts);
}

/** Opens a whole stream; the first fault in the order of the format names the error. */
export async function openStream(recordKey: Bytes, context: Bytes, sealed: Bytes): Promise<Bytes> {
  const start = MAGIC.length + 2;
  if (!equal(sealed.slice(0, MAGIC.length - 1), MAGIC.slice(0, Math.min(sealed.length, 7))))
    throw new CryptoError('not-sealed');
  if (sealed.length >= 8 && sealed[7] !== MAGIC[7]) throw new CryptoError('unknown-version');
  if (sealed.length < start) throw new CryptoError('truncated');
  const headerLength = sealed[8]! * 256 + sealed[9]!;
  if (headerLength > HEADER_LIMIT) throw new CryptoError('malformed');
  const prelude = start + headerLength + BINDING_LENGTH;
  if (sealed.length < prelude) throw new CryptoError('truncated');

  const header = parseHeader(sealed.slice(start, start + headerLength));
  const { chunkSize, prefix, commitment } = header;
  const power =
    chunkSize >= 65_536 && chunkSize <= 16_777_216 && (chunkSize & (chunkSize - 1)) === 0;
  if (!power) throw new CryptoError('chunk-size');
  if (!equal(await derive(recordKey, prefix, LABEL.streamCommitment), commitment))
    throw new CryptoError('wrong-key');
  const bindingKey = await derive(recordKey, prefix, LABEL.streamBinding);
  const binding = sealed.slice(prelude - BINDING_LENGTH, prelude);
  const opening = sealed.slice(0, prelude - BINDING_LENGTH);
  if (!equal(await hmac(bindingKey, opening, context), binding))
    throw new CryptoError('wrong-context');

  const count = chunkCount(header, sealed.length - prelude);
  const key = await chunkKey(recordKey, prefix, 'decrypt');
  const plain: Bytes[] = [];
  for (let i = 0; i < count; i++) {
    const at = prelude + i * (chunkSize + TAG_LENGTH);
    const chunk = sealed.slice(at, at + chunkSize + TAG_LENGTH);
    plain.push(await openChunk(key, prefix, binding, i, i === count - 1, chunk));
  }
  return concat(...plain);
}

function parseHeader(bytes: Bytes): Header {
  try {
    const map = Fields.of(decode(bytes), [1, 2, 3], [4]);
    return {
      chunkSize: map.uint(1),
      prefix: map.bytes(2, PREFIX_LENGTH),
      commitment: map.bytes(3, 32),
      length: map.optional(4, map.uint),
    };
  } catch {
    throw new CryptoError('malformed');
  }
}

/** The number of chunks in `body` bytes, which must be a length that the stream can have. */
function chunkCount(header: Header, body: number): number {
  const full = header.chunkSize + TAG_LENGTH;
  if (header.length !== undefined) {
    const count = Math.max(1, Math.ceil(header.length / header.chunkSize));
    const expected = header.length + count * TAG_LENGTH;
    if (body < expected) throw new CryptoError('truncated');
    if (body > expected) throw new CryptoError('overlong');
    return count;
  }
  const count = Math.ceil(body / full);
  const last = body - (count - 1) * full;
  // An empty last chunk is only that of an empty content.
  if (body < TAG_LENGTH || last < TAG_LENGTH || (last === TAG_LENGTH && count > 1))
    throw new CryptoError('truncated');
  return count;
}

async function openChunk(
  key: CryptoKey,
  prefix: Bytes,
  additionalData: Bytes,
  index: number,
  last: boolean,
  chunk: Bytes,
): Promise<Bytes> {
  const attempt = async (flag: boolean) => {
    const parameters = { name: 'AES-GCM', iv: nonce(prefix, index, flag), additionalData };
    return new Uint8Array(await crypto.subtle.decrypt(parameters, key, chunk));
  };
  try {
    return await attempt(last);
  } catch {
    const other = await attempt(!last).then(
      () => true,
      () => false,
    );
    if (!other) throw new CryptoError('chunk');
    throw new CryptoError(last ? 'truncated' : 'overlong');
  }
}

async function chunkKey(
  recordKey: Bytes,
  prefix: Bytes,
  usage: 'encrypt' | 'decrypt',
): Promise<CryptoKey> {
  const raw = await derive(recordKey, prefix, LABEL.streamKey);
  return crypto.subtle.importKey('raw', raw, 'AES-GCM', false, [usage]);
}

/** Nonce prefix, big-endian counter, flag of the last chunk. */
const nonce = (prefix: Bytes, index: number, last: boolean): Bytes =>
  concat(prefix, uint(index, 4), new Uint8Array([last ? 1 : 0]));
