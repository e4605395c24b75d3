// An intake, sealed in the page: the same batch that `salus intake` makes, signed by whoever takes it in.
//
// New patients get class keys that are wrapped to the hospital, whose public keys the ledger holds; for
// known patients the hospital's node wraps its class keys to the staff member, against a receipt.
import { ok, Problem } from '../../api/client';
import { sha256 } from '../../crypto/digest';
import type { Job } from '../../crypto/file-sealer';
import { signHybrid } from '../../crypto/hybrid';
import { LABEL } from '../../crypto/label';
import { sealStream } from '../../crypto/stream';
import { wrapTo, wrapUnder } from '../../crypto/wrap';
import { type Bytes, fromBase64url, hex, random, unhex } from '../../lib/bytes';
import { decode, encode, fields, type Value } from '../../lib/cbor';
import { CLASSES, code, type KeyClass } from '../../records/codes';
import { action } from '../../records/command';
import { classKeys } from '../../records/open';
import {
  classWrapContext,
  contentHead,
  encodeAnchor,
  encodeContent,
  encodeManifest,
  encodeStatement,
  keyWrapContext,
  recordContext,
} from '../../records/record';
import { contentDigest } from '../../records/seal';
import type { Person } from '../../session/person';
import { treeRoot } from '../../verify/log';
import { type Body, bytesOf, sizeOf } from './files';
import type { Classed } from './form';
import { Upload } from './upload';

/** Sealed bytes beyond this go first, in parts that are not sent again after an interruption. */
const ALONE_FROM = 4 << 20;
/** Most records of one batch (docs/protocols/intake.md). */
const RECORDS_LIMIT = 1024;
/** Most sealed bytes that go within a batch. */
const BATCH_BYTES = 32 << 20;

/** Whose records these will be. */
export type Subject =
  | { fresh: true; name: string; readable: boolean; alias?: string }
  | { fresh: false; alias: string };

/** How an import that is run again recognises what is on the ledger from before. */
export interface Again {
  /** A record's number, which is always the same for the same piece. */
  record: (piece: Classed) => Promise<string>;
  /** A batch's number, by its place in the import. */
  batch: (place: number) => Promise<Bytes>;
  /** Records of this patient that are on the ledger. */
  known: Set<string>;
}

/** No record of the patient is at hand that would release this class key. */
export class NoClassKey extends Error {}

type Keys = Map<KeyClass, { epoch: number; key: Bytes }>;

interface Part {
  batch: Bytes;
  /** What it is made of: each piece with its record's number. */
  pieces: [record: string, Classed][];
  /** Those of them that are sealed, in the same order. */
  sealed: Sealed[];
  manifest: Bytes;
  root: Bytes;
}

interface Sealed {
  anchor: Bytes;
  /** Its place in the batch: wrap, statement, and sealed bytes that did not go by themselves. */
  item: Value;
}

/** What is sealed and what its seal is bound to. */
interface Secret {
  record: string;
  piece: Classed;
  key: Bytes;
  context: Bytes;
  salt: Bytes;
}

/** What is on the ledger now. */
export interface Taken {
  alias: string;
  records: string[];
  /** Of each batch the entry that anchored it. */
  entries: number[];
}

/**
 * One intake. `run` may be called again after a failure: what was sealed keeps its ids, what was sent
 * is not sent again, and nothing is taken in twice.
 */
export class Intake {
  readonly alias: string;
  private opened: boolean;
  private keys?: Keys;
  private wraps: Value[] = [];
  private parts?: Part[];
  /** Pieces of a record's own upload that is under way, by the record's number. */
  private readonly uploads = new Map<string, { secret: Secret; upload: Upload }>();
  private readonly entries: number[] = [];

  constructor(
    private readonly person: Person,
    private readonly subject: Subject,
    private readonly pieces: Classed[],
    private readonly again?: Again,
  ) {
    this.opened = !subject.fresh;
    this.alias = subject.alias ?? hex(random(16));
  }

  async run(progress: (part: number) => void): Promise<Taken> {
    const { alias } = this;
    if (!this.opened) {
      await this.open();
      this.opened = true;
    }
    this.keys ??= await this.classKeys();
    this.parts ??= await this.plan();
    await this.seal(this.parts, this.keys, progress);
    while (this.entries.length < this.parts.length)
      this.entries.push(await this.sendOrSealAnew(this.parts[this.entries.length]!));
    const records = this.parts.flatMap(({ pieces }) => pieces.map(([record]) => record));
    return { alias, records, entries: this.entries };
  }

