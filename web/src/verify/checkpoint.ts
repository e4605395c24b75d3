// Checkpoints: signed notes over the log's size and root, certified by a quorum of the members.

import { sha256Sync } from '../crypto/digest';
import { type PublicKeys, publicKeysOf } from '../crypto/keys';
import { LABEL } from '../crypto/label';
import { ML_DSA_65_PUBLIC_LENGTH, verifyEd25519, verifyMlDsa65 } from '../crypto/sign';
import { X_WING_PUBLIC_LENGTH } from '../crypto/wrap';
import { type Bytes, concat, equal, fromBase64, hex, utf8 } from '../lib/bytes';
import { asUint, decode, Fields, Malformed } from '../lib/cbor';

export interface Member {
  organisation: string;
  name: string;
  keys: PublicKeys;
  api: string;
}

/** The members whose signatures count, and the digest by which checkpoints name them. */
export interface MemberList {
  version: number;
  members: Member[];
  digest: Bytes;
}

const MEMBERS_LIMIT = 50;
const NOTE_LIMIT = 512 * 1024;
const SIGNATURES_LIMIT = 200;

export function decodeMember(value: Parameters<typeof Fields.of>[0]): Member {
  const map = Fields.of(value, [0, 1, 2, 3, 4, 5, 6]);
  for (const role of map.list(2)) asUint(role, 3);
  map.bytes(4, 32);
  map.text(5);
  return {
    organisation: hex(map.bytes(0, 16)),
    name: map.text(1),
    keys: publicKeysOf(map.value(3)),
    api: map.text(6),
  };
}

/** A list as its rules want it: 1 to 50 members, ascending, none sharing a key. */
export function memberList(version: number, members: Member[], encoded: Bytes): MemberList {
  if (members.length < 1 || members.length > MEMBERS_LIMIT) throw new Malformed('1 to 50 members');
  members.forEach((member, i) => {
    if (i > 0 && members[i - 1]!.organisation >= member.organisation)
      throw new Malformed('members ascend by organisation');
    const { mlDsa65, xWing } = member.keys;
    if (mlDsa65.length !== ML_DSA_65_PUBLIC_LENGTH || xWing.length !== X_WING_PUBLIC_LENGTH)
      throw new Malformed('a key has the wrong length');
  });
  const keys = members.flatMap(({ keys: { ed25519, mlDsa65 } }) => [hex(ed25519), hex(mlDsa65)]);
  if (new Set(keys).size !== keys.length) throw new Malformed('two members share a key');
  return { version, members, digest: sha256Sync(encoded) };
}

export function decodeMemberList(bytes: Bytes): MemberList {
  if (bytes.length > MEMBERS_LIMIT * 4096) throw new Malformed('too long');
  const map = Fields.of(decode(bytes), [0, 1]);
  return memberList(map.uint(0), map.list(1).map(decodeMember), bytes);
}

export const quorum = (members: number): number => members - Math.floor((members - 1) / 3);

/** What a checkpoint says. */
export interface Checkpoint {
  origin: string;
  size: number;
  root: Bytes;
  height: number;
  time: number;
  state: Bytes;
  members: Bytes;
}

interface Note {
  text: string;
  signatures: { name: string; id: string; signature: Bytes }[];
}

function parseNote(note: string): Note {
  const end = note.lastIndexOf('\n\n');
  const refuse = (why: string): never => {
    throw new Malformed(why);
  };
  if (note.length > NOTE_LIMIT || end < 0 || !note.endsWith('\n')) refuse('no signed note');
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what is refused
  if (/[\u0000-\u0009\u000b-\u001f]/.test(note)) refuse('a control character');
  const lines = note.slice(end + 2, -1).split('\n');
  if (lines.length > SIGNATURES_LIMIT) refuse('too many signatures');
  const signatures = lines.map((line) => {
    const match = /^\u2014 ([^\s+]{1,256}) ([A-Za-z0-9+/=]+)$/u.exec(line);
    if (!match) throw new Malformed('a signature line of another form');
    const bytes = fromBase64(match[2]!);
    if (bytes.length < 5 || bytes.length > 5120) refuse('a signature of another length');
    return { name: match[1]!, id: hex(bytes.slice(0, 4)), signature: bytes.slice(4) };
  });
  return { text: note.slice(0, end + 1), signatures };
}

const DECIMAL = /^(0|[1-9]\d{0,15})$/;

function parseText(text: string): Checkpoint {
  const lines = text.slice(0, -1).split('\n');
  const [origin, size, root, height, time, state, members] = lines;
  const number = (line: string | undefined, name: string): number => {
    const digits = name ? line?.slice(name.length + 1) : line;
    if (digits === undefined || !DECIMAL.test(digits) || (name && !line!.startsWith(`${name} `)))
      throw new Malformed('a number of another form');
    return Number(digits);
  };
  const hash = (line: string | undefined, name: string): Bytes => {
    const digits = name ? line?.slice(name.length + 1) : line;
    if (digits === undefined || (name && !line!.startsWith(`${name} `)))
      throw new Malformed('a hash of another form');
    const bytes = fromBase64(digits);
    if (bytes.length !== 32) throw new Malformed('a hash of another length');
    return bytes;
  };
  if (lines.length !== 7 || !origin || utf8(origin).length > 256)
    throw new Malformed('seven lines');
  return {
    origin,
    size: number(size, ''),
    root: hash(root, ''),
    height: number(height, 'height'),
    time: number(time, 'time'),
    state: hash(state, 'state'),
    members: hash(members, 'members'),
  };
}

const keyId = (...parts: Uint8Array[]): string => hex(sha256Sync(...parts).slice(0, 4));

const verified = new Map<string, Promise<Checkpoint>>();

/**
 * Reads a note and checks that `list` certifies it for `origin`. Answers are remembered: every proof
 * under one checkpoint names the same note.
 */
export function certified(note: string, list: MemberList, origin: string): Promise<Checkpoint> {
  const key = `${origin}\n${hex(list.digest)}\n${note}`;
  let found = verified.get(key);
  if (!found) {
    found = certify(note, list, origin);
    if (verified.size > 64) verified.clear();
    verified.set(key, found);
  }
  return found;
}

async function certify(note: string, list: MemberList, origin: string): Promise<Checkpoint> {
  const { text, signatures } = parseNote(note);
  const checkpoint = parseText(text);
  const refuse = (why: string): never => {
    throw new Malformed(why);
  };
  if (checkpoint.origin !== origin) refuse('another log');
  if (!equal(checkpoint.members, list.digest)) refuse('another list of members');
  const message = utf8(text);
  const post = concat(LABEL.checkpoint, message);
  let signers = 0;
  for (const member of list.members) {
    const name = `salus/${member.organisation}`;
    const { ed25519, mlDsa65 } = member.keys;
    const ids = {
      ed25519: keyId(utf8(`${name}\n`), new Uint8Array([1]), ed25519),
      mlDsa65: keyId(utf8(`${name}\n`), new Uint8Array([0xff]), utf8('salus/ml-dsa-65'), mlDsa65),
    };
    let [classic, quantum] = [false, false];
    for (const line of signatures.filter((s) => s.name === name)) {
      if (line.id === ids.ed25519) {
        if (!(await verifyEd25519(ed25519, message, line.signature))) refuse('a wrong signature');
        classic = true;
      } else if (line.id === ids.mlDsa65) {
        if (!(await verifyMlDsa65(mlDsa65, post, line.signature))) refuse('a wrong signature');
        quantum = true;
      }
    }
    if (classic && quantum) signers += 1;
  }
  if (signers < quorum(list.members.length)) refuse('too few members signed');
  return checkpoint;
}
