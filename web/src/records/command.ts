// Signed commands: what a person asks the consortium to do, in deterministic CBOR under their key.

import type { PublicKeys, SecretKeys } from '../crypto/keys';
import { publicKeysValue } from '../crypto/keys';
import { LABEL } from '../crypto/label';
import { type Bytes, concat, unhex } from '../lib/bytes';
import { encode, fields, type Value } from '../lib/cbor';
import {
  CLASSES,
  code,
  DECISIONS,
  type Decision,
  type KeyClass,
  PURPOSES,
  type Purpose,
  REASONS,
  type Reason,
  ROLES,
  type Role,
} from './codes';

/** An action's encoding: `[kind, fields]`. Ids are 32 hexadecimal digits, as in the API. */
export type Action = [number, Map<number, Value>];

const PERSON = 1;

export const action = {
  register: (role: Role, organisation: string, keys: PublicKeys, profile: Bytes): Action => [
    2,
    fields({
      0: code(ROLES, role),
      1: unhex(organisation),
      2: publicKeysValue(keys),
      3: profile,
    }),
  ],
  decidePrincipal: (principal: string, decision: Decision, reason: Reason): Action => [
    3,
    fields({ 0: unhex(principal), 1: code(DECISIONS, decision), 2: code(REASONS, reason) }),
  ],
  revokePrincipal: (principal: string, reason: Reason): Action => [
    5,
    fields({ 0: unhex(principal), 1: code(REASONS, reason) }),
  ],
  openPatient: (alias: string): Action => [6, fields({ 0: unhex(alias) })],
  linkPatient: (alias: string, patient: string): Action => [
    7,
    fields({ 0: unhex(alias), 1: unhex(patient) }),
  ],
  anchorBatch: (
    batch: Bytes,
    alias: string,
    manifest: Bytes,
    anchorsRoot: Bytes,
    count: number,
    consultation?: string,
  ): Action => [
    8,
    fields({
      0: batch,
      1: unhex(alias),
      2: manifest,
      3: anchorsRoot,
      4: count,
      5: consultation === undefined ? undefined : unhex(consultation),
    }),
  ],
  requestAccess: (
    access: Bytes,
    alias: string,
    classes: KeyClass[],
    purpose: Purpose,
    until: number,
  ): Action => [
    9,
    fields({
      0: access,
      1: unhex(alias),
      2: classes.map((c) => code(CLASSES, c)).sort((a, b) => a - b),
      3: code(PURPOSES, purpose),
      4: until,
    }),
  ],
  decideAccess: (access: string, decision: Decision, reason: Reason): Action => [
    10,
    fields({
      0: unhex(access),
      1: code(DECISIONS, decision),
      2: code(REASONS, reason),
      3: PERSON,
    }),
  ],
  revokeAccess: (access: string, reason: Reason): Action => [
    11,
    fields({ 0: unhex(access), 1: code(REASONS, reason) }),
  ],
  openConsultation: (opening: {
    consultation: Bytes;
    access: Bytes;
    alias: string;
    doctor: string;
    /** Ascending, each once. */
    records: string[];
    question: Bytes;
    until: number;
  }): Action => [
    12,
    fields({
      0: opening.consultation,
      1: opening.access,
      2: unhex(opening.alias),
      3: unhex(opening.doctor),
      4: opening.records.map(unhex),
      5: opening.question,
      6: opening.until,
    }),
  ],
  answerConsultation: (consultation: string, answer: Bytes, prescriptions: number): Action => [
    13,
    fields({ 0: unhex(consultation), 1: answer, 2: prescriptions }),
  ],
  readRecords: (
    alias: string,
    access: string | undefined,
    records: string[],
    purpose: Purpose,
  ): Action => [
    14,
    fields({
      0: unhex(alias),
      1: access === undefined ? undefined : unhex(access),
      2: records.map(unhex),
      3: code(PURPOSES, purpose),
    }),
  ],
  decideJob: (job: string, plan: string, decision: Decision): Action => [
    18,
    fields({ 0: unhex(job), 1: unhex(plan), 2: code(DECISIONS, decision) }),
  ],
  /** `model` is the digest of the job's last model. */
  useModel: (
    job: string,
    model: string,
    alias: string,
    access: string | undefined,
    record: string,
  ): Action => [
    23,
    fields({
      0: unhex(job),
      1: unhex(model),
      2: unhex(alias),
      3: access === undefined ? undefined : unhex(access),
      4: unhex(record),
    }),
  ],
};

/** Who signs, for which consortium. */
export interface Author {
  consortium: string;
  principal: string;
  keys: SecretKeys;
}

/** A signed command's bytes. `expires` is in milliseconds since 1970. */
export async function signCommand(
  author: Author,
  sequence: number,
  expires: number,
  what: Action,
): Promise<Bytes> {
  const command = encode(
    fields({
      0: unhex(author.consortium),
      1: unhex(author.principal),
      2: sequence,
      3: expires,
      4: what,
    }),
  );
  const signature = await author.keys.ed25519(concat(LABEL.command, command));
  return encode(fields({ 0: command, 1: signature }));
}