  private async open(): Promise<void> {
    try {
      await this.person.submit(action.openPatient(this.alias));
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== 'already-exists') throw error;
    }
  }

  private async classKeys(): Promise<Keys> {
    return this.subject.fresh ? this.freshKeys() : this.heldKeys();
  }

  private async freshKeys(): Promise<Keys> {
    const { person, alias } = this;
    const custodian = person.organisation;
    const { xWing } = await person.publicKeys(custodian);
    const keys: Keys = new Map();
    const wraps: Value[] = [];
    for (const keyClass of CLASSES) {
      const key = random(32);
      const context = classWrapContext(alias, keyClass, 1, custodian);
      const wrap = await wrapTo(xWing, LABEL.classKeyWrap, context, key);
      keys.set(keyClass, { epoch: 1, key });
      wraps.push(
        fields({ 0: unhex(alias), 1: code(CLASSES, keyClass), 2: 1, 3: unhex(custodian), 5: wrap }),
      );
    }
    this.wraps = wraps;
    return keys;
  }

  /** The class keys of a patient who has records, against a receipt that names one of each class. */
  private async heldKeys(): Promise<Keys> {
    const { person, alias } = this;
    const wanted = new Set(this.pieces.map((piece) => piece.class));
    const named = new Map<KeyClass, string>();
    const listed = await person.list((after) =>
      ok(
        person.home.api.GET('/api/v1/patients/{alias}/records', {
          params: { path: { alias }, query: { after, limit: 500 } },
        }),
      ),
    );
    for (const record of listed)
      if (record.epoch > 0 && wanted.has(record.class)) named.set(record.class, record.record);
    if (named.size < wanted.size) throw new NoClassKey();
    const what = action.readRecords(alias, undefined, [...named.values()].sort(), 'operations');
    const release = await person.act(what, (command) =>
      ok(person.home.api.POST('/api/v1/records/releases', { body: { command } })),
    );
    const keys: Keys = new Map();
    const reader = { principal: person.principal, keys: person.keys, alias };
    for (const { class: keyClass, epoch, key } of await classKeys(reader, release))
      if (epoch > (keys.get(keyClass)?.epoch ?? 0)) keys.set(keyClass, { epoch, key });
    return keys;
  }

  private async plan(): Promise<Part[]> {
    const parts: Part[] = [];
    for (const [place, group] of portions(this.pieces).entries()) {
      const pieces = await this.unknown(group);
      if (pieces.length === 0) continue;
      const batch = (await this.again?.batch(place)) ?? random(16);
      const [manifest, root] = [new Uint8Array(), new Uint8Array()];
      parts.push({ batch, pieces, sealed: [], manifest, root });
    }
    return parts;
  }

  /** Seals what is not sealed yet; what is large goes to the node at once. */
  private async seal(parts: Part[], keys: Keys, progress: (part: number) => void): Promise<void> {
    const now = Date.now();
    const total = parts
      .flatMap(({ pieces }) => pieces)
      .reduce((sum, [, p]) => sum + sizeOf(p.body), 0);
    let done = 0;
    for (const part of parts) {
      for (const [at, [record, piece]] of part.pieces.entries()) {
        const size = sizeOf(piece.body);
        const tell = (fraction: number) => progress((done + fraction * size) / (total || 1));
        part.sealed[at] ??= await this.sealOne(record, piece, keys, now, tell);
        done += size;
        tell(0);
      }
      if (part.manifest.length > 0) continue;
      part.root = treeRoot(part.sealed.map(({ anchor }) => anchor));
      part.manifest = await this.sign(LABEL.manifest, this.manifest(part, now));
    }
  }

  /** The pieces that are not on the ledger yet, each once, with their numbers. */
  private async unknown(group: Classed[]): Promise<[record: string, Classed][]> {
    const found = new Map<string, Classed>();
    for (const piece of group) {
      const record = (await this.again?.record(piece)) ?? hex(random(16));
      if (!this.again?.known.has(record)) found.set(record, piece);
    }
    return [...found];
  }

  private sign(label: Bytes, payload: Bytes): Promise<Bytes> {
    const { keys, principal } = this.person;
    return signHybrid(keys, label, unhex(principal), payload);
  }

  private manifest({ batch, root, pieces }: Part, created: number): Bytes {
    return encodeManifest({
      batch,
      alias: this.alias,
      organisation: this.person.organisation,
      signer: this.person.principal,
      created,
      anchorsRoot: root,
      count: pieces.length,
    });
  }

  private async sealOne(
    record: string,
    piece: Classed,
    keys: Keys,
    now: number,
    progress: (part: number) => void,
  ): Promise<Sealed> {
    const { alias, person } = this;
    const held = keys.get(piece.class);
    if (!held) throw new NoClassKey();
    const { kind, mediaType } = piece;
    const about = { record, version: 1, class: piece.class, epoch: held.epoch, kind };
    const context = recordContext(alias, person.principal, about);
    const fresh = { record, piece, key: random(32), context, salt: random(16) };
    const sealed =
      sizeOf(piece.body) > ALONE_FROM
        ? await this.uploaded(fresh, progress)
        : await sealedWithin(fresh);
    const { key, ciphertext, length, content, within } = sealed;
    const wrapped = keyWrapContext(alias, about, held.epoch);
    const wrap = await wrapUnder(held.key, LABEL.recordKey, wrapped, key);
    let statement: Bytes | undefined;
    if (content) {
      const said = { record, kind, mediaType, content, signer: person.principal, signed: now };
      statement = await this.sign(LABEL.document, encodeStatement(said));
    }
    const digest = statement && (await sha256(statement));
    return {
      anchor: encodeAnchor({ ...about, ciphertext, length, statement: digest }),
      item: fields({ 0: wrap, 1: statement, 2: within }),
    };
  }

  /** Seals a large record on its way to the node; again, it goes on where it stopped. */
  private async uploaded(fresh: Secret, progress: (part: number) => void): Promise<Kept> {
    const begun = this.uploads.get(fresh.record) ?? {
      secret: fresh,
      upload: new Upload(jobOf(fresh)),
    };
    this.uploads.set(fresh.record, begun);
    const { sealed, content, length } = await begun.upload.run(this.person.home, progress);
    return { key: begun.secret.key, ciphertext: sealed, length, content };
  }

  /** A class key that was replaced meanwhile means that the next attempt seals under the new one. */
  private async sendOrSealAnew(part: Part): Promise<number> {
    try {
      return await this.send(part);
    } catch (error) {
      const replaced = error instanceof Problem && error.code === 'wrong-epoch';
      if (replaced && this.entries.length === 0) {
        this.keys = undefined;
        this.parts = undefined;
        this.uploads.clear();
      }
      throw error;
    }
  }

  /** Anchors a part; the command is signed anew each time, the rest stays as it is. */
  private async send(part: Part): Promise<number> {
    const { person, alias, subject } = this;
    const first = this.entries.length === 0;
    const { batch, manifest, root, sealed } = part;
    const digest = await sha256(manifest);
    const what = action.anchorBatch(batch, alias, digest, root, sealed.length);
    const answer = await person.act(what, (command) => {
      const bytes = encode(
        fields({
          0: manifest,
          1: sealed.map(({ anchor }) => decode(anchor)),
          2: sealed.map(({ item }) => item),
          3: first ? this.wraps : [],
          4: [],
          5: first && subject.fresh && subject.readable ? subject.name : undefined,
          6: fromBase64url(command),
        }),
      );
      return person.home.raw('/batches', {
        method: 'POST',
        headers: { 'content-type': 'application/cbor' },
        body: new Blob([bytes]),
      });
    });
    const accepted: { entry: number } = await answer.json();
    return accepted.entry;
  }
}

