// Proof bundles: a record, a log entry or a state value proven to somebody who knows the digest of the
// consortium's genesis file and nothing else (docs/formats.md, "Proof bundle").

import { sha256Sync } from '../crypto/digest';
import { keyIdOf, verifyHybrid } from '../crypto/hybrid';
import { type PublicKeys, publicKeysOf } from '../crypto/keys';
import { LABEL } from '../crypto/label';
import { verifyEd25519 } from '../crypto/sign';
import { type Bytes, concat, equal, fromBase64url, hex, unhex, utf8 } from '../lib/bytes';
import { asUint, decode, encode, Fields, fields, type Value } from '../lib/cbor';
import { type Anchor, decodeAnchor, decodeManifest } from '../records/record';
import {
  type Checkpoint,
  certified,
  decodeMember,
  decodeMemberList,
  type MemberList,
  memberList,
} from './checkpoint';
import { includes, leafHash } from './log';
import { proven, type StateProof } from './state';

/** The check that failed first. */
export class BundleError extends Error {
  constructor(readonly check: string) {
    super(`the proof fails at: ${check}`);
  }
}

interface EntryProof {
  entry: string;
  index: number;
  path: string[];
}

type KeyProof = 'listed' | { entry: EntryProof } | { state: { keys: string; proof: StateProof } };

interface RecordClaim {
  anchor: string;
  position: number;
  path: string[];
  manifest: string;
  signer: KeyProof;
  entry: EntryProof;
}

interface Bundle {
  version: 1;
  genesis: string;
  handovers: { checkpoint: string; members: string; proof: StateProof }[];
  checkpoint: string;
  claim:
    | { record: RecordClaim }
    | { entry: { entry: EntryProof; signer?: KeyProof } }
    | { state: { key: string; value?: string; proof: StateProof } };
}

/** What a bundle that verifies has proven. */
export interface Proven {
  checkpoint: Checkpoint;
  /** Members in force under the checkpoint, who are not more than the quorum that signed. */
  members: MemberList;
  record?: {
    anchor: Anchor;
    alias: string;
    signer: string;
    /** With which the signer signed then. */
    keys: PublicKeys;
    time: number;
    index: number;
  };
  entry?: { index: number; time: number; principal: string };
  /** The state key that was asked about. */
  key?: Bytes;
  /** Its proven value; absent if there is none. */
  value?: Bytes;
}

const BUNDLE_LIMIT = 32 * 1024 * 1024;

type Shape =
  | 'text'
  | 'count'
  | 'hashes'
  | Shape[]
  | { [name: string]: Shape }
  | ((v: unknown) => void);

/** Unreadable JSON of a bundle. */
export class Unreadable extends Error {}

/** Exactly these fields, of these types; a name that ends in `?` may be absent. */
function check(value: unknown, shape: Shape): void {
  const refuse = (): never => {
    throw new Unreadable('not a proof bundle');
  };
  if (shape === 'text') {
    if (typeof value !== 'string') refuse();
    return;
  }
  if (shape === 'count') {
    if (!Number.isSafeInteger(value) || (value as number) < 0) refuse();
    return;
  }
  if (shape === 'hashes') {
    if (!Array.isArray(value)) refuse();
    for (const hash of value as unknown[])
      if (typeof hash !== 'string' || !/^[0-9a-fA-F]{64}$/.test(hash)) refuse();
    return;
  }
  if (typeof shape === 'function') {
    shape(value);
    return;
  }
  if (Array.isArray(shape)) {
    if (!Array.isArray(value)) refuse();
    for (const item of value as unknown[]) check(item, shape[0]!);
    return;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse();
  const object = value as Record<string, unknown>;
  const known = new Set<string>();
  for (const [name, inner] of Object.entries(shape)) {
    const plain = name.replace(/\?$/, '');
    known.add(plain);
    if (plain in object) check(object[plain], inner);
    else if (plain === name) refuse();
  }
  for (const name of Object.keys(object)) if (!known.has(name)) refuse();
}

const base64urlText = (value: unknown): void => {
  try {
    fromBase64url(value as string);
  } catch {
    throw new Unreadable('not base64url');
  }
};
const digestText = (value: unknown): void => {
  if (typeof value !== 'string' || !/^[0-9a-fA-F]{64}$/.test(value))
    throw new Unreadable('not a digest');
};
const bytes: Shape = (value) => {
  check(value, 'text');
  base64urlText(value);
};
const stateProof: Shape = {
  depth: (value) => {
    check(value, 'count');
    if ((value as number) > 0xffff) throw new Unreadable('depth');
  },
  mask: bytes,
  siblings: bytes,
  'leaf?': { path: digestText, value: digestText },
};
const entryProof: Shape = { entry: bytes, index: 'count', path: 'hashes' };
const keyProof: Shape = (value) => {
  if (value === 'listed') return;
  oneOf(value, { entry: entryProof, state: { keys: bytes, proof: stateProof } });
};

function oneOf(value: unknown, shapes: Record<string, Shape>): void {
  const names = typeof value === 'object' && value !== null ? Object.keys(value) : [];
  const shape = names.length === 1 ? shapes[names[0]!] : undefined;
  if (!shape) throw new Unreadable('an unknown claim');
  check((value as Record<string, unknown>)[names[0]!], shape);
}

const bundleShape: Shape = {
  version: (value) => {
    if (value !== 1) throw new Unreadable('an unknown version');
  },
  genesis: bytes,
  handovers: [{ checkpoint: 'text', members: bytes, proof: stateProof }],
  checkpoint: 'text',
  claim: (value) =>
    oneOf(value, {
      record: {
        anchor: bytes,
        position: 'count',
        path: 'hashes',
        manifest: bytes,
        signer: keyProof,
        entry: entryProof,
      },
      entry: { entry: entryProof, 'signer?': keyProof },
      state: { key: bytes, 'value?': bytes, proof: stateProof },
    }),
};

function read(text: string): Bundle {
  if (text.length > BUNDLE_LIMIT) throw new Unreadable('too long');
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new Unreadable('not JSON');
  }
  check(value, bundleShape);
  return value as Bundle;
}

