// The golden vectors of crates/proto/testdata/ledger: log, state, checkpoints and proof bundles, each
// change refused at the check that Rust and Python name.
import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { sha256Sync } from '../crypto/digest';
import { base64url, fromBase64url, unhex } from '../lib/bytes';
import { BundleError, Unreadable, verifyBundle } from './bundle';
import { certified, decodeMemberList } from './checkpoint';
import { keysStateKey, Trust } from './keys';
import { consistent, includes, leafHash, treeRoot } from './log';
import { proven } from './state';

const FOLDER = '../crates/proto/testdata/ledger/';
// biome-ignore lint/suspicious/noExplicitAny: the vectors' own shape
const vectors = (file: string): any => JSON.parse(readFileSync(FOLDER + file, 'utf8'));

function refused(work: () => boolean): boolean {
  try {
    return !work();
  } catch {
    return true;
  }
}

describe('golden vectors', () => {
  it('log', () => {
    const v = vectors('log.json');
    const entries = v.entries.map((e: string) => unhex(e));
    const roots = v.roots.map((r: string) => unhex(r));
    for (let size = 0; size <= entries.length; size++)
      expect(treeRoot(entries.slice(0, size))).toEqual(roots[size]);
    for (const p of v.inclusion)
      expect(includes(leafHash(entries[p.index]), p.index, p.size, p.path, roots[p.size])).toBe(
        true,
      );
    for (const p of v.consistency)
      expect(consistent(p.first, p.second, p.path, roots[p.first], roots[p.second])).toBe(true);
    for (const p of v.malformed_inclusion) {
      const leaf = leafHash(entries[p.index] ?? entries[0]);
      const bad = refused(() => includes(leaf, p.index, p.size, p.path, roots[p.size] ?? roots[0]));
      expect([p.why, bad]).toEqual([p.why, true]);
    }
    for (const p of v.malformed_consistency) {
      const [a, b] = [roots[p.first] ?? roots[0], roots[p.second] ?? roots[0]];
      const bad = refused(() => consistent(p.first, p.second, p.path, a, b));
      expect([p.why, bad]).toEqual([p.why, true]);
    }
  });

  it('state', () => {
    const v = vectors('state.json');
    for (const c of v.cases) {
      const entries = new Map<string, string>(
        c.entries.map((e: { key: string; value: string }) => [e.key, e.value]),
      );
      for (const { key, proof } of c.proofs) {
        const digest = proven(proof, fromBase64url(key), unhex(c.root));
        const value = entries.get(key);
        expect(digest).toEqual(value === undefined ? undefined : sha256Sync(fromBase64url(value)));
      }
    }
    for (const m of v.malformed) {
      const bad = refused(() => {
        proven(m.proof, fromBase64url(m.key), unhex(v.malformed_root));
        return true;
      });
      expect([m.why, bad]).toEqual([m.why, true]);
    }
  });

  it('checkpoints', async () => {
    const v = vectors('checkpoint.json');
    const list = decodeMemberList(fromBase64url(v.members));
    for (const c of v.certified) {
      const checkpoint = await certified(c.note, list, v.origin);
      expect(checkpoint.size).toBe(7);
    }
    for (const r of v.refused) {
      const outcome = await certified(r.note, list, v.origin).then(
        () => 'certified',
        () => 'refused',
      );
      expect([r.why, outcome]).toEqual([r.why, 'refused']);
    }
  });

  it('bundles', async () => {
    const v = vectors('bundle.json');
    const digest = unhex(v.genesis_digest);
    for (const [name, bundle] of Object.entries(v.bundles)) {
      const found = await verifyBundle(JSON.stringify(bundle), digest);
      expect([name, found.checkpoint.origin]).toEqual([name, 'salus/vectors']);
    }
    const changed = (c: { bundle: string; at: string; value: unknown }) => {
      const copy = structuredClone(v.bundles[c.bundle]);
      const steps = c.at.split('/').slice(1);
      const last = steps.pop()!;
      // biome-ignore lint/suspicious/noExplicitAny: walks arbitrary JSON
      const place = steps.reduce((object: any, name) => object[name], copy);
      place[last] = c.value;
      return JSON.stringify(copy);
    };
    const outcome = (text: string) =>
      verifyBundle(text, digest).then(
        () => 'verifies',
        (error) => {
          if (error instanceof BundleError) return error.check;
          if (error instanceof Unreadable) return 'unreadable';
          throw error;
        },
      );
    for (const c of v.malformed)
      expect([c.why, await outcome(changed(c))]).toEqual([c.why, c.failed]);
    for (const c of v.unreadable)
      expect([c.why, await outcome(changed(c))]).toEqual([c.why, 'unreadable']);
  });

  it('keys are believed on the members’ word, of the right principal, and never older', async () => {
    const v = vectors('bundle.json');
    const signer = '55'.repeat(16);
    const bundle = structuredClone(v.bundles.record);
    const { keys, proof } = bundle.claim.record.signer.state;
    bundle.claim = { state: { key: base64url(keysStateKey(signer)), value: keys, proof } };
    const text = JSON.stringify(bundle);
    const trust = new Trust(unhex(v.genesis_digest));
    expect((await trust.keysIn(signer, text))?.ed25519).toHaveLength(32);
    await expect(trust.keysIn('66'.repeat(16), text)).rejects.toThrow('something else');
    trust.saw(1_000_000);
    expect(await trust.keysIn(signer, text)).toBeUndefined();
    const stranger = new Trust(new Uint8Array(32));
    await expect(stranger.keysIn(signer, text)).rejects.toThrow(BundleError);
  });
});
