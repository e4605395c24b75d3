// Sends one large record while it is sealed, in parts, several at a time. After a failure it goes on
// where it was: only parts that the node has not confirmed are kept, and nothing is sealed twice.
import { type Node, ok, Problem } from '../../api/client';
import type { Digests, Job } from '../../crypto/file-sealer';
import { Sealing } from '../../crypto/sealing';
import { type Bytes, hex } from '../../lib/bytes';

/** Parts on their way at a time, which bounds what of the file is in memory. */
const IN_FLIGHT = 3;

interface Part {
  number: number;
  bytes: Bytes;
}

/** A record that the node holds, still without a batch that names it. */
export type Stored = Digests & { length: number };

export class Upload {
  private sealing?: Sealing;
  private place?: { upload: string; partSize: number };
  /** Parts that were taken from the sealer and that nobody sends now. */
  private readonly waiting: Part[] = [];
  private taken = 0;
  private confirmed = 0;
  private stored?: Stored;
  private digests?: Digests;
  /** Whether it can only begin anew: the file could not be read, or the node gave the upload up. */
  private lost = false;

  constructor(private readonly job: Job) {}

  /** `progress` hears of the part of the bytes that the node has, 0 to 1. */
  async run(node: Node, progress: (part: number) => void): Promise<Stored> {
    if (this.stored) return this.stored;
    this.sealing ??= await Sealing.start(this.job);
    const { length } = this.sealing;
    this.place ??= await begin(node, length);
    const { upload, partSize } = this.place;
    const count = Math.ceil(length / partSize);
    let failed = false;
    const lane = async (): Promise<void> => {
      for (;;) {
        const part = failed ? undefined : await this.take(count, partSize);
        if (!part) return;
        try {
          await put(node, upload, part);
        } catch (error) {
          failed = true;
          this.waiting.push(part);
          if (error instanceof Problem && error.status === 404) this.lost = true;
          throw error;
        }
        this.confirmed += 1;
        progress(this.confirmed / count);
      }
    };
    const lanes = await Promise.allSettled(Array.from({ length: IN_FLIGHT }, lane));
    if (this.lost) this.anew();
    for (const one of lanes) if (one.status === 'rejected') throw one.reason;
    this.digests ??= await this.sealing.end();
    const params = { path: { id: upload } };
    const body = { digest: hex(this.digests.sealed) };
    await ok(node.api.POST('/api/v1/uploads/{id}/complete', { params, body }));
    this.stored = { ...this.digests, length };
    return this.stored;
  }

  private async take(count: number, partSize: number): Promise<Part | undefined> {
    const waiting = this.waiting.shift();
    if (waiting || this.taken === count) return waiting;
    const number = this.taken++;
    try {
      return { number, bytes: await this.sealing!.next(partSize) };
    } catch (error) {
      this.lost = true;
      throw error;
    }
  }

  /** Forgets what was sealed: the next attempt seals under another nonce prefix. */
  private anew(): void {
    this.sealing?.end().catch(() => {});
    this.sealing = undefined;
    this.place = undefined;
    this.waiting.length = 0;
    this.taken = 0;
    this.confirmed = 0;
    this.lost = false;
  }
}

async function begin(node: Node, length: number): Promise<{ upload: string; partSize: number }> {
  const status = await ok(node.api.POST('/api/v1/uploads', { body: { length } }));
  return { upload: status.upload, partSize: status.part_size };
}

async function put(node: Node, upload: string, { number, bytes }: Part): Promise<void> {
  await node.raw(`/uploads/${upload}/parts/${number}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream' },
    body: new Blob([bytes]),
  });
}
