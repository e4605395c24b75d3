// ECGs in Salus's own form (docs/formats.md, "Clinical content"), and what of them is drawn.
import type { Bytes } from '../../lib/bytes';
import { decode, Fields, Malformed, type Value } from '../../lib/cbor';

export interface Lead {
  name: string;
  unit: string;
  /** Steps for one unit. */
  gain: number;
  baseline: number;
  /** Samples a second. */
  rate: number;
  samples: Int32Array;
}

export interface Ecg {
  start?: string;
  leads: Lead[];
  remarks: string[];
  /** Seconds. */
  duration: number;
}

export const ECG_MEDIA_TYPE = 'application/vnd.salus.ecg+cbor';
/** The sample that means "none". */
export const MISSING = -(2 ** 31);
const LEADS_LIMIT = 64;
const SAMPLES_LIMIT = 67_108_864;

function decimal(value: Value): number {
  if (!Array.isArray(value) || value.length !== 2) throw new Malformed('no decimal');
  const [mantissa, exponent] = value;
  if (typeof mantissa !== 'number' || typeof exponent !== 'number')
    throw new Malformed('no decimal');
  // Dividing keeps 0.1 exact where multiplying with 10 ** -1 would not.
  return exponent < 0 ? mantissa / 10 ** -exponent : mantissa * 10 ** exponent;
}

function samplesOf(bytes: Bytes): Int32Array {
  let count = 0;
  for (const byte of bytes) if (byte < 0x80) count += 1;
  const samples = new Int32Array(count);
  let previous = 0;
  let at = 0;
  for (let i = 0; i < count; i++) {
    let value = 0;
    let shift = 0;
    for (;;) {
      const byte = bytes[at++]!;
      if (shift > 28) throw new Malformed('a sample of too many bytes');
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) break;
      shift += 7;
    }
    previous = (previous + ((value >>> 1) ^ -(value & 1))) | 0;
    samples[i] = previous;
  }
  if (at !== bytes.length) throw new Malformed('half a sample');
  return samples;
}

export function decodeEcg(bytes: Bytes): Ecg {
  const map = Fields.of(decode(bytes), [0, 2, 3], [1]);
  const frames = decimal(map.value(0));
  let total = 0;
  const leads = map.list(2).map((value): Lead => {
    const lead = Fields.of(value, [0, 1, 2, 3, 4, 5]);
    const baseline = lead.value(3);
    const samples = samplesOf(lead.bytes(5));
    total += samples.length;
    if (total > SAMPLES_LIMIT || typeof baseline !== 'number') throw new Malformed('no lead');
    return {
      name: lead.text(0),
      unit: lead.text(1),
      gain: decimal(lead.value(2)),
      baseline,
      rate: frames * lead.uint(4),
      samples,
    };
  });
  if (leads.length > LEADS_LIMIT || !(frames > 0)) throw new Malformed('no ECG');
  const duration = Math.max(0, ...leads.map((lead) => lead.samples.length / lead.rate));
  const remarks = map.list(3).filter((remark) => typeof remark === 'string');
  return { start: map.optional(1, map.text), leads, remarks, duration };
}

/**
 * The least and greatest sample of each of `columns` equal parts of a stretch, so that no beat is lost
 * at any zoom. Parts without samples have NaN.
 */
export function envelope(
  lead: Lead,
  from: number,
  to: number,
  columns: number,
): { low: Float32Array; high: Float32Array } {
  const low = new Float32Array(columns).fill(Number.NaN);
  const high = new Float32Array(columns).fill(Number.NaN);
  const { samples, rate, gain, baseline } = lead;
  const step = ((to - from) * rate) / columns;
  for (let column = 0; column < columns; column++) {
    const first = Math.max(0, Math.floor(from * rate + column * step));
    const last = Math.min(samples.length, Math.ceil(from * rate + (column + 1) * step) + 1);
    let [least, greatest] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
    for (let i = first; i < last; i++) {
      const sample = samples[i]!;
      if (sample === MISSING) continue;
      if (sample < least) least = sample;
      if (sample > greatest) greatest = sample;
    }
    if (least <= greatest) {
      low[column] = (least - baseline) / gain;
      high[column] = (greatest - baseline) / gain;
    }
  }
  return { low, high };
}
