// Warnings name the allergy or the medicine that they are about, and stay silent otherwise.
import { describe, expect, it } from 'vitest';
import type { Item } from '../record/fhir';
import { warningsOf } from './warnings';

const item = (kind: string, title: string, status = 'active'): Item =>
  ({
    title,
    facts: [['status', status]],
    values: [],
    opened: { anchor: { kind } },
  }) as unknown as Item;
const medicine = (name: string) => ({
  name,
  code: '',
  system: '',
  dose: '',
  frequency: '',
  duration: '',
});

describe('warnings', () => {
  const record = [
    item('allergy', 'Penicillin V'),
    item('allergy', 'Shellfish (substance)'),
    item('medication', 'Simvastatin 10 MG Oral Tablet'),
    item('medication', 'Ibuprofen 200 MG Oral Tablet', 'completed'),
  ];

  it('names an allergy, by the substance or its class', () => {
    expect(warningsOf([medicine('Amoxicillin 500 mg')], record)).toEqual([
      { kind: 'allergy', medicine: 'Amoxicillin 500 mg', found: 'Penicillin V' },
    ]);
  });

  it('names what is taken already, not what was', () => {
    expect(warningsOf([medicine('simvastatin')], record).map((w) => w.kind)).toEqual(['duplicate']);
    expect(warningsOf([medicine('Ibuprofen 400')], record)).toEqual([]);
  });

  it('names a medicine that is in the basket twice', () => {
    const twice = warningsOf([medicine('Metoprolol 25'), medicine('metoprolol 50')], []);
    expect(twice).toHaveLength(1);
  });
});
