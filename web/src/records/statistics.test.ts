import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { unhex } from '../lib/bytes';
import { decodeCounts } from './statistics';

const vectors = JSON.parse(
  readFileSync('../crates/proto/testdata/statistics/counts.json', 'utf8'),
) as { symptoms: string; doctors: string; malformed: Record<string, string> };

describe('a hospital’s counts, by the vectors of crates/proto/testdata/statistics', () => {
  it('read as Rust writes them', () => {
    expect(decodeCounts(unhex(vectors.symptoms))).toEqual({
      consortium: '09'.repeat(16),
      organisation: '01'.repeat(16),
      chart: 'symptoms',
      counted: 1_700_000_000_000,
      entries: 4711,
      threshold: 5,
      rounding: 5,
      patients: 40,
      uncoded: 5,
      symptoms: [
        { system: 'http://snomed.info/sct', code: '386661006', display: 'Fever', patients: 25 },
        { system: 'http://snomed.info/sct', code: '49727002', display: '', patients: 5 },
      ],
      doctors: [],
    });
    expect(decodeCounts(unhex(vectors.doctors))).toMatchObject({
      chart: 'doctors',
      patients: undefined,
      doctors: [{ doctor: '03'.repeat(16), patients: 10 }],
    });
  });

  it.each(Object.entries(vectors.malformed))('refuse %s', (_, bytes) => {
    expect(() => decodeCounts(unhex(bytes))).toThrow();
  });

  it('refuse every shorter and every longer encoding', () => {
    const bytes = unhex(vectors.symptoms);
    for (let length = 0; length < bytes.length; length++)
      expect(() => decodeCounts(bytes.slice(0, length))).toThrow();
    expect(() => decodeCounts(unhex(`${vectors.symptoms}00`))).toThrow();
  });
});
