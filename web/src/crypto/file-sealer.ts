// Seals a file while it is read: the sealed stream in parts, one after the other, with the digests of
// what was sealed and of what was read. Only a part and the piece of the file under way are in memory.
import { createSHA256 } from 'hash-wasm';
import { type Bytes, concat } from '../lib/bytes';
import { Sealer } from './stream';

type Sha256 = Awaited<ReturnType<typeof createSHA256>>;

/** How much of the file is read at a time: a whole number of chunks. */
const READ_BYTES = 8 << 20;

export interface Job {
  recordKey: Bytes;
  context: Bytes;
  /** What is sealed: these bytes, then those of the file. */
  head: Bytes;
  file: Blob;
  /** Where a digest of the file alone is wanted: what it is salted with. */
  salt?: Bytes;
}

export interface Digests {
  /** SHA-256 of the sealed bytes. */
  sealed: Bytes;
  /** SHA-256 of salt and file. */
  content?: Bytes;
}

const hasher = async (): Promise<Sha256> => (await createSHA256()).init();

/** SHA-256 of salt and file, read piece by piece. */
export async function fileDigest(file: Blob, salt?: Bytes): Promise<Bytes> {
  const hash = await hasher();
  if (salt) hash.update(salt);
  for (let at = 0; at < file.size; at += READ_BYTES)
    hash.update(new Uint8Array(await file.slice(at, at + READ_BYTES).arrayBuffer()));
  return hash.digest('binary') as Bytes;
}

export class FileSealer {
  /** Sealed bytes that no part has yet, in order. */
  private ready: Bytes[];
  private readyBytes: number;
  private read = 0;
  private ahead?: Promise<Bytes>;

  private constructor(
    private readonly job: Job,
    private readonly sealer: Sealer,
    private readonly hash: Sha256,
    private readonly plain: Sha256 | undefined,
    /** Number of the sealed bytes. */
    readonly length: number,
  ) {
    this.ready = [sealer.prelude];
    this.readyBytes = sealer.prelude.length;
  }

  static async create(job: Job): Promise<FileSealer> {
    const content = job.head.length + job.file.size;
    const sealer = await Sealer.create(job.recordKey, job.context, content);
    const plain = job.salt && (await hasher()).update(job.salt);
    return new FileSealer(job, sealer, await hasher(), plain, sealer.sealedLength(content));
  }

  /** The next `size` sealed bytes; fewer at the end, none after it. Asked one at a time. */
  async next(size: number): Promise<Bytes> {
    while (this.readyBytes < size && this.read < this.total) await this.more();
    const part = new Uint8Array(Math.min(size, this.readyBytes));
    for (let at = 0; at < part.length; ) {
      const first = this.ready[0]!;
      const taken = first.subarray(0, part.length - at);
      part.set(taken, at);
      at += taken.length;
      if (taken.length === first.length) this.ready.shift();
      else this.ready[0] = first.subarray(taken.length);
    }
    this.readyBytes -= part.length;
    this.hash.update(part);
    return part;
  }

  /** The digests, once there is no further part. */
  digests(): Digests {
    return {
      sealed: this.hash.digest('binary') as Bytes,
      content: this.plain?.digest('binary') as Bytes | undefined,
    };
  }

  private get total(): number {
    return this.job.head.length + this.job.file.size;
  }

  /** Seals the next piece; the one after it is read meanwhile. */
  private async more(): Promise<void> {
    const at = this.read;
    const reading = this.ahead ?? this.piece(at);
    this.ahead = undefined;
    const piece = await reading;
    if (at + READ_BYTES < this.total) {
      this.ahead = this.piece(at + READ_BYTES);
      // Told when it is needed.
      this.ahead.catch(() => {});
    }
    const { chunkSize } = this.sealer;
    const sealing: Promise<Bytes>[] = [];
    for (let from = 0; from < piece.length; from += chunkSize)
      sealing.push(
        this.sealer.chunk((at + from) / chunkSize, piece.subarray(from, from + chunkSize)),
      );
    this.plain?.update(at === 0 ? piece.subarray(this.job.head.length) : piece);
    for (const chunk of await Promise.all(sealing)) {
      this.ready.push(chunk);
      this.readyBytes += chunk.length;
    }
    this.read = at + piece.length;
  }

  /** A piece of the content; a file that has changed since it was chosen cannot be read. */
  private async piece(at: number): Promise<Bytes> {
    const { head, file } = this.job;
    const from = Math.max(0, at - head.length);
    const to = at + READ_BYTES - head.length;
    const bytes = new Uint8Array(await file.slice(from, to).arrayBuffer());
    return at === 0 ? concat(head, bytes) : bytes;
  }
}
