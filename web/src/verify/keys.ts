// Public keys on the members' word, not on a node's: a node that names keys of its own for a doctor would
// read what is sealed for them.
import { verifyHybrid } from '../crypto/hybrid';
import { checkPublicKeys, type PublicKeys, publicKeysOf } from '../crypto/keys';
import { LABEL } from '../crypto/label';
import { type Bytes, concat, equal, hex, unhex, utf8 } from '../lib/bytes';
import { decode } from '../lib/cbor';
import { claimedManifest, verifyBundle } from './bundle';

/** Where the state keeps a principal's keys. */
export const keysStateKey = (principal: string): Bytes => concat(utf8('keys/'), unhex(principal));

/** How often a node may show an older state than was seen before, and the time between, in ms. */
const OLDER_ANSWERS = 50;
const PAUSE_MS = 100;

/** Whether a manifest carries both signatures of these keys. */
export const signedWith = (keys: PublicKeys, manifest: Bytes): Promise<boolean> =>
  verifyHybrid(keys, LABEL.manifest, manifest).then(
    () => true,
    () => false,
  );

/** A consortium, known by its genesis digest, and how far its log was when it was seen last. */
export class Trust {
  private seen = 0;

  constructor(readonly genesis: Bytes) {}

  /** Notes that the log has at least `size` entries. */
  saw(size: number): void {
    this.seen = Math.max(this.seen, size);
  }

  /** The keys that a bundle proves, or nothing under an older checkpoint than one seen before. */
  async keysIn(principal: string, bundle: string): Promise<PublicKeys | undefined> {
    const { key, value, checkpoint } = await verifyBundle(bundle, this.genesis);
    if (!key || !equal(key, keysStateKey(principal))) throw new Error('a proof of something else');
    if (checkpoint.size < this.seen) return undefined;
    this.saw(checkpoint.size);
    if (!value) throw new Error('the ledger has no keys of theirs');
    return checkPublicKeys(publicKeysOf(decode(value)));
  }

  /**
   * The keys that a record's manifest was signed with, of a signer who has others now: those with which
   * the proof of the record holds.
   */
  async keysBehind(
    released: { record: string; signer: string; manifest: string },
    bundle: string,
  ): Promise<PublicKeys> {
    const { record } = await verifyBundle(bundle, this.genesis);
    const same = record?.anchor.record === released.record && record.signer === released.signer;
    if (!same || claimedManifest(bundle) !== released.manifest)
      throw new Error('a proof of something else');
    return checkPublicKeys(record.keys);
  }

  /** A principal's keys, proven under a checkpoint that a quorum of the members signed. */
  async keys(principal: string, ask: (path: string) => Promise<string>): Promise<PublicKeys> {
    const path = `/ledger/proofs/state/${hex(keysStateKey(principal))}`;
    for (let n = 0; n < OLDER_ANSWERS; n++) {
      const keys = await this.keysIn(principal, await ask(path));
      if (keys) return keys;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    throw new Error('the node shows an older state than it has shown before');
  }
}
