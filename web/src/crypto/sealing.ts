// The page's side of the worker that seals files.
import type { Bytes } from '../lib/bytes';
import { asker } from './asking';
import type { Digests, Job } from './file-sealer';
import type { Ask, Told } from './seal.worker';
import workerUrl from './seal.worker?worker&url';

const ask = asker<Ask, Told>(workerUrl);
let files = 0;

/** SHA-256 of a file of any length. */
export async function digestOf(file: Blob): Promise<Bytes> {
  const told = (await ask({ step: 'digest', file })) as { digest: Bytes };
  return told.digest;
}

/** A file that is being sealed: its parts come in order, each once. */
export class Sealing {
  private turn: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly file: number,
    /** Number of the sealed bytes. */
    readonly length: number,
  ) {}

  static async start(job: Job): Promise<Sealing> {
    const file = files++;
    const { length } = (await ask({ step: 'start', file, job })) as { length: number };
    return new Sealing(file, length);
  }

  /** The next `size` sealed bytes, fewer at the end. */
  next(size: number): Promise<Bytes> {
    const asked = this.turn.then(async () => {
      const told = (await ask({ step: 'next', file: this.file, size })) as { part: Bytes };
      return told.part;
    });
    this.turn = asked.catch(() => {});
    return asked;
  }

  /** Ends it: the digests of all of it, if every part was taken. */
  async end(): Promise<Digests> {
    const { digests } = (await ask({ step: 'end', file: this.file })) as { digests?: Digests };
    if (!digests) throw new Error('the sealing has ended');
    return digests;
  }
}
