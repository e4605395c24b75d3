// A principal's three key pairs: the public side that everybody checks, and the secret side, of which
// only what signs and opens is kept after the seeds were taken in.
import { type Bytes, random } from '../lib/bytes';
import { decode, encode, Fields, fields } from '../lib/cbor';
import { CryptoError } from './error';
import {
  checkEd25519Public,
  ed25519Public,
  ed25519Signer,
  ML_DSA_65_PUBLIC_LENGTH,
  mlDsa65Public,
  mlDsa65Signer,
  type Sign,
} from './sign';
import { type Unwrap, unwrapper, X_WING_PUBLIC_LENGTH, xWingPublic } from './wrap';

export interface PublicKeys {
  ed25519: Bytes;
  mlDsa65: Bytes;
  xWing: Bytes;
}

/** Three seeds of 32 bytes. */
export interface Seeds {
  ed25519: Bytes;
  mlDsa65: Bytes;
  xWing: Bytes;
}

export interface SecretKeys {
  public: PublicKeys;
  ed25519: Sign;
  mlDsa65: Sign;
  unwrap: Unwrap;
}

export const freshSeeds = (): Seeds => ({
  ed25519: random(32),
  mlDsa65: random(32),
  xWing: random(32),
});

export async function secretKeys(seeds: Seeds): Promise<SecretKeys> {
  return {
    public: {
      ed25519: ed25519Public(seeds.ed25519),
      mlDsa65: mlDsa65Public(seeds.mlDsa65),
      xWing: xWingPublic(seeds.xWing),
    },
    ed25519: await ed25519Signer(seeds.ed25519),
    mlDsa65: await mlDsa65Signer(seeds.mlDsa65),
    unwrap: await unwrapper(seeds.xWing),
  };
}

const KEYRING_VERSION = 1;

export const keyringBytes = (seeds: Seeds): Bytes =>
  encode(fields({ 1: KEYRING_VERSION, 2: seeds.ed25519, 3: seeds.mlDsa65, 4: seeds.xWing }));

export function seedsFromKeyring(bytes: Bytes): Seeds {
  const map = Fields.of(decode(bytes), [1, 2, 3, 4]);
  if (map.uint(1) !== KEYRING_VERSION) throw new CryptoError('unknown-version');
  return { ed25519: map.bytes(2, 32), mlDsa65: map.bytes(3, 32), xWing: map.bytes(4, 32) };
}

export const publicKeysValue = (keys: PublicKeys) =>
  fields({ 0: keys.ed25519, 1: keys.mlDsa65, 2: keys.xWing });

export function publicKeysOf(value: Parameters<typeof Fields.of>[0]): PublicKeys {
  const map = Fields.of(value, [0, 1, 2]);
  return { ed25519: map.bytes(0, 32), mlDsa65: map.bytes(1), xWing: map.bytes(2) };
}

/** Checks what the other side's signatures and seals will stand on. */
export function checkPublicKeys(keys: PublicKeys): PublicKeys {
  checkEd25519Public(keys.ed25519);
  if (keys.mlDsa65.length !== ML_DSA_65_PUBLIC_LENGTH) throw new CryptoError('public-key');
  if (keys.xWing.length !== X_WING_PUBLIC_LENGTH) throw new CryptoError('public-key');
  return keys;
}
