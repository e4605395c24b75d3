// The page's side of the OPAQUE worker: registration and login in two steps each.
import { type Bytes, fromBase64url } from '../lib/bytes';
import { asker } from './asking';
import { CryptoError } from './error';
import type { Ask, Told } from './opaque.worker';
import workerUrl from './opaque.worker?worker&url';

const ask = asker<Ask, Told>(workerUrl);

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
