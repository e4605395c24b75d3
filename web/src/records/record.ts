// Records as they are signed, sealed and stored: contents, anchors, manifests, statements, and the
// contexts that their keys and seals are bound to (docs/formats.md, "Records").
import { type Bytes, concat, hex, unhex } from '../lib/bytes';
import { decode, encode, Fields, fields, head } from '../lib/cbor';
import { CLASSES, code, type KeyClass, KINDS, type RecordKind } from './codes';

/** The plaintext of a record. */
export interface Content {
  mediaType: string;
  title: string;
  salt: Bytes;
  body: Bytes;
}

export const encodeContent = (content: Content): Bytes =>
  encode(fields({ 0: content.mediaType, 1: content.title, 2: content.salt, 3: content.body }));

/** The bytes of a content up to its body, which has this length and is its last field. */
export function contentHead(about: Omit<Content, 'body'>, length: number): Bytes {
  const { mediaType, title, salt } = about;
  const empty = encode(fields({ 0: mediaType, 1: title, 2: salt, 3: new Uint8Array() }));
  return concat(empty.subarray(0, -1), head(2, length));
}

export function decodeContent(bytes: Bytes): Content {
  const map = Fields.of(decode(bytes), [0, 1, 2, 3]);
  return { mediaType: map.text(0), title: map.text(1), salt: map.bytes(2, 16), body: map.bytes(3) };
}

/** What the ledger can prove of a record. */
export interface Anchor {
  record: string;
  version: number;
  class: KeyClass;
  epoch: number;
  kind: RecordKind;
  ciphertext: Bytes;
  length: number;
  statement?: Bytes;
}

export const encodeAnchor = (anchor: Anchor): Bytes =>
  encode(
    fields({
      0: unhex(anchor.record),
      1: anchor.version,
      2: code(CLASSES, anchor.class),
      3: anchor.epoch,
      4: code(KINDS, anchor.kind),
      5: anchor.ciphertext,
      6: anchor.length,
      7: anchor.statement,
    }),
  );

const U32 = 0xffff_ffff;

export function decodeAnchor(bytes: Bytes): Anchor {
  const map = Fields.of(decode(bytes), [0, 1, 2, 3, 4, 5, 6], [7]);
  return {
    record: hex(map.bytes(0, 16)),
    version: map.uint(1, U32),
    class: CLASSES[map.uint(2, CLASSES.length - 1)]!,
    epoch: map.uint(3, U32),
    kind: KINDS[map.uint(4, KINDS.length - 1)]!,
    ciphertext: map.bytes(5, 32),
    length: map.uint(6),
    statement: map.has(7) ? map.bytes(7, 32) : undefined,
  };
}

/** The signed list of a batch. */
export interface Manifest {
  batch: Bytes;
  alias: string;
  organisation: string;
  signer: string;
  created: number;
  anchorsRoot: Bytes;
  count: number;
}

export const encodeManifest = (manifest: Manifest): Bytes =>
  encode(
    fields({
      0: manifest.batch,
      1: unhex(manifest.alias),
      2: unhex(manifest.organisation),
      3: unhex(manifest.signer),
      4: manifest.created,
      5: manifest.anchorsRoot,
      6: manifest.count,
    }),
  );

export function decodeManifest(bytes: Bytes): Manifest {
  const map = Fields.of(decode(bytes), [0, 1, 2, 3, 4, 5, 6]);
  return {
    batch: map.bytes(0, 16),
    alias: hex(map.bytes(1, 16)),
    organisation: hex(map.bytes(2, 16)),
    signer: hex(map.bytes(3, 16)),
    created: map.uint(4),
    anchorsRoot: map.bytes(5, 32),
    count: map.uint(6, U32),
  };
}

/** What somebody signed about a plaintext. */
export interface Statement {
  record: string;
  kind: RecordKind;
  mediaType: string;
  content: Bytes;
  signer: string;
  signed: number;
}

export const encodeStatement = (statement: Statement): Bytes =>
  encode(
    fields({
      0: unhex(statement.record),
      1: code(KINDS, statement.kind),
      2: statement.mediaType,
      3: statement.content,
      4: unhex(statement.signer),
      5: statement.signed,
    }),
  );

export function decodeStatement(bytes: Bytes): Statement {
  const map = Fields.of(decode(bytes), [0, 1, 2, 3, 4, 5]);
  return {
    record: hex(map.bytes(0, 16)),
    kind: KINDS[map.uint(1, KINDS.length - 1)]!,
    mediaType: map.text(2),
    content: map.bytes(3, 32),
    signer: hex(map.bytes(4, 16)),
    signed: map.uint(5),
  };
}

/** What a record's sealed stream is bound to. */
export const recordContext = (
  alias: string,
  signer: string,
  anchor: Pick<Anchor, 'record' | 'version' | 'class' | 'epoch' | 'kind'>,
): Bytes =>
  encode(
    fields({
      0: unhex(alias),
      1: unhex(anchor.record),
      2: anchor.version,
      3: code(CLASSES, anchor.class),
      4: anchor.epoch,
      5: code(KINDS, anchor.kind),
      6: unhex(signer),
    }),
  );

/** What a record key's wrap under a class key is bound to; `epoch` is that of the class key. */
export const keyWrapContext = (
  alias: string,
  anchor: Pick<Anchor, 'record' | 'version' | 'class'>,
  epoch: number,
): Bytes =>
  encode(
    fields({
      0: unhex(alias),
      1: unhex(anchor.record),
      2: anchor.version,
      3: code(CLASSES, anchor.class),
      4: epoch,
    }),
  );

/** What a class key's wrap to a person is bound to. */
export const classWrapContext = (
  alias: string,
  keyClass: KeyClass,
  epoch: number,
  recipient: string,
  access?: string,
): Bytes =>
  encode(
    fields({
      0: unhex(alias),
      1: code(CLASSES, keyClass),
      2: epoch,
      3: unhex(recipient),
      4: access === undefined ? undefined : unhex(access),
    }),
  );

/** What a record key's wrap to a person is bound to. */
export const recordWrapContext = (record: string, recipient: string, access?: string): Bytes =>
  encode(
    fields({
      0: unhex(record),
      1: unhex(recipient),
      2: access === undefined ? undefined : unhex(access),
    }),
  );
