// What an import of many files decides by itself: which files, what a bundle holds, whose it is.
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { gzipSync } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { type Bytes, fromUtf8, hex, utf8 } from '../../lib/bytes';
import { readBundle, splitPatient } from './bundle';
import { itemsOf, membersOf } from './json';
import { type Found, otherName, sourcesOf, tally } from './many';
import { Refused } from './refused';

const why = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'read',
    (error) => (error instanceof Refused ? error.why : String(error)),
  );

const bundle = (...entry: unknown[]): Bytes =>
  utf8(JSON.stringify({ resourceType: 'Bundle', type: 'collection', entry }));

const PATIENT = {
  resourceType: 'Patient',
  id: 'p1',
  name: [
    { use: 'old', text: 'Maya Former' },
    { use: 'official', given: ['Maya'], family: 'Osei' },
  ],
  birthDate: '1990-01-02',
  gender: 'female',
  address: [{ line: ['1 Quay'], city: 'Bremen', postalCode: '28195', country: 'DE' }],
  extension: [{ url: 'http://x/us-core-race' }, { url: 'http://x/mothersMaidenName' }],
};

describe('parts of JSON', () => {
  it('keep the text that they were', () => {
    const text = ' { "a" : 1.50 , "b\\"]" : [ {"c":"}\\\\"} , [1,[2]] , "x,y" ],"d":null } ';
    expect(membersOf(text)).toEqual([
      ['a', '1.50'],
      ['b"]', '[ {"c":"}\\\\"} , [1,[2]] , "x,y" ]'],
      ['d', 'null'],
    ]);
    expect(itemsOf(membersOf(text)[1]![1])).toEqual(['{"c":"}\\\\"}', '[1,[2]]', '"x,y"']);
    expect(membersOf('{}')).toEqual([]);
    expect(itemsOf('[ ]')).toEqual([]);
  });
});

