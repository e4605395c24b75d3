// State proofs: what the consortium's state holds for one key (docs/formats.md, "State tree").

import { sha256Sync } from '../crypto/digest';
import { type Bytes, concat, equal, fromBase64url, unhex } from '../lib/bytes';

const HASH = 32;
const EMPTY = new Uint8Array(HASH) as Bytes;
const LEAF = new Uint8Array([0x10]);
const NODE = new Uint8Array([0x11]);

export interface StateProof {
  depth: number;
  mask: string;
  siblings: string;
  leaf?: { path: string; value: string };
}

const bit = (bytes: Bytes, at: number): number => (bytes[at >> 3]! >> (7 - (at & 7))) & 1;

/**
 * What a proof shows under `root`: the digest of the key's value, or that there is none. Throws where
 * it shows neither.
 */
export function proven(proof: StateProof, key: Bytes, root: Bytes): Bytes | undefined {
  const refuse = (): never => {
    throw new Error('the state proof does not hold');
  };
  const { depth } = proof;
  if (!Number.isInteger(depth) || depth < 0 || depth > 256) refuse();
  const mask = fromBase64url(proof.mask);
  const siblings = fromBase64url(proof.siblings);
  const path = sha256Sync(key);
  if (mask.length !== Math.ceil(depth / 8)) refuse();
  for (let at = depth; at < mask.length * 8; at++) if (bit(mask, at)) refuse();
  let listed = 0;
  for (let at = 0; at < depth; at++) listed += bit(mask, at);
  if (siblings.length !== listed * HASH || (depth > 0 && !bit(mask, depth - 1))) refuse();

  let current = EMPTY;
  let value: Bytes | undefined;
  if (proof.leaf) {
    const leafPath = unhex(proof.leaf.path);
    value = unhex(proof.leaf.value);
    if (leafPath.length !== HASH || value.length !== HASH) refuse();
    for (let at = 0; at < depth; at++) if (bit(leafPath, at) !== bit(path, at)) refuse();
    current = sha256Sync(LEAF, leafPath, value);
    if (!equal(leafPath, path)) value = undefined;
  }
  for (let at = depth - 1; at >= 0; at--) {
    let sibling = EMPTY;
    if (bit(mask, at)) {
      listed -= 1;
      sibling = siblings.slice(listed * HASH, (listed + 1) * HASH);
      if (equal(sibling, EMPTY)) refuse();
    }
    const pair = bit(path, at) ? [sibling, current] : [current, sibling];
    current = sha256Sync(concat(NODE, ...pair));
  }
  if (!equal(current, root)) refuse();
  return value;
}