interface Genesis {
  consortium: string;
  name: string;
  list: MemberList;
  founders: Map<string, PublicKeys>;
}

/** Reads a genesis file. */
export function decodeGenesis(encoded: Bytes): Genesis {
  const map = Fields.of(decode(encoded), [0, 1, 2, 3, 4, 5]);
  if (map.uint(0) !== 1) throw new Error('an unknown version');
  const founders = map.list(5).map((value) => {
    const founder = Fields.of(value, [0, 1, 2, 3]);
    return [hex(founder.bytes(0, 16)), publicKeysOf(founder.value(3))] as const;
  });
  const raw = map.list(4);
  const members = raw.map(decodeMember);
  return {
    consortium: hex(map.bytes(1, 16)),
    name: map.text(2),
    list: memberList(0, members, encodeMembers(raw)),
    founders: new Map(founders),
  };
}

interface Signed {
  index: number;
  height: number;
  time: number;
  accepted: boolean;
  principal: string;
  consortium: string;
  kind: number;
  fields: Map<number, Value>;
  command: Bytes;
  signature: Bytes;
}

function decodeEntry(encoded: Bytes): Signed {
  const entry = Fields.of(decode(encoded), [0, 1, 2, 3, 4]);
  const outcome = entry.list(4);
  const accepted = outcome.length === 2 && outcome[0] === 0;
  if (!accepted && !(outcome.length === 2 && outcome[0] === 1)) throw new Error('outcome');
  const signed = Fields.of(decode(entry.bytes(3)), [0, 1]);
  const command = signed.bytes(0);
  const map = Fields.of(decode(command), [0, 1, 2, 3, 4]);
  const action = map.list(4);
  const what = action[1];
  if (action.length !== 2 || !(what instanceof Map)) throw new Error('action');
  return {
    index: entry.uint(0),
    height: entry.uint(1),
    time: entry.uint(2),
    accepted,
    principal: hex(map.bytes(1, 16)),
    consortium: hex(map.bytes(0, 16)),
    kind: asUint(action[0], 15),
    fields: what,
    command,
    signature: signed.bytes(1, 64),
  };
}

/** Runs one named check. */
async function step<T>(name: string, work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof BundleError) throw error;
    throw new BundleError(name);
  }
}

function must(holds: boolean): asserts holds {
  if (!holds) throw new Error('it does not hold');
}

class Verifier {
  readonly lists: MemberList[] = [];

  constructor(
    private readonly bundle: Bundle,
    private readonly genesis: Genesis,
  ) {
    this.lists.push(genesis.list);
  }

  private get inForce(): MemberList {
    return this.lists.at(-1)!;
  }

  private get origin(): string {
    return `salus/${this.genesis.name}`;
  }

  async run(): Promise<Proven> {
    let height = 0;
    for (const [i, handover] of this.bundle.handovers.entries()) {
      height = await step(`handover ${i + 1}`, async () => {
        const checkpoint = await certified(handover.checkpoint, this.inForce, this.origin);
        must(checkpoint.height >= height);
        const members = fromBase64url(handover.members);
        this.holds(handover.proof, utf8('members'), members, checkpoint);
        const list = decodeMemberList(members);
        must(list.version > this.inForce.version);
        this.lists.push(list);
        return checkpoint.height;
      });
    }
    const checkpoint = await step('checkpoint', async () => {
      const found = await certified(this.bundle.checkpoint, this.inForce, this.origin);
      must(found.height >= height);
      return found;
    });
    const proven = { checkpoint, members: this.inForce };
    const { claim } = this.bundle;
    if ('state' in claim) return { ...proven, ...(await this.state(claim.state, checkpoint)) };
    if ('entry' in claim) {
      const entry = await step('entry', () => this.entry(claim.entry.entry, checkpoint));
      if (claim.entry.signer) await this.signer(claim.entry.signer, entry, checkpoint);
      const { index, time, principal } = entry;
      return { ...proven, entry: { index, time, principal } };
    }
    return { ...proven, record: await this.record(claim.record, checkpoint) };
  }

