// Hybrid signatures: COSE_Sign (RFC 9052) with exactly two signers, Ed25519 then ML-DSA-65, valid only
// if both verify. The signed bytes are those received, never a re-encoding.
import { type Bytes, equal } from '../lib/bytes';
import {
  asBytes,
  decode,
  encode,
  Fields,
  fields,
  isEncodingOf,
  Tagged,
  type Value,
} from '../lib/cbor';
import { CryptoError } from './error';
import type { PublicKeys, SecretKeys } from './keys';
import { verifyEd25519, verifyMlDsa65 } from './sign';

const COSE_SIGN = 98;
const EDDSA = -8;
const ML_DSA_65 = -49;
const EMPTY = new Uint8Array() as Bytes;

const protectedHeader = (algorithm: number, keyId: Bytes): Bytes =>
  encode(fields({ 1: algorithm, 4: keyId }));

const toBeSigned = (header: Bytes, label: Bytes, payload: Bytes): Bytes =>
  encode(['Signature', EMPTY, header, label, payload]);

/** Signs a payload that travels within the envelope. */
export async function signHybrid(
  keys: SecretKeys,
  label: Bytes,
  keyId: Bytes,
  payload: Bytes,
): Promise<Bytes> {
  const signer = async (algorithm: number, sign: SecretKeys['ed25519']): Promise<Value> => {
    const header = protectedHeader(algorithm, keyId);
    return [header, new Map(), await sign(toBeSigned(header, label, payload))];
  };
  const signers = [await signer(EDDSA, keys.ed25519), await signer(ML_DSA_65, keys.mlDsa65)];
  return encode(new Tagged(COSE_SIGN, [EMPTY, new Map(), payload, signers]));
}

interface Envelope {
  keyId: Bytes;
  payload: Bytes | null;
  signatures: [Bytes, Bytes];
  headers: [Bytes, Bytes];
}

function parse(envelope: Bytes): Envelope {
  const value = decode(envelope);
  if (!(value instanceof Tagged) || value.tag !== COSE_SIGN || !Array.isArray(value.value))
    throw new CryptoError('envelope');
  const [body, unprotected, payload, signers] = value.value;
  const empty = (v: Value | undefined) => v instanceof Map && v.size === 0;
  if (value.value.length !== 4 || asBytes(body).length !== 0 || !empty(unprotected))
    throw new CryptoError('envelope');
  if (!Array.isArray(signers) || signers.length !== 2) throw new CryptoError('envelope');
  const parts = signers.map((signer) => {
    if (!Array.isArray(signer) || signer.length !== 3 || !empty(signer[1]))
      throw new CryptoError('envelope');
    return [asBytes(signer[0]), asBytes(signer[2])] as const;
  });
  const [[first, ed25519], [second, mlDsa65]] = [parts[0]!, parts[1]!];
  const keyId = Fields.of(decode(first), [1, 4]).bytes(4);
  const expected = (header: Bytes, algorithm: number) =>
    equal(header, protectedHeader(algorithm, keyId));
  if (keyId.length < 1 || keyId.length > 64) throw new CryptoError('envelope');
  if (!expected(first, EDDSA) || !expected(second, ML_DSA_65)) throw new CryptoError('envelope');
  if (!isEncodingOf(envelope, value)) throw new CryptoError('envelope');
  return {
    keyId,
    payload: payload === null ? null : asBytes(payload),
    signatures: [ed25519, mlDsa65],
    headers: [first, second],
  };
}

function parsed(envelope: Bytes): Envelope {
  try {
    return parse(envelope);
  } catch {
    throw new CryptoError('envelope');
  }
}

/** The key id under which an envelope says it was signed; not yet verified. */
export const keyIdOf = (envelope: Bytes): Bytes => parsed(envelope).keyId;

/** Verifies both signatures and gives the payload; a detached one is passed in. */
export async function verifyHybrid(
  keys: PublicKeys,
  label: Bytes,
  envelope: Bytes,
  detached?: Bytes,
): Promise<Bytes> {
  const read = parsed(envelope);
  const payload = read.payload ?? detached;
  if (payload === undefined || (read.payload !== null && detached !== undefined))
    throw new CryptoError('envelope');
  const [ed25519, mlDsa65] = read.signatures;
  const message = (at: 0 | 1) => toBeSigned(read.headers[at], label, payload);
  const both = await Promise.all([
    verifyEd25519(keys.ed25519, message(0), ed25519),
    verifyMlDsa65(keys.mlDsa65, message(1), mlDsa65),
  ]);
  if (!both.every(Boolean)) throw new CryptoError('signature');
  return payload;
}
