// SHA-256, HMAC and HKDF by WebCrypto; a synchronous SHA-256 for the many small hashes of trees.
import { sha256 as nobleSha256 } from '@noble/hashes/sha2.js';
import { type Bytes, concat } from '../lib/bytes';
import { LABEL } from './label';

export async function sha256(...parts: Uint8Array[]): Promise<Bytes> {
  const message = parts.length === 1 ? (parts[0] as Bytes) : concat(...parts);
  return new Uint8Array(await crypto.subtle.digest('SHA-256', message));
}

export const sha256Sync = (...parts: Uint8Array[]): Bytes => nobleSha256(concat(...parts)) as Bytes;

export async function hmac(key: Bytes, ...parts: Uint8Array[]): Promise<Bytes> {
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const imported = await crypto.subtle.importKey('raw', key, algorithm, false, ['sign']);
  return new Uint8Array(await crypto.subtle.sign('HMAC', imported, concat(...parts)));
}

/** `HKDF(secret, salt, label, context)`: 32 bytes, info = label || context. */
export async function derive(
  secret: Bytes,
  salt: Bytes,
  label: Bytes,
  context: Bytes = new Uint8Array(),
): Promise<Bytes> {
  const key = await crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits']);
  const info = concat(label, context);
  const algorithm = { name: 'HKDF', hash: 'SHA-256', salt, info };
  return new Uint8Array(await crypto.subtle.deriveBits(algorithm, key, 256));
}

/** A commitment to `message` that says nothing without the salt. */
export const saltedCommitment = (salt: Bytes, message: Bytes): Promise<Bytes> =>
  hmac(salt, LABEL.commitment, message);
