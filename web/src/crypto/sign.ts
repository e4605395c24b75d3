// Ed25519 and ML-DSA-65 over `label || message`, native where the browser has them.
import { ed25519 } from '@noble/curves/ed25519.js';
import { ml_dsa65 } from '@noble/post-quantum/ml-dsa.js';
import { type Bytes, concat, unhex } from '../lib/bytes';
import { CryptoError } from './error';
import { native, subtle } from './native';

export const ED25519_SIGNATURE_LENGTH = 64;
export const ML_DSA_65_SIGNATURE_LENGTH = 3309;
export const ML_DSA_65_PUBLIC_LENGTH = 1952;

/** Signs `message` as it stands. */
export type Sign = (message: Bytes) => Promise<Bytes>;

/** RFC 8410: a PKCS #8 key is this and the seed. */
const PKCS8_ED25519 = unhex('302e020100300506032b657004220420');

export async function ed25519Signer(seed: Bytes): Promise<Sign> {
  if (!(await native()).ed25519) {
    const kept = seed.slice();
    return async (message) => ed25519.sign(message, kept) as Bytes;
  }
  const pkcs8 = concat(PKCS8_ED25519, seed);
  const key = await subtle.importKey('pkcs8', pkcs8, 'Ed25519', false, ['sign']);
  pkcs8.fill(0);
  return async (message) => new Uint8Array(await crypto.subtle.sign('Ed25519', key, message));
}

export async function mlDsa65Signer(seed: Bytes): Promise<Sign> {
  const name = 'ML-DSA-65';
  if (!(await native()).mlDsa65) {
    const { secretKey } = ml_dsa65.keygen(seed);
    return async (message) => ml_dsa65.sign(message, secretKey) as Bytes;
  }
  const key = await subtle.importKey('raw-seed', seed, { name }, false, ['sign']);
  return async (message) => new Uint8Array(await crypto.subtle.sign({ name }, key, message));
}

export const ed25519Public = (seed: Bytes): Bytes => ed25519.getPublicKey(seed) as Bytes;

export const mlDsa65Public = (seed: Bytes): Bytes => ml_dsa65.keygen(seed).publicKey as Bytes;

/** Refuses keys that are no canonical point, or one of small order. */
export function checkEd25519Public(key: Bytes): void {
  try {
    if (key.length === 32 && !ed25519.Point.fromBytes(key).isSmallOrder()) return;
  } catch {
    // Falls through to the one answer.
  }
  throw new CryptoError('public-key');
}

export async function verifyEd25519(
  key: Bytes,
  message: Bytes,
  signature: Bytes,
): Promise<boolean> {
  if (signature.length !== ED25519_SIGNATURE_LENGTH) return false;
  checkEd25519Public(key);
  if (!(await native()).ed25519) return ed25519.verify(signature, message, key, { zip215: false });
  const imported = await subtle.importKey('raw', key, 'Ed25519', false, ['verify']);
  return crypto.subtle.verify('Ed25519', imported, signature, message);
}

export async function verifyMlDsa65(
  key: Bytes,
  message: Bytes,
  signature: Bytes,
): Promise<boolean> {
  if (signature.length !== ML_DSA_65_SIGNATURE_LENGTH) return false;
  if (key.length !== ML_DSA_65_PUBLIC_LENGTH) throw new CryptoError('public-key');
  const name = 'ML-DSA-65';
  if (!(await native()).mlDsa65) return ml_dsa65.verify(signature, message, key);
  const imported = await subtle.importKey('raw-public', key, { name }, false, ['verify']);
  return crypto.subtle.verify({ name }, imported, signature, message);
}
