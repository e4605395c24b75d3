// Checking a prescription's code, by somebody without an account: the doctor's signatures over its
// words, their record in the ledger under the members' quorum, the doctor's authorisation.
import { type Node, node, ok, Problem, type Schema } from '../../api/client';
import { sha256 } from '../../crypto/digest';
import { verifyHybrid } from '../../crypto/hybrid';
import { LABEL } from '../../crypto/label';
import { type Bytes, concat, equal, fromBase64url, hex, unhex, utf8 } from '../../lib/bytes';
import { asUint, decode, Fields } from '../../lib/cbor';
import type { Opened } from '../../records/open';
import { decodeStatement } from '../../records/record';
import { contentDigest } from '../../records/seal';
import {
  BundleError,
  Unreadable as NoBundle,
  type Proven,
  verifyBundle,
} from '../../verify/bundle';
import { quorum } from '../../verify/checkpoint';
import { CONSORTIUM_BYTES, type Code, decodeCode, Unreadable } from './code';

/** What came of a check. */
export type Verdict =
  | { kind: 'unreadable' | 'elsewhere' | 'unknown' | 'stale' }
  | { kind: 'false'; why: string }
  | ({ kind: 'good' | 'since' } & Genuine);

/** A prescription of which everything held. */
export interface Genuine {
  opened: Opened;
  /** When the ledger recorded it, in ms, and where. */
  recorded: number;
  entry: number;
  members: number;
  quorum: number;
  /** The time of the state that the doctor's standing was read from, in ms. */
  asOf: number;
}

/** A check that failed, in a word for support. */
class False extends Error {}

/** The role number of a doctor, and the standing number of who may act (docs/formats.md). */
const DOCTOR = 2;
const AUTHORISED = 1;

/** How often the custodian may show an older state than this page's node has, and the pause, in ms. */
const OLDER_ANSWERS = 20;
const PAUSE_MS = 250;

/** Whether a proven row of a principal is that of a doctor who may act now. */
export function doctorStands(row: Bytes): boolean {
  const map = Fields.of(decode(row), [0, 1, 2, 3, 4, 5]);
  if (map.uint(0) !== DOCTOR) throw new False('role');
  return asUint(map.list(5)[0]) === AUTHORISED;
}

export const principalStateKey = (principal: string): Bytes =>
  concat(utf8('principal/'), unhex(principal));

async function prove(bundle: string, genesis: Bytes): Promise<Proven> {
  try {
    return await verifyBundle(bundle, genesis);
  } catch (error) {
    if (error instanceof BundleError) throw new False(error.check);
    if (error instanceof NoBundle) throw new False('bundle');
    throw error;
  }
}

/** The prescription of a code as the custodian's evidence proves it. */
export async function believe(
  code: Code,
  evidence: Schema['PrescriptionEvidence'],
  genesis: Bytes,
  seen: number,
): Promise<Verdict> {
  const proven = await prove(evidence.proof, genesis);
  const { record } = proven;
  if (!record || record.anchor.record !== code.record || record.anchor.kind !== 'prescription')
    throw new False('record');
  const { anchor, alias, signer, keys, time, index } = record;
  const envelope = fromBase64url(evidence.statement);
  if (!anchor.statement || !equal(await sha256(envelope), anchor.statement))
    throw new False('statement');
  const payload = await verifyHybrid(keys, LABEL.document, envelope).catch(() => {
    throw new False('signature');
  });
  const statement = decodeStatement(payload);
  const { mediaType } = statement;
  const content = { mediaType, title: '', salt: code.salt, body: code.body };
  const same = equal(statement.content, await contentDigest(content));
  const about = statement.record === code.record && statement.kind === 'prescription';
  if (!same || !about || statement.signer !== signer) throw new False('content');

  const doctor = await prove(evidence.doctor, genesis);
  if (!doctor.key || !equal(doctor.key, principalStateKey(signer)) || !doctor.value)
    throw new False('doctor');
  if (doctor.checkpoint.size < seen) return { kind: 'stale' };
  return {
    kind: doctorStands(doctor.value) ? 'good' : 'since',
    opened: { anchor, alias, signer, statement, content, key: new Uint8Array() },
    recorded: time,
    entry: index,
    members: proven.members.members.length,
    quorum: quorum(proven.members.members.length),
    asOf: doctor.checkpoint.time,
  };
}

/** The digest of the consortium's genesis file, as this page's own node has it. */
export const genesisOf = async (here: Node): Promise<Bytes> =>
  sha256(new Uint8Array(await (await here.raw('/ledger/genesis')).arrayBuffer()));

/** Checks a code. Nothing but the record's number and a digest of its words leaves this page. */
export async function checkCode(text: string): Promise<Verdict> {
  let code: Code;
  try {
    code = await decodeCode(text);
  } catch (error) {
    if (error instanceof Unreadable) return { kind: 'unreadable' };
    throw error;
  }
  const here = node(location.origin);
  const genesis = await genesisOf(here);
  if (!equal(code.consortium, genesis.slice(0, CONSORTIUM_BYTES))) return { kind: 'elsewhere' };
  const status = await ok(here.api.GET('/api/v1/ledger'));
  const custodian = status.members.find((member) => member.organisation === code.custodian);
  if (!custodian) return { kind: 'unknown' };
  const there = node(new URL(custodian.api).origin);
  const { salt, body } = code;
  const content = hex(await contentDigest({ mediaType: '', title: '', salt, body }));
  try {
    for (let n = 0; n < OLDER_ANSWERS; n++) {
      const evidence = await ok(
        there.api.POST('/api/v1/prescriptions/{record}/evidence', {
          params: { path: { record: code.record } },
          body: { content },
        }),
      );
      const verdict = await believe(code, evidence, genesis, status.certified?.size ?? 0);
      if (verdict.kind !== 'stale') return verdict;
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
    }
    return { kind: 'stale' };
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return { kind: 'unknown' };
    if (error instanceof False) return { kind: 'false', why: error.message };
    throw error;
  }
}
