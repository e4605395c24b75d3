// Opening released records: digest, anchor, manifest, statement and seal are all checked before
// anything is shown.

import type { components } from '../api/schema';
import { sha256 } from '../crypto/digest';
import { verifyHybrid } from '../crypto/hybrid';
import type { PublicKeys, SecretKeys } from '../crypto/keys';
import { LABEL } from '../crypto/label';
import { openStream } from '../crypto/stream';
import { unwrapUnder } from '../crypto/wrap';
import { type Bytes, equal, fromBase64url } from '../lib/bytes';
import type { KeyClass } from './codes';
import {
  type Anchor,
  type Content,
  classWrapContext,
  decodeAnchor,
  decodeContent,
  decodeManifest,
  decodeStatement,
  keyWrapContext,
  recordContext,
  recordWrapContext,
  type Statement,
} from './record';
import { contentDigest } from './seal';

type Release = components['schemas']['Release'];
type ReleasedRecord = components['schemas']['ReleasedRecord'];

/** A record that was read, checked and opened. */
export interface Opened {
  anchor: Anchor;
  alias: string;
  signer: string;
  /** Both signatures of it verified. */
  statement?: Statement;
  content: Content;
  /** The record key, to share just this record. */
  key: Bytes;
}

/** Something that a node gave out is not what was signed. */
export class NotVerified extends Error {
  constructor(
    readonly record: string,
    what: string,
  ) {
    super(what);
  }
}

/** Who reads, under which grant. */
export interface Reader {
  principal: string;
  keys: SecretKeys;
  alias: string;
  access?: string;
}

export type ClassKeys = { class: KeyClass; epoch: number; key: Bytes }[];

export async function classKeys(reader: Reader, release: Release): Promise<ClassKeys> {
  const keys: ClassKeys = [];
  for (const { class: keyClass, epoch, wrap } of release.class_wraps) {
    const { alias, principal, access } = reader;
    const context = classWrapContext(alias, keyClass, epoch, principal, access);
    const key = await reader.keys.unwrap(LABEL.classKeyWrap, context, fromBase64url(wrap));
    keys.push({ class: keyClass, epoch, key });
  }
  return keys;
}

async function recordKey(
  reader: Reader,
  released: ReleasedRecord,
  anchor: Anchor,
  keys: ClassKeys,
): Promise<Bytes> {
  if (released.record_wrap) {
    const wrap = fromBase64url(released.record_wrap);
    const attempt = (access?: string) =>
      reader.keys.unwrap(
        LABEL.recordKeyWrap,
        recordWrapContext(anchor.record, reader.principal, access),
        wrap,
      );
    if (reader.access === undefined) return attempt();
    // Own questions and answers are wrapped for good, without a grant.
    return attempt(reader.access).catch(() => attempt());
  }
  if (!released.key_wrap) throw new NotVerified(anchor.record, 'there is no key for it');
  const wrap = fromBase64url(released.key_wrap);
  // A replaced class key wraps record keys anew, so the epoch is not always the anchor's.
  const epoch = released.key_epoch ?? anchor.epoch;
  const held = keys.find((one) => one.class === anchor.class && one.epoch === epoch);
  if (!held) throw new NotVerified(anchor.record, 'no key at hand opens it');
  const context = keyWrapContext(reader.alias, anchor, epoch);
  return unwrapUnder(held.key, LABEL.recordKey, context, wrap);
}

/** Manifests that were verified: every record of a batch comes with the same one. */
export type Verified = Map<string, Promise<{ alias: string; signer: string }>>;

async function manifestOf(
  released: ReleasedRecord,
  signer: PublicKeys,
): Promise<{ alias: string; signer: string }> {
  const payload = await verifyHybrid(signer, LABEL.manifest, fromBase64url(released.manifest));
  return decodeManifest(payload);
}

async function checkStatement(
  anchor: Anchor,
  envelope: Bytes,
  signer: PublicKeys,
  content: Content,
): Promise<Statement> {
  const wrong = () =>
    new NotVerified(anchor.record, 'its signed statement is about something else');
  if (!anchor.statement || !equal(await sha256(envelope), anchor.statement)) throw wrong();
  const statement = decodeStatement(await verifyHybrid(signer, LABEL.document, envelope));
  const same = equal(statement.content, await contentDigest(content));
  if (statement.record !== anchor.record || statement.kind !== anchor.kind) throw wrong();
  if (!same || statement.mediaType !== content.mediaType) throw wrong();
  return statement;
}

/** Checks everything about one released record and opens it. */
export async function openRecord(
  reader: Reader,
  released: ReleasedRecord,
  signer: PublicKeys,
  keys: ClassKeys,
  sealed: Bytes,
  verified: Verified,
): Promise<Opened> {
  const wrong = (what: string) => new NotVerified(released.record, what);
  const anchor = decodeAnchor(fromBase64url(released.anchor));
  if (anchor.record !== released.record) throw wrong('the anchor is of another record');
  const known = `${released.signer} ${released.manifest}`;
  if (!verified.has(known)) verified.set(known, manifestOf(released, signer));
  const manifest = await verified.get(known)!;
  if (manifest.alias !== reader.alias || manifest.signer !== released.signer)
    throw wrong('the signed manifest is of another patient or signer');
  if (!equal(await sha256(sealed), anchor.ciphertext))
    throw wrong('the sealed bytes are not those that were anchored');
  const key = await recordKey(reader, released, anchor, keys);
  const context = recordContext(reader.alias, released.signer, anchor);
  const content = decodeContent(await openStream(key, context, sealed));
  let statement: Statement | undefined;
  if (released.statement) {
    const envelope = fromBase64url(released.statement);
    statement = await checkStatement(anchor, envelope, signer, content);
  } else if (anchor.statement) {
    throw wrong('its signed statement was withheld');
  }
  return { anchor, alias: reader.alias, signer: released.signer, statement, content, key };
}

/** The short form under which people quote a record. */
export const reference = (record: string): string => record.slice(0, 8).toUpperCase();