describe('a FHIR bundle', () => {
  it('is cut by what names a person and what only narrows down', () => {
    const [identity, quasi] = splitPatient(PATIENT);
    expect(quasi).toEqual({
      resourceType: 'Patient',
      birthDate: '1990-01-02',
      gender: 'female',
      address: [{ postalCode: '28195', country: 'DE' }],
      extension: [{ url: 'http://x/us-core-race' }],
    });
    expect(identity.address).toEqual([{ line: ['1 Quay'], city: 'Bremen' }]);
    expect(identity.extension).toEqual([{ url: 'http://x/mothersMaidenName' }]);
    expect([identity.id, identity.birthDate]).toEqual(['p1', undefined]);
  });

  it('gives each patient their records, and keeps decimals as they were written', async () => {
    const weight =
      '{"resourceType":"Observation","id":"o","subject":{"reference":"urn:uuid:1"},"code":{"coding":[{"code":"29463-7"}]},"valueQuantity":{"value":72.50}}';
    const text = `{"resourceType":"Bundle","type":"transaction","entry":[
      {"fullUrl":"urn:uuid:1","resource":${JSON.stringify(PATIENT)},"request":{"method":"POST"}},
      {"resource":{"resourceType":"Organization","id":"h"}},
      {"resource":{"resourceType":"Patient","id":"p2"}},
      {"resource": ${weight} },
      {"resource":{"resourceType":"Condition","subject":{"reference":"Patient/p2"},"code":{"text":"Fever"}}}]}`;
    for (const bytes of [utf8(text), utf8(`\ufeff${text}`), new Uint8Array(gzipSync(text))]) {
      const { patients, leftOut } = await readBundle(bytes);
      expect(leftOut).toBe(1);
      expect(patients.map(({ number, name }) => [number, name])).toEqual([
        ['p1', 'Maya Osei'],
        ['p2', undefined],
      ]);
      const [first, second] = patients.map(({ pieces }) => pieces);
      expect(first!.map((piece) => [piece.class, piece.kind])).toEqual([
        ['identity', 'demographics'],
        ['quasi', 'quasi-identifiers'],
        ['medical', 'vitals'],
      ]);
      expect(fromUtf8(first![2]!.body as Bytes)).toBe(weight);
      expect(second!.map((piece) => piece.kind)).toEqual([
        'demographics',
        'quasi-identifiers',
        'symptom',
      ]);
    }
  });

  it('names a record the same each time, and an amended one otherwise', async () => {
    const of = async (value: number) => {
      const observation = { resourceType: 'Observation', id: 'o', valueInteger: value };
      const read = await readBundle(bundle({ resource: PATIENT }, { resource: observation }));
      return read.patients[0]!.pieces.map(({ source }) => hex(source));
    };
    const [one, same, amended] = [await of(1), await of(1), await of(2)];
    expect(same).toEqual(one);
    expect(new Set(one).size).toBe(3);
    expect(amended.slice(0, 2)).toEqual(one.slice(0, 2));
    expect(amended[2]).not.toBe(one[2]);
  });

  it('is refused whole where something in it is unsound', async () => {
    const patient = { resource: PATIENT };
    const elsewhere = { resourceType: 'Condition', subject: { reference: 'Patient/other' } };
    const deep = `{"resourceType":"Bundle","entry":[${'['.repeat(200_000)}]}`;
    for (const [bytes, reason] of [
      [utf8('{'), 'fhir'],
      [utf8('[]'), 'fhir'],
      [utf8(deep), 'fhir'],
      [new Uint8Array([0x7b, 0xff, 0xfe]), 'fhir'],
      [bundle(), 'fhir'],
      [utf8('{"resourceType":"Patient","id":"p"}'), 'fhir'],
      [bundle(patient, patient), 'fhir'],
      [bundle(patient, { fullUrl: 'x' }), 'fhir'],
      [bundle(patient, null), 'fhir'],
      [bundle({ ...patient, request: { method: 'DELETE' } }), 'fhir'],
      [bundle({ resource: { ...PATIENT, address: 'x' } }), 'fhir'],
      [bundle({ resource: { resourceType: 'Patient' } }), 'fhir'],
      [bundle(patient, { resource: elsewhere }), 'fhir-owner'],
      [new Uint8Array(gzipSync('{"resourceType":"Bundle"}')).slice(0, -9), 'damaged'],
    ] as [Bytes, string][])
      expect(await why(readBundle(bytes))).toBe(reason);
  });

  const samples = '../../shared/data/fhir-synthea/';
  it.skipIf(!existsSync(samples))(
    'of Synthea is cut into every resource of its patient',
    async () => {
      const file = readdirSync(samples).find((name) => /\.json(\.gz)?$/.test(name))!;
      const { patients, leftOut } = await readBundle(new Uint8Array(readFileSync(samples + file)));
      expect(patients).toHaveLength(1);
      const { pieces } = patients[0]!;
      expect(pieces.length).toBeGreaterThan(50);
      expect(new Set(pieces.map(({ source }) => hex(source))).size).toBe(pieces.length);
      expect(pieces.filter(({ kind }) => kind === 'vitals').length).toBeGreaterThan(0);
      expect(leftOut).toBeGreaterThanOrEqual(0);
      for (const { body } of pieces) JSON.parse(fromUtf8(body as Bytes));
    },
  );
});

describe('files of a folder', () => {
  const found = (...paths: string[]): Found[] =>
    paths.map((path) => ({ path, file: new File(['x'], path) }));

  it('are taken by themselves, signals with their header, what explains others not at all', () => {
    const sources = sourcesOf(
      found('a/b.json', 'a/README.md', 'ecg/1.dat', 'ecg/1.hea', 'ecg/.DS_Store', 'lone/2.dat'),
    );
    expect(sources.map(({ path }) => path)).toEqual(['a/b.json', 'ecg/1.hea', 'lone/2.dat']);
    expect(sources[1]!.beside.map(({ path }) => path)).toContain('ecg/1.dat');
  });

  it('name somebody else only where nothing of two names is the same', () => {
    expect(otherName('Osei Maya', 'Maya Osei')).toBe(false);
    expect(otherName('OSEI', 'Maya Osei')).toBe(false);
    expect(otherName('Mayá Öseï', 'maya osei')).toBe(false);
    expect(otherName('Noah Weber', 'Maya Osei')).toBe(true);
    expect(otherName(undefined, 'Maya Osei')).toBe(false);
    expect(otherName('Noah Weber', null)).toBe(false);
  });

  it('are counted by what became of them', () => {
    const sum = tally([
      { is: 'waiting' },
      { is: 'done', records: 3, known: 1, leftOut: 2, patients: 1 },
      { is: 'done', records: 0, known: 4, leftOut: 0, patients: 1 },
      { is: 'refused', why: new Refused('empty') },
      { is: 'failed', error: new Error() },
    ]);
    expect(sum).toEqual({ done: 2, bad: 2, records: 3, known: 5 });
  });
});
