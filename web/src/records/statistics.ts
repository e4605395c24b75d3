// A hospital's signed counts of its patients (docs/formats.md, "Statistics"): verified, and refused where
// they break their own rule.
import { CryptoError } from '../crypto/error';
import { keyIdOf, verifyHybrid } from '../crypto/hybrid';
import type { PublicKeys } from '../crypto/keys';
import { LABEL } from '../crypto/label';
import { type Bytes, compare, hex, unhex, utf8 } from '../lib/bytes';
import { decode, Fields, isEncodingOf, Malformed, type Value } from '../lib/cbor';

export const CHARTS = ['symptoms', 'doctors'] as const;
export type Chart = (typeof CHARTS)[number];

/** The weakest rule that is believed: `SMALL_CELL` and `ROUNDING` of crates/proto. */
const THRESHOLD = 5;
const ROUNDING = 5;
const CELLS_LIMIT = 500;
const LIMITS = { system: 200, code: 64, display: 200 };

export interface SymptomCell {
  system: string;
  code: string;
  /** Empty where too few records use the same words. */
  display: string;
  patients: number;
}

export interface DoctorCell {
  doctor: string;
  patients: number;
}

export interface Counts {
  consortium: string;
  organisation: string;
  chart: Chart;
  counted: number;
  entries: number;
  threshold: number;
  rounding: number;
  patients?: number;
  uncoded?: number;
  symptoms: SymptomCell[];
  doctors: DoctorCell[];
}

const ascending = (keys: Bytes[]): boolean =>
  keys.every((key, at) => at === 0 || compare(keys[at - 1]!, key) < 0);

function short(text: string, limit: number): string {
  if (utf8(text).length > limit) throw new Malformed('too long');
  return text;
}

function symptomCell(value: Value): SymptomCell {
  const map = Fields.of(value, [0, 1, 2, 3]);
  const code = short(map.text(1), LIMITS.code);
  if (!code) throw new Malformed('no code');
  return {
    system: short(map.text(0), LIMITS.system),
    code,
    display: short(map.text(2), LIMITS.display),
    patients: map.uint(3),
  };
}

function doctorCell(value: Value): DoctorCell {
  const map = Fields.of(value, [0, 1]);
  return { doctor: hex(map.bytes(0, 16)), patients: map.uint(1) };
}

/** Reads counts of one chart. */
export function decodeCounts(bytes: Bytes): Counts {
  const value = decode(bytes);
  const map = Fields.of(value, [0, 1, 2, 3, 4, 5, 6, 9, 10], [7, 8]);
  if (!isEncodingOf(bytes, value)) throw new Malformed('another encoding');
  const counts: Counts = {
    consortium: hex(map.bytes(0, 16)),
    organisation: hex(map.bytes(1, 16)),
    chart: CHARTS[map.uint(2, CHARTS.length - 1)]!,
    counted: map.uint(3),
    entries: map.uint(4),
    threshold: map.uint(5),
    rounding: map.uint(6),
    patients: map.optional(7, map.uint),
    uncoded: map.optional(8, map.uint),
    symptoms: map.list(9).map(symptomCell),
    doctors: map.list(10).map(doctorCell),
  };
  const { chart, threshold, rounding, patients, uncoded, symptoms, doctors } = counts;
  if (threshold < THRESHOLD || rounding < ROUNDING) throw new Malformed('its rule is too weak');
  const numbers = [...symptoms, ...doctors].map((cell) => cell.patients);
  const totals = [patients, uncoded].filter((total) => total !== undefined);
  if ([...numbers, ...totals].some((number) => number < threshold || number % rounding !== 0))
    throw new Malformed('a number breaks its rule');
  const others = chart === 'symptoms' ? doctors.length > 0 : symptoms.length > 0 || map.has(8);
  if (others || numbers.length > CELLS_LIMIT) throw new Malformed('other cells');
  // Text keys in the order of their bytes, a zero between: no text sorts before what it begins with.
  const named = symptoms.map(({ system, code }) => utf8(`${system}\0${code}`));
  if (!ascending(named) || !ascending(doctors.map(({ doctor }) => unhex(doctor))))
    throw new Malformed('out of order');
  return counts;
}

/** The counts that an organisation signed with the keys that the ledger has for it. */
export async function verifyCounts(
  keys: PublicKeys,
  whose: { consortium: string; organisation: string },
  envelope: Bytes,
): Promise<Counts> {
  const payload = await verifyHybrid(keys, LABEL.statistics, envelope);
  if (hex(keyIdOf(envelope)) !== whose.organisation) throw new CryptoError('envelope');
  let counts: Counts;
  try {
    counts = decodeCounts(payload);
  } catch {
    throw new CryptoError('malformed');
  }
  const { consortium, organisation } = counts;
  if (consortium !== whose.consortium || organisation !== whose.organisation)
    throw new CryptoError('malformed');
  return counts;
}
