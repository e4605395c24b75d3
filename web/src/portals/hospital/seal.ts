// An intake, sealed in the page: the same batch that `salus intake` makes, signed by whoever takes it in.
//
// New patients get class keys that are wrapped to the hospital, whose public keys the ledger holds; for
// known patients the hospital's node wraps its class keys to the staff member, against a receipt.
import { ok, Problem } from '../../api/client';
import { sha256 } from '../../crypto/digest';
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
  encodeAnchor,
  encodeContent,
  encodeManifest,
  encodeStatement,
  keyWrapContext,
  recordContext,
} from '../../records/record';
import { content, contentDigest } from '../../records/seal';
import type { Person } from '../../session/person';
import { treeRoot } from '../../verify/log';
import type { Classed } from './form';

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
  manifest: Bytes;
  root: Bytes;
  records: string[];
  anchors: Bytes[];
  sealed: Value[];
  /** Sealed bytes that go by themselves. */
  alone: { digest: Bytes; bytes: Bytes }[];
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
    const { person, alias } = this;
    if (!this.opened) {
      await this.open();
      this.opened = true;
    }
    this.keys ??= await this.classKeys();
    this.parts ??= await this.seal(this.keys, progress);
    while (this.entries.length < this.parts.length) {
      const part = this.parts[this.entries.length]!;
      for (const { digest, bytes } of part.alone) await upload(person, digest, bytes, progress);
      this.entries.push(await this.sendOrSealAnew(part));
    }
    return { alias, records: this.parts.flatMap(({ records }) => records), entries: this.entries };
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

  private async seal(keys: Keys, progress: (part: number) => void): Promise<Part[]> {
    const parts: Part[] = [];
    const now = Date.now();
    const total = this.pieces.reduce((sum, piece) => sum + piece.body.length, 0);
    let done = 0;
    for (const [place, group] of portions(this.pieces).entries()) {
      const fresh = await this.unknown(group);
      if (fresh.length === 0) continue;
      const part: Part = {
        batch: (await this.again?.batch(place)) ?? random(16),
        manifest: new Uint8Array(),
        root: new Uint8Array(),
        records: [],
        anchors: [],
        sealed: [],
        alone: [],
      };
      for (const [record, piece] of fresh) {
        await this.sealOne(part, record, piece, keys, now);
        done += piece.body.length;
        progress((done / (total || 1)) * 0.5);
      }
      part.root = treeRoot(part.anchors);
      part.manifest = await this.sign(LABEL.manifest, this.manifest(part, now));
      parts.push(part);
    }
    return parts;
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

  private manifest({ batch, root, anchors }: Part, created: number): Bytes {
    return encodeManifest({
      batch,
      alias: this.alias,
      organisation: this.person.organisation,
      signer: this.person.principal,
      created,
      anchorsRoot: root,
      count: anchors.length,
    });
  }

  private async sealOne(
    part: Part,
    record: string,
    piece: Classed,
    keys: Keys,
    now: number,
  ): Promise<void> {
    const { alias, person } = this;
    const held = keys.get(piece.class);
    if (!held) throw new NoClassKey();
    const { kind, mediaType } = piece;
    const about = { record, version: 1, class: piece.class, epoch: held.epoch, kind };
    const plain = content(mediaType, piece.title, piece.body);
    const key = random(32);
    const context = keyWrapContext(alias, about, held.epoch);
    const wrap = await wrapUnder(held.key, LABEL.recordKey, context, key);
    const bound = recordContext(alias, person.principal, about);
    const blob = await sealStream(key, bound, encodeContent(plain));
    let statement: Bytes | undefined;
    if (piece.signed) {
      const about = { record, kind, mediaType, content: await contentDigest(plain) };
      const said = encodeStatement({ ...about, signer: person.principal, signed: now });
      statement = await this.sign(LABEL.document, said);
    }
    const ciphertext = await sha256(blob);
    part.records.push(record);
    part.anchors.push(
      encodeAnchor({
        ...about,
        ciphertext,
        length: blob.length,
        statement: statement && (await sha256(statement)),
      }),
    );
    const alone = blob.length > ALONE_FROM;
    if (alone) part.alone.push({ digest: ciphertext, bytes: blob });
    part.sealed.push(fields({ 0: wrap, 1: statement, 2: alone ? undefined : blob }));
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
      }
      throw error;
    }
  }

  /** Anchors a part; the command is signed anew each time, the rest stays as it is. */
  private async send(part: Part): Promise<number> {
    const { person, alias, subject } = this;
    const first = this.entries.length === 0;
    const { batch, manifest, root, anchors } = part;
    const digest = await sha256(manifest);
    const what = action.anchorBatch(batch, alias, digest, root, anchors.length);
    const answer = await person.act(what, (command) => {
      const bytes = encode(
        fields({
          0: manifest,
          1: anchors.map(decode),
          2: part.sealed,
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
export function portions<T extends { body: Bytes }>(pieces: T[]): T[][] {
  const groups: T[][] = [];
  let bytes = 0;
  for (const piece of pieces) {
    const size = Math.min(piece.body.length, ALONE_FROM);
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

/** Sends sealed bytes in parts; parts that the node has are not sent again. */
async function upload(
  person: Person,
  digest: Bytes,
  bytes: Bytes,
  progress: (part: number) => void,
): Promise<void> {
  const { api, raw } = person.home;
  const status = await ok(
    api.POST('/api/v1/uploads', { body: { digest: hex(digest), length: bytes.length } }),
  );
  if (status.complete) return;
  const count = Math.ceil(bytes.length / status.part_size);
  for (let number = 0; number < count; number++) {
    if (!status.parts_done.includes(number)) {
      const from = number * status.part_size;
      await raw(`/uploads/${status.upload}/parts/${number}`, {
        method: 'PUT',
        headers: { 'content-type': 'application/octet-stream' },
        body: new Blob([bytes.subarray(from, from + status.part_size)]),
      });
    }
    progress(0.5 + ((number + 1) / count) * 0.5);
  }
  await ok(api.POST('/api/v1/uploads/{id}/complete', { params: { path: { id: status.upload } } }));
}
