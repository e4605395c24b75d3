// Merkle log proofs (RFC 9162) over SHA-256.

import { sha256Sync } from '../crypto/digest';
import { type Bytes, concat, equal, unhex } from '../lib/bytes';

const LEAF = new Uint8Array([0]);
const NODE = new Uint8Array([1]);

export const leafHash = (entry: Bytes): Bytes => sha256Sync(LEAF, entry);

const nodeHash = (left: Bytes, right: Bytes): Bytes => sha256Sync(NODE, left, right);

/** The root over leaf hashes. */
function rootOf(hashes: Bytes[]): Bytes {
  if (hashes.length === 0) return sha256Sync(concat());
  if (hashes.length === 1) return hashes[0]!;
  const k = 2 ** Math.floor(Math.log2(hashes.length - 1));
  return nodeHash(rootOf(hashes.slice(0, k)), rootOf(hashes.slice(k)));
}

export const treeRoot = (entries: Bytes[]): Bytes => rootOf(entries.map(leafHash));

const bits = (n: bigint): number => (n === 0n ? 0 : n.toString(2).length);
const ones = (n: bigint): number => n.toString(2).replaceAll('0', '').length;

/** Whether `path` leads from a leaf's hash at `index` of `size` to `root`. */
export function includes(
  leaf: Bytes,
  index: number,
  size: number,
  path: string[],
  root: Bytes,
): boolean {
  if (!(index < size)) return false;
  const m = BigInt(index);
  const inner = bits(m ^ BigInt(size - 1));
  const border = ones(m >> BigInt(inner));
  if (path.length !== inner + border) return false;
  let current = leaf;
  path.forEach((text, i) => {
    const hash = unhex(text);
    const left = i < inner && ((m >> BigInt(i)) & 1n) === 0n;
    current = left ? nodeHash(current, hash) : nodeHash(hash, current);
  });
  return equal(current, root);
}

/** Whether the log of `second` entries begins with that of `first` (RFC 9162 section 2.1.4.2). */
export function consistent(
  first: number,
  second: number,
  path: string[],
  firstRoot: Bytes,
  secondRoot: Bytes,
): boolean {
  if (first > second) return false;
  if (first === 0) return path.length === 0 && equal(firstRoot, rootOf([]));
  if (first === second) return path.length === 0 && equal(firstRoot, secondRoot);
  const hashes = path.map(unhex);
  const powerOfTwo = (BigInt(first) & (BigInt(first) - 1n)) === 0n;
  const steps = powerOfTwo ? [firstRoot, ...hashes] : hashes;
  if (steps.length === 0) return false;
  let fn = BigInt(first - 1);
  let sn = BigInt(second - 1);
  while ((fn & 1n) === 1n) {
    fn >>= 1n;
    sn >>= 1n;
  }
  let [fr, sr] = [steps[0]!, steps[0]!];
  for (const hash of steps.slice(1)) {
    if (sn === 0n) return false;
    if ((fn & 1n) === 1n || fn === sn) {
      fr = nodeHash(hash, fr);
      sr = nodeHash(hash, sr);
      while (fn !== 0n && (fn & 1n) === 0n) {
        fn >>= 1n;
        sn >>= 1n;
      }
    } else {
      sr = nodeHash(sr, hash);
    }
    fn >>= 1n;
    sn >>= 1n;
  }
  return sn === 0n && equal(fr, firstRoot) && equal(sr, secondRoot);
}
