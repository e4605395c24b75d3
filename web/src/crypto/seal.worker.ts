// Seals files in a worker, so that the page goes on answering while it hashes.
import type { Bytes } from '../lib/bytes';
import { type Digests, FileSealer, fileDigest, type Job } from './file-sealer';

export type Ask =
  | { step: 'digest'; file: Blob; salt?: Bytes }
  | { step: 'start'; file: number; job: Job }
  | { step: 'next'; file: number; size: number }
  | { step: 'end'; file: number };

export type Told =
  | { digest: Bytes }
  | { length: number }
  | { part: Bytes }
  | { digests: Digests | undefined };

const sealers = new Map<number, FileSealer>();

async function answer(ask: Ask): Promise<Told> {
  switch (ask.step) {
    case 'digest':
      return { digest: await fileDigest(ask.file, ask.salt) };
    case 'start': {
      const sealer = await FileSealer.create(ask.job);
      sealers.set(ask.file, sealer);
      return { length: sealer.length };
    }
    case 'next':
      return { part: await sealers.get(ask.file)!.next(ask.size) };
    case 'end': {
      const digests = sealers.get(ask.file)?.digests();
      sealers.delete(ask.file);
      return { digests };
    }
  }
}

self.onmessage = async (event: MessageEvent<{ id: number; ask: Ask }>) => {
  const { id, ask } = event.data;
  try {
    const told = await answer(ask);
    const moved = 'part' in told ? [told.part.buffer] : [];
    self.postMessage({ id, told }, { transfer: moved });
  } catch (error) {
    self.postMessage({ id, error: String(error) });
  }
};
