// The page's side of the OPAQUE worker: registration and login in two steps each.
import { type Bytes, fromBase64url } from '../lib/bytes';
import { CryptoError } from './error';
import type { Ask, Told } from './opaque.worker';
import workerUrl from './opaque.worker?worker&url';

interface Waiting {
  resolve: (told: Told) => void;
  reject: (error: Error) => void;
}

let worker: Worker | undefined;
let next = 0;
const waiting = new Map<number, Waiting>();

function start(): Worker {
  const started = new Worker(workerUrl, { type: 'module' });
  started.onmessage = ({ data }: MessageEvent<{ id: number; told?: Told; error?: string }>) => {
    const asked = waiting.get(data.id);
    waiting.delete(data.id);
    if (data.told) asked?.resolve(data.told);
    else asked?.reject(new Error(data.error));
  };
  started.onerror = (event) => {
    for (const { reject } of waiting.values()) reject(new Error(event.message));
    waiting.clear();
    worker = undefined;
  };
  return started;
}

function ask(question: Ask): Promise<Told> {
  worker ??= start();
  const id = next++;
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker!.postMessage({ id, ask: question });
  });
}

/** A message for the node, and the step that follows its answer. Messages are base64url text. */
export interface Started<T> {
  message: string;
  finish: (response: string) => Promise<T>;
}

export interface Finished {
  message: string;
  exportKey: Bytes;
}

async function begin(kind: 'registration' | 'login', password: string): Promise<Started<Finished>> {
  const started = await ask({ step: `${kind}-start`, password });
  return {
    message: started.message!,
    finish: async (response) => {
      const state = started.state!;
      const finished = await ask({ step: `${kind}-finish`, password, state, response });
      if (finished.refused) throw new CryptoError('login-refused');
      return { message: finished.message!, exportKey: fromBase64url(finished.exportKey!) };
    },
  };
}

export const startRegistration = (password: string): Promise<Started<Finished>> =>
  begin('registration', password);

export const startLogin = (password: string): Promise<Started<Finished>> =>
  begin('login', password);
