// Sealed batches of a person: questions, answers, prescriptions. Each record is sealed under a fresh
// key, which is wrapped to its recipients; the manifest and the command that anchors it are signed.

import { sha256 } from '../crypto/digest';
import { signHybrid } from '../crypto/hybrid';
import { LABEL } from '../crypto/label';
import { sealStream } from '../crypto/stream';
import { wrapTo } from '../crypto/wrap';
import { type Bytes, hex, random, unhex } from '../lib/bytes';
import { decode, encode, fields, type Value } from '../lib/cbor';
import { treeRoot } from '../verify/log';
import type { RecordKind } from './codes';
import { type Author, action, signCommand } from './command';
import {
  type Anchor,
  type Content,
  encodeAnchor,
  encodeContent,
  encodeManifest,
  encodeStatement,
  recordContext,
  recordWrapContext,
} from './record';

/** How long a command that anchors a batch stays valid, in ms. */
const VALIDITY_MS = 3_600_000;

/** Somebody who shall be able to open a record: under a grant, or for good. */
export interface Recipient {
  principal: string;
  xWing: Bytes;
  access?: string;
}

/** One record to be sealed. */
export interface Item {
  kind: RecordKind;
  content: Content;
}

export interface SealedBatch {
  batch: Bytes;
  bytes: Bytes;
  records: string[];
}

export const content = (mediaType: string, title: string, body: Bytes): Content => ({
  mediaType,
  title,
  salt: random(16),
  body,
});

/** SHA-256 of salt and body: what a statement says about a plaintext. */
export const contentDigest = (plain: Content): Promise<Bytes> => sha256(plain.salt, plain.body);

/** Wraps a record's key to one person. */
export const wrapRecordKey = (record: string, key: Bytes, to: Recipient): Promise<Bytes> =>
  wrapTo(to.xWing, LABEL.recordKeyWrap, recordWrapContext(record, to.principal, to.access), key);

/** Where a batch belongs. */
export interface Place {
  alias: string;
  /** The custodian's organisation. */
  organisation: string;
  /** The consultation that an answer belongs to. */
  consultation?: string;
}

/** Seals, signs and anchors records of the author, all of class medical, each with a statement. */
export async function sealBatch(
  author: Author,
  place: Place,
  items: Item[],
  recipients: Recipient[],
  sequence: number,
  now: number,
): Promise<SealedBatch> {
  const batch = random(16);
  const anchors: Bytes[] = [];
  const sealed: Value[] = [];
  const wraps: Value[] = [];
  const records: string[] = [];
  const keyId = unhex(author.principal);
  for (const item of items) {
    const record = hex(random(16));
    const key = random(32);
    const kind = item.kind;
    const about = { record, version: 1, class: 'medical', epoch: 0, kind } as const;
    const statement = await signHybrid(
      author.keys,
      LABEL.document,
      keyId,
      encodeStatement({
        record,
        kind,
        mediaType: item.content.mediaType,
        content: await contentDigest(item.content),
        signer: author.principal,
        signed: now,
      }),
    );
    const context = recordContext(place.alias, author.principal, about);
    const blob = await sealStream(key, context, encodeContent(item.content));
    const anchor: Anchor = {
      ...about,
      ciphertext: await sha256(blob),
      length: blob.length,
      statement: await sha256(statement),
    };
    records.push(record);
    anchors.push(encodeAnchor(anchor));
    sealed.push(fields({ 1: statement, 2: blob }));
    for (const to of recipients) {
      const wrap = await wrapRecordKey(record, key, to);
      const access = to.access === undefined ? undefined : unhex(to.access);
      wraps.push(fields({ 0: unhex(record), 1: unhex(to.principal), 2: access, 3: wrap }));
    }
  }
  const anchorsRoot = treeRoot(anchors);
  const manifest = await signHybrid(
    author.keys,
    LABEL.manifest,
    keyId,
    encodeManifest({
      batch,
      alias: place.alias,
      organisation: place.organisation,
      signer: author.principal,
      created: now,
      anchorsRoot,
      count: items.length,
    }),
  );
  const command = await signCommand(
    author,
    sequence,
    now + VALIDITY_MS,
    action.anchorBatch(
      batch,
      place.alias,
      await sha256(manifest),
      anchorsRoot,
      items.length,
      place.consultation,
    ),
  );
  const bytes = encode(
    fields({
      0: manifest,
      1: anchors.map(decode),
      2: sealed,
      3: [],
      4: wraps,
      6: command,
    }),
  );
  return { batch, bytes, records };
}
