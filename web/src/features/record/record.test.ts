// How records are read for showing: the ECG vector of docs/formats.md, FHIR values with their ranges.
import { describe, expect, it } from 'vitest';
import { unhex, utf8 } from '../../lib/bytes';
import type { Opened } from '../../records/open';
import { decodeEcg, envelope, MISSING } from './ecg';
import { aboutOf, itemOf } from './fhir';
import { rangeOf, verdict } from './ranges';

const VECTOR = 'a300821824010281a60062494901626d56028202020319040004010549c60f0203bcf0ffff0f0380';

const opened = (resource: object): Opened =>
  ({
    anchor: { record: '00'.repeat(16), kind: 'observation' },
    content: {
      mediaType: 'application/fhir+json',
      title: '',
      salt: new Uint8Array(16),
      body: utf8(JSON.stringify(resource)),
    },
  }) as unknown as Opened;

describe('ECG', () => {
  it('reads the vector of the format', () => {
    const ecg = decodeEcg(unhex(VECTOR));
    const [lead] = ecg.leads;
    expect([lead!.name, lead!.unit, lead!.rate, lead!.gain]).toEqual(['II', 'mV', 360, 200]);
    expect([...lead!.samples]).toEqual([995, 996, 994, MISSING]);
  });

  it('loses no peak at any zoom and skips what is missing', () => {
    const samples = new Int32Array(100_000);
    samples[54_321] = 400;
    samples[10] = MISSING;
    const lead = { name: 'II', unit: 'mV', gain: 200, baseline: 0, rate: 360, samples };
    const { low, high } = envelope(lead, 0, 100_000 / 360, 300);
    expect(Math.max(...high)).toBe(2);
    expect(Math.min(...low)).toBe(0);
  });
});

describe('FHIR', () => {
  it('gives a value its range, the laboratory’s before the usual one', () => {
    const pulse = {
      resourceType: 'Observation',
      code: { coding: [{ code: '8867-4', display: 'Heart rate' }] },
      valueQuantity: { value: 120, unit: '/min' },
    };
    const [usual] = itemOf(opened(pulse)).values;
    expect(verdict(usual!.value, usual!.range)).toBe('above');
    const referenceRange = [{ low: { value: 50 }, high: { value: 130 } }];
    const [own] = itemOf(opened({ ...pulse, referenceRange })).values;
    expect(verdict(own!.value, own!.range)).toBe('within');
    expect(rangeOf('8867-4', 'furlong')).toBeUndefined();
  });

  it('joins the two parts of a patient and survives rubbish', () => {
    const identity = opened({
      resourceType: 'Patient',
      name: [{ given: ['Maya'], family: 'Osei' }],
    });
    const quasi = opened({ resourceType: 'Patient', birthDate: '1980-02-03', gender: 'female' });
    const about = aboutOf([itemOf(identity), itemOf(quasi)]);
    expect(about).toMatchObject({ name: 'Maya Osei', birthDate: '1980-02-03' });
    for (const rubbish of [
      {},
      { resourceType: 'Observation', code: 7, component: 'x' },
      { name: {} },
    ])
      expect(() => itemOf(opened(rubbish))).not.toThrow();
  });
});