/** Cuts pieces into batches of bounded size. */
export function portions<T extends { body: Body }>(pieces: T[]): T[][] {
  const groups: T[][] = [];
  let bytes = 0;
  for (const piece of pieces) {
    const size = Math.min(sizeOf(piece.body), ALONE_FROM);
    const last = groups.at(-1);
    if (last && last.length < RECORDS_LIMIT && bytes + size <= BATCH_BYTES) {
      last.push(piece);
      bytes += size;
    } else {
      groups.push([piece]);
      bytes = size;
    }
  }
  return groups;
}

/** A sealed record. */
interface Kept {
  key: Bytes;
  ciphertext: Bytes;
  length: number;
  /** Of a signed one the digest of its content. */
  content?: Bytes;
  /** Its sealed bytes, where they travel within the batch. */
  within?: Bytes;
}

async function sealedWithin({ piece, key, context, salt }: Secret): Promise<Kept> {
  const { mediaType, title } = piece;
  const plain = { mediaType, title, salt, body: await bytesOf(piece.body) };
  const blob = await sealStream(key, context, encodeContent(plain));
  const content = piece.signed ? await contentDigest(plain) : undefined;
  return { key, ciphertext: await sha256(blob), length: blob.length, content, within: blob };
}

function jobOf({ piece, key, context, salt }: Secret): Job {
  const { mediaType, title, body, signed } = piece;
  const file = body instanceof Blob ? body : new Blob([body]);
  const head = contentHead({ mediaType, title, salt }, file.size);
  return { recordKey: key, context, head, file, salt: signed ? salt : undefined };
}
