import { describe, expect, it } from 'vitest';
import type { Counts } from '../../records/statistics';
import { ownRows, pooled, type Site, UNCODED } from './pool';

const counts = (change: Partial<Counts>): Counts => ({
  consortium: '0'.repeat(32),
  organisation: '1'.repeat(32),
  chart: 'symptoms',
  counted: 1,
  entries: 1,
  threshold: 5,
  rounding: 5,
  symptoms: [],
  doctors: [],
  ...change,
});
const cell = (code: string, display: string, patients: number) => ({
  system: 's',
  code,
  display,
  patients,
});
const site = (name: string, ...list: Counts[]): Site => ({
  organisation: name,
  name,
  counts: list,
});

describe('pooled charts', () => {
  it('add what the hospitals say, the largest first, what has no code last', () => {
    const north = site('North', counts({ uncoded: 90, symptoms: [cell('1', '', 5)] }));
    const south = site(
      'South',
      counts({ symptoms: [cell('1', 'Fever', 10), cell('2', 'Cough', 20)] }),
    );
    const rows = pooled([north, south], 'symptoms');
    expect(rows.map(({ key, label, total, at }) => [key, label, total, at])).toEqual([
      ['s|2', 'Cough', 20, [undefined, 20]],
      ['s|1', 'Fever', 15, [5, 10]],
      [UNCODED, '', 90, [90, undefined]],
    ]);
  });

  it('keep charts apart and are empty without statements', () => {
    const doctors = counts({ chart: 'doctors', doctors: [{ doctor: 'd', patients: 5 }] });
    const rows = pooled([site('North', doctors)], 'doctors');
    expect(rows).toMatchObject([{ key: 'd', doctor: 'd', total: 5 }]);
    expect(pooled([site('North', doctors)], 'symptoms')).toEqual([]);
    expect(pooled([], 'symptoms')).toEqual([]);
  });

  it('tell a hospital what of its own numbers leaves', () => {
    const exact = {
      at: 1,
      patients: 9,
      of: 9,
      unreadable: 0,
      uncoded: 1,
      symptoms: [cell('1', 'Fever', 6), cell('2', 'Cough', 4)],
      consulting: 1,
      doctors: [{ doctor: 'd', patients: 1 }],
    };
    const left = counts({ symptoms: [cell('1', 'Fever', 5)] });
    const rows = ownRows(exact, left, 'symptoms');
    expect(rows.map(({ key, total, leaves }) => [key, total, leaves])).toEqual([
      ['s|1', 6, 5],
      ['s|2', 4, undefined],
      [UNCODED, 1, undefined],
    ]);
    expect(ownRows(exact, undefined, 'doctors')).toMatchObject([{ doctor: 'd', total: 1 }]);
  });
});
