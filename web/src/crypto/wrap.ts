// Keys wrapped to people (HPKE, X-Wing) and under keys (AES-256-GCM). What does not open is
// `unwrap`, whatever the reason.

import { ml_kem768_x25519 } from '@noble/post-quantum/hybrid.js';
import { KEM_MLKEM768_X25519 as NOBLE_X_WING } from '@panva/hpke-noble';
import {
  AEAD_AES_256_GCM,
  CipherSuite,
  KDF_HKDF_SHA256,
  KEM_MLKEM768_X25519 as NATIVE_X_WING,
} from 'hpke';
import { type Bytes, concat, random } from '../lib/bytes';
import { CryptoError } from './error';
import { native } from './native';

export const X_WING_PUBLIC_LENGTH = 1216;
const ENCAPSULATION_LENGTH = 1120;
const NONCE_LENGTH = 12;
const TAG_LENGTH = 16;
const PAYLOAD_LIMIT = 65_536;

/** Opens what was wrapped to its holder. */
export type Unwrap = (label: Bytes, context: Bytes, wrap: Bytes) => Promise<Bytes>;

let chosen: Promise<CipherSuite> | undefined;

function suite(): Promise<CipherSuite> {
  chosen ??= native().then(
    ({ xWing }) =>
      new CipherSuite(xWing ? NATIVE_X_WING : NOBLE_X_WING, KDF_HKDF_SHA256, AEAD_AES_256_GCM),
  );
  return chosen;
}

export const xWingPublic = (seed: Bytes): Bytes => ml_kem768_x25519.keygen(seed).publicKey as Bytes;

/** Wraps to the holder of an X-Wing key. */
export async function wrapTo(
  key: Bytes,
  label: Bytes,
  context: Bytes,
  payload: Bytes,
): Promise<Bytes> {
  if (key.length !== X_WING_PUBLIC_LENGTH) throw new CryptoError('public-key');
  const hpke = await suite();
  const recipient = await hpke.DeserializePublicKey(key).catch(() => {
    throw new CryptoError('public-key');
  });
  const sealed = await hpke.Seal(recipient, payload, { info: label, aad: context });
  return concat(sealed.encapsulatedSecret, sealed.ciphertext);
}

/** The private side; natively the seed becomes a key that cannot be read out again. */
export async function unwrapper(seed: Bytes): Promise<Unwrap> {
  const hpke = await suite();
  const key = await hpke.DeserializePrivateKey(seed, false);
  return async (label, context, wrap) => {
    const length = wrap.length - ENCAPSULATION_LENGTH;
    if (length < TAG_LENGTH || length > PAYLOAD_LIMIT + TAG_LENGTH) throw new CryptoError('unwrap');
    try {
      const encapsulation = wrap.slice(0, ENCAPSULATION_LENGTH);
      const sealed = wrap.slice(ENCAPSULATION_LENGTH);
      const opened = await hpke.Open(key, encapsulation, sealed, { info: label, aad: context });
      return opened as Bytes;
    } catch {
      throw new CryptoError('unwrap');
    }
  };
}

const aes = (key: Bytes, usage: 'encrypt' | 'decrypt'): Promise<CryptoKey> =>
  crypto.subtle.importKey('raw', key, 'AES-GCM', false, [usage]);

const parameters = (iv: Bytes, label: Bytes, context: Bytes) => ({
  name: 'AES-GCM',
  iv,
  additionalData: concat(label, context),
});

/** Wraps under a 32-byte key. */
export async function wrapUnder(
  key: Bytes,
  label: Bytes,
  context: Bytes,
  payload: Bytes,
): Promise<Bytes> {
  const nonce = random(NONCE_LENGTH);
  const algorithm = parameters(nonce, label, context);
  const sealed = await crypto.subtle.encrypt(algorithm, await aes(key, 'encrypt'), payload);
  return concat(nonce, new Uint8Array(sealed));
}

export async function unwrapUnder(
  key: Bytes,
  label: Bytes,
  context: Bytes,
  wrap: Bytes,
): Promise<Bytes> {
  const length = wrap.length - NONCE_LENGTH - TAG_LENGTH;
  if (length < 0 || length > PAYLOAD_LIMIT) throw new CryptoError('unwrap');
  const algorithm = parameters(wrap.slice(0, NONCE_LENGTH), label, context);
  try {
    const sealed = wrap.slice(NONCE_LENGTH);
    const opened = await crypto.subtle.decrypt(algorithm, await aes(key, 'decrypt'), sealed);
    return new Uint8Array(opened);
  } catch {
    throw new CryptoError('unwrap');
  }
}