  private holds(proof: StateProof, key: Bytes, value: Bytes, checkpoint: Checkpoint): void {
    const digest = proven(proof, key, checkpoint.state);
    must(digest !== undefined && equal(digest, sha256Sync(value)));
  }

  private state(
    claim: { key: string; value?: string; proof: StateProof },
    checkpoint: Checkpoint,
  ): Promise<{ key: Bytes; value?: Bytes }> {
    return step('state', () => {
      const key = fromBase64url(claim.key);
      const digest = proven(claim.proof, key, checkpoint.state);
      const value = claim.value === undefined ? undefined : fromBase64url(claim.value);
      must((digest === undefined) === (value === undefined));
      must(!digest || !value || equal(digest, sha256Sync(value)));
      return { key, value };
    });
  }

  private entry(proof: EntryProof, checkpoint: Checkpoint): Signed {
    const encoded = fromBase64url(proof.entry);
    const { index, path } = proof;
    must(includes(leafHash(encoded), index, checkpoint.size, path, checkpoint.root));
    const entry = decodeEntry(encoded);
    must(entry.index === index && entry.height <= checkpoint.height);
    must(entry.consortium === this.genesis.consortium);
    return entry;
  }

  /** The keys of the command's principal, after its signature was checked with them. */
  private async signer(
    proof: KeyProof,
    entry: Signed,
    checkpoint: Checkpoint,
  ): Promise<PublicKeys> {
    const candidates = await step('signer', () => this.candidates(proof, entry, checkpoint));
    return step('command', async () => {
      const message = concat(LABEL.command, entry.command);
      for (const keys of candidates) {
        const good = await verifyEd25519(keys.ed25519, message, entry.signature).catch(() => false);
        if (good) return keys;
      }
      throw new Error('the signature does not verify');
    });
  }

  private candidates(proof: KeyProof, entry: Signed, checkpoint: Checkpoint): PublicKeys[] {
    if (proof === 'listed') {
      const founder = this.genesis.founders.get(entry.principal);
      const found = founder ? [founder] : [];
      for (const list of [...this.lists].reverse())
        for (const member of list.members)
          if (member.organisation === entry.principal) found.push(member.keys);
      must(found.length > 0);
      return found;
    }
    if ('entry' in proof) {
      const earlier = this.entry(proof.entry, checkpoint);
      must(earlier.accepted && earlier.principal === entry.principal);
      must(earlier.index < entry.index && (earlier.kind === 2 || earlier.kind === 4));
      return [publicKeysOf(earlier.fields.get(earlier.kind === 2 ? 2 : 0))];
    }
    const keys = fromBase64url(proof.state.keys);
    const key = concat(utf8('keys/'), unhex(entry.principal));
    this.holds(proof.state.proof, key, keys, checkpoint);
    return [publicKeysOf(decode(keys))];
  }

  private async record(claim: RecordClaim, checkpoint: Checkpoint): Promise<Proven['record']> {
    const entry = await step('entry', () => this.entry(claim.entry, checkpoint));
    const keys = await this.signer(claim.signer, entry, checkpoint);
    const manifest = await step('manifest', async () => {
      must(entry.accepted);
      const envelope = fromBase64url(claim.manifest);
      must(envelope.length <= 16_384 && hex(keyIdOf(envelope)) === entry.principal);
      const payload = await verifyHybrid(keys, LABEL.manifest, envelope);
      const read = decodeManifest(payload);
      must(read.signer === entry.principal && entry.kind === 8);
      const action = Fields.of(entry.fields, [0, 1, 2, 3, 4], [5]);
      must(equal(action.bytes(0, 16), read.batch) && hex(action.bytes(1, 16)) === read.alias);
      must(equal(action.bytes(2, 32), sha256Sync(envelope)));
      must(equal(action.bytes(3, 32), read.anchorsRoot) && action.uint(4) === read.count);
      return read;
    });
    return step('anchor', () => {
      const encoded = fromBase64url(claim.anchor);
      const { position, path } = claim;
      must(includes(leafHash(encoded), position, manifest.count, path, manifest.anchorsRoot));
      const { alias, signer } = manifest;
      const { time, index } = entry;
      return { anchor: decodeAnchor(encoded), alias, signer, keys, time, index };
    });
  }
}

/** The founders' list as the state holds it: version 0. */
const encodeMembers = (members: Value[]): Bytes => encode(fields({ 0: 0, 1: members }));

/** The manifest of a record's bundle, as it stands there. */
export function claimedManifest(text: string): string | undefined {
  const { claim } = read(text);
  return 'record' in claim ? claim.record.manifest : undefined;
}

/** Verifies a bundle against the digest of the genesis file that the reader trusts. */
export async function verifyBundle(text: string, genesisDigest: Bytes): Promise<Proven> {
  const bundle = read(text);
  const genesis = await step('genesis', () => {
    const encoded = fromBase64url(bundle.genesis);
    must(equal(sha256Sync(encoded), genesisDigest));
    return decodeGenesis(encoded);
  });
  return new Verifier(bundle, genesis).run();
}
