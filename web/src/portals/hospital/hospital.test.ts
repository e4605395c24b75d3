// What the intake page decides by itself: files, forms and the ECG's own form.
import { existsSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { decodeEcg } from '../../features/record/ecg';
import { type Bytes, hex, utf8 } from '../../lib/bytes';
import { kindOf, look, titleOf } from './files';
import { EMPTY, faultsOf, piecesOf, symptomFault } from './form';
import { Refused, type Why } from './refused';
import { portions } from './seal';
import { decimal, encodeRecording, header, readWfdb } from './wfdb';

const NOW = Date.parse('2026-11-22T12:00:00Z');
const why = (work: () => unknown): Why | undefined => {
  try {
    work();
  } catch (error) {
    if (error instanceof Refused) return error.why;
    throw error;
  }
  return undefined;
};

/** Samples in format 16. */
const words = (...samples: number[]): Bytes =>
  new Uint8Array(new Int16Array(samples).buffer as ArrayBuffer);

describe('an ECG in WFDB format', () => {
  it('becomes the bytes of the vector in docs/formats.md', () => {
    const rate = decimal('360');
    const signal = { name: 'II', unit: 'mV', gain: decimal('200'), baseline: 1024, perFrame: 1 };
    const samples = Int32Array.of(995, 996, 994, -(2 ** 31));
    const signals = [{ ...signal, samples }];
    const bytes = encodeRecording({ record: 'x', rate, signals, remarks: [] });
    expect(hex(bytes)).toBe(
      'a300821824010281a60062494901626d56028202020319040004010549c60f0203bcf0ffff0f0380',
    );
  });

  it('is read with interleaved signals, several samples a frame and missing ones', () => {
    const hea = utf8(
      'r 2 250 2 8:26:04 26/10/1994\nr.dat 16x2 1000(5)/uV 16 0 1 10 0 lead one\nr.dat 16 200 16 7 3 -32765 0\n# calm\n',
    );
    const files = new Map([['r.dat', words(1, 2, 3, 3, 4, -32768)]]);
    const read = readWfdb(hea, files);
    expect(read.start).toBe('1994-10-26T08:26:04');
    expect(read.remarks).toEqual(['calm']);
    expect([...read.signals[0]!.samples]).toEqual([1, 2, 3, 4]);
    expect([...read.signals[1]!.samples]).toEqual([3, -(2 ** 31)]);
    expect(read.signals[0]).toMatchObject({ name: 'lead one', unit: 'uV', baseline: 5 });
    expect(read.signals[1]).toMatchObject({ unit: 'mV', baseline: 7, gain: [2, 2] });
    const shown = decodeEcg(encodeRecording(read));
    expect(shown.leads.map((lead) => lead.rate)).toEqual([500, 250]);
  });

  it('is refused where it is not what its header says', () => {
    const files = new Map([['r.dat', words(1, 2, 3)]]);
    const of = (text: string) => why(() => readWfdb(utf8(text), files));
    expect(of('r 1 250 3\nr.dat 16 200 16 0 1 7 0 I\n')).toBe('ecg-checksum');
    expect(of('r 1 250 3\nr.dat 16 200 16 0 1 6 0 I\n')).toBeUndefined();
    expect(of('r 1 250 4\nr.dat 16 200 16 0 1 6 0 I\n')).toBe('ecg-short');
    expect(of('r 1 250 3\nother.dat 16\n')).toBe('ecg-missing');
    expect(of('r 1 250 3\nr.dat 310\n')).toBe('ecg-format');
    expect(of('r 1 250 3\n../r.dat 16\n')).toBe('ecg-header');
    expect(of('r/2 1 250 3\na 3\nb 3\n')).toBe('ecg-segments');
    expect(of('r 99999 250 3\n')).toBe('ecg-header');
    expect(of('r 1 0 3\nr.dat 16\n')).toBe('ecg-header');
    expect(of('')).toBe('ecg-header');
    expect(of('r 1 250 30000000000\nr.dat 16\n')).toBe('ecg-header');
    expect(why(() => header(Uint8Array.of(0xff, 0xfe) as Bytes))).toBe('ecg-header');
  });

  const sample = new URL('../../../../../shared/data/ecg-wfdb/mitdb/', import.meta.url);
  it.skipIf(!existsSync(sample))('is read as PhysioNet publishes it, checksums and all', () => {
    const file = (name: string) => new Uint8Array(readFileSync(new URL(name, sample))) as Bytes;
    const read = readWfdb(file('100.hea'), new Map([['100.dat', file('100.dat')]]));
    expect(read.signals.map(({ name }) => name)).toEqual(['MLII', 'V5']);
    expect(read.signals[0]!.samples.length).toBe(650_000);
    expect(decodeEcg(encodeRecording(read)).leads[0]!.samples[0]).toBe(995);
  });
});

describe('files', () => {
  it('are told from their bytes, and each that cannot be taken in has its reason', async () => {
    const pdf = utf8('%PDF-1.4 ... %%EOF');
    const file = (name: string, bytes: Bytes) => ({ name, file: new Blob([bytes]) });
    const looked = await look([
      file('a.pdf', pdf),
      file('b.pdf', utf8('%PDF-1.4 cut')),
      file('c.txt', Uint8Array.of(0xff) as Bytes),
      file('d.exe', utf8('MZ')),
      file('e.txt', new Uint8Array()),
      file('f.dat', utf8('1234')),
      file('g.hea', utf8('g 1 250 3\ng.dat 16\n')),
    ]);
    const told = Object.fromEntries(looked.map((one) => [one.name, one.refused?.why]));
    expect(told).toEqual({
      'g.hea': 'ecg-missing',
      'a.pdf': undefined,
      'b.pdf': 'damaged',
      'c.txt': 'damaged',
      'd.exe': 'unknown',
      'e.txt': 'empty',
      'f.dat': 'ecg-alone',
    });
    expect(looked.find(({ name }) => name === 'a.pdf')?.piece?.signed).toBe(true);
    expect(kindOf('picture.pdf', Uint8Array.of(0xff, 0xd8, 0xff) as Bytes)).toBe('jpeg');
  });

  it('have names without folders and control characters', () => {
    expect(titleOf('..\\a/b\u0000c\u202e.pdf')).toBe('bc.pdf');
    expect(titleOf('/')).toBe('file');
  });
});

describe('the form', () => {
  const filled = { ...EMPTY, number: 'P-1', name: 'Maya', pulse: '72' };

  it('says what is missing or wrong', () => {
    expect(faultsOf(EMPTY, true, 0, NOW)).toEqual(['number', 'name', 'nothing']);
    expect(faultsOf(EMPTY, false, 1, NOW)).toEqual([]);
    expect(faultsOf(filled, true, 0, NOW)).toEqual([]);
    const wrong = { ...filled, birthDate: '2027-02-30', email: 'at', pulse: '0', note: 'x' };
    expect(faultsOf(wrong, true, 0, NOW)).toEqual(['birthDate', 'email', 'pulse', 'noteTitle']);
    expect(symptomFault({ code: '12', words: 'x' })).toBe('code');
    expect(symptomFault({ code: 'R50.9', words: '' })).toBe('words');
    expect(symptomFault({ code: '386661006', words: 'Fever' })).toBeUndefined();
  });

  it('keeps what names a person apart from what narrows', () => {
    const form = { ...filled, birthDate: '1987-04-12', phone: '+49', address: 'Here 1' };
    const [identity, quasi, pulse] = piecesOf(form, true, NOW);
    const text = (piece = identity) => new TextDecoder().decode(piece!.body as Bytes);
    expect([identity!.class, quasi!.class, pulse!.class]).toEqual(['identity', 'quasi', 'medical']);
    expect(text(identity)).toContain('Maya');
    expect(text(identity)).not.toContain('1987');
    expect(JSON.parse(text(quasi))).toEqual({ resourceType: 'Patient', birthDate: '1987-04-12' });
    expect(JSON.parse(text(pulse)).valueQuantity.value).toBe(72);
    expect(piecesOf(form, false, NOW).map(({ kind }) => kind)).toEqual(['vitals']);
  });
});

it('batches are bounded and keep their order', () => {
  const pieces = Array.from({ length: 2050 }, (_, n) => ({ n, body: new Uint8Array(1) as Bytes }));
  const groups = portions(pieces);
  expect(groups.map((group) => group.length)).toEqual([1024, 1024, 2]);
  expect(groups.flat()).toEqual(pieces);
  const large = Array.from({ length: 20 }, () => ({ body: { length: 50 << 20 } as Bytes }));
  expect(portions(large).map((group) => group.length)).toEqual([8, 8, 4]);
});
