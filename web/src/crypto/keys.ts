// A principal's three key pairs: the public side that everybody checks, and the secret side, of which
// only what signs and opens is kept after the seeds were taken in.
import { type Bytes, concat, random, uint, utf8 } from '../lib/bytes';
import { asBytes, decode, encode, Fields, fields } from '../lib/cbor';
import { derive } from './digest';
import { CryptoError } from './error';
import { LABEL } from './label';
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
  /** X-Wing seeds that were replaced, newest first: they open what was wrapped before. */
  former?: Bytes[];
  /** The seeds that will replace these once the ledger says so. */
  next?: Seeds;
}

export interface SecretKeys {
  public: PublicKeys;
  ed25519: Sign;
  mlDsa65: Sign;
  unwrap: Unwrap;
  /** A keyed name: the same parts give the same name, which tells nobody the parts. */
  token: (kind: string, parts: Bytes[]) => Promise<Bytes>;
}

export const freshSeeds = (): Seeds => ({
  ed25519: random(32),
  mlDsa65: random(32),
  xWing: random(32),
});

/** Names under which whoever has these keys recognises what they took in before. */
async function namer(seeds: Seeds): Promise<SecretKeys['token']> {
  const secret = await derive(keyringBytes(seeds), new Uint8Array(), LABEL.intakeToken);
  const algorithm = { name: 'HMAC', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('raw', secret, algorithm, false, ['sign']);
  return async (kind, parts) => {
    const lengths = parts.map((part) => concat(uint(0, 4), uint(part.length, 4)));
    const named = parts.flatMap((part, at) => [lengths[at]!, part]);
    const message = concat(utf8(kind), new Uint8Array(1), ...named);
    return new Uint8Array(await crypto.subtle.sign('HMAC', key, message));
  };
}

/** Opens with the key of now, or with one that it replaced. */
async function anyUnwrapper(seeds: Bytes[]): Promise<Unwrap> {
  const all: Unwrap[] = [];
  for (const seed of seeds) all.push(await unwrapper(seed));
  return async (label, context, wrap) => {
    for (const [at, unwrap] of all.entries()) {
      try {
        return await unwrap(label, context, wrap);
      } catch (error) {
        if (at === all.length - 1) throw error;
      }
    }
    throw new CryptoError('unwrap');
  };
}

export async function secretKeys(seeds: Seeds): Promise<SecretKeys> {
  return {
    public: {
      ed25519: ed25519Public(seeds.ed25519),
      mlDsa65: mlDsa65Public(seeds.mlDsa65),
      xWing: xWingPublic(seeds.xWing),
    },
    ed25519: await ed25519Signer(seeds.ed25519),
    mlDsa65: await mlDsa65Signer(seeds.mlDsa65),
    token: await namer(seeds),
    unwrap: await anyUnwrapper([seeds.xWing, ...(seeds.former ?? [])]),
  };
}

const KEYRING_VERSION = 1;

const FORMER_LIMIT = 64;
const SEED = 32;

export const keyringBytes = (seeds: Seeds): Bytes =>
  encode(
    fields({
      1: KEYRING_VERSION,
      2: seeds.ed25519,
      3: seeds.mlDsa65,
      4: seeds.xWing,
      5: seeds.former?.length ? seeds.former : undefined,
      6: seeds.next && concat(seeds.next.ed25519, seeds.next.mlDsa65, seeds.next.xWing),
    }),
  );

export function seedsFromKeyring(bytes: Bytes): Seeds {
  const map = Fields.of(decode(bytes), [1, 2, 3, 4], [5, 6]);
  if (map.uint(1) !== KEYRING_VERSION) throw new CryptoError('unknown-version');
  const seeds: Seeds = {
    ed25519: map.bytes(2, SEED),
    mlDsa65: map.bytes(3, SEED),
    xWing: map.bytes(4, SEED),
  };
  if (map.has(5)) {
    seeds.former = map.list(5).map((seed) => asBytes(seed, SEED));
    const count = seeds.former.length;
    if (count === 0 || count > FORMER_LIMIT) throw new CryptoError('unknown-version');
  }
  if (map.has(6)) {
    const next = map.bytes(6, 3 * SEED);
    const seed = (at: number) => next.slice(at * SEED, (at + 1) * SEED);
    const former = [seeds.xWing, ...(seeds.former ?? [])];
    seeds.next = { ed25519: seed(0), mlDsa65: seed(1), xWing: seed(2), former };
  }
  return seeds;
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
