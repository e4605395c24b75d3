// The prescription's code: what it takes, what it refuses, and what a check believes of evidence.

import { readFileSync } from 'node:fs';
import encodeQR from 'qr';
import decodeQR from 'qr/decode.js';
import { describe, expect, it } from 'vitest';
import { base64url, unhex, utf8 } from '../../lib/bytes';
import { encode, fields } from '../../lib/cbor';
import { believe, doctorStands } from './check';
import { CODE_LIMIT, type Code, decodeCode, encodeCode, Unreadable } from './code';
import { outline } from './PrescriptionCode';

const CODE: Code = {
  consortium: unhex('0011223344556677'),
  custodian: '11'.repeat(16),
  record: '22'.repeat(16),
  salt: unhex('33'.repeat(16)),
  body: utf8(JSON.stringify({ resourceType: 'MedicationRequest', subject: { display: 'Zoë' } })),
};

/** Words that hardly compress. */
const noise = (length: number) => {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    return state >>> 24;
  });
};

const refused = (text: string) =>
  decodeCode(text).then(
    () => 'read',
    (error) => (error instanceof Unreadable ? 'refused' : String(error)),
  );

describe('a prescription’s code', () => {
  it('comes back from the address, with the line breaks that mail makes', async () => {
    const text = (await encodeCode(CODE))!;
    expect(await decodeCode(text)).toEqual(CODE);
    expect(await decodeCode(`https://cloud.example/check#${text}`)).toEqual(CODE);
    expect(await decodeCode(`  ${text.slice(0, 20)}\r\n ${text.slice(20)}\n`)).toEqual(CODE);
  });

  it('survives being printed and photographed', async () => {
    const text = `https://cloud.example:8446/check#${await encodeCode(CODE)}`;
    const rows = encodeQR(text, 'raw', { ecc: 'medium', border: 4 });
    const side = rows.length * 3;
    const data = new Uint8ClampedArray(side * side * 4).fill(255);
    rows.forEach((row, y) => {
      row.forEach((black, x) => {
        if (!black) return;
        for (let dy = 0; dy < 3; dy++)
          for (let dx = 0; dx < 3; dx++)
            data.fill(
              0,
              ((y * 3 + dy) * side + x * 3 + dx) * 4,
              ((y * 3 + dy) * side + x * 3 + dx) * 4 + 3,
            );
      });
    });
    expect(decodeQR({ width: side, height: side, data })).toBe(text);
    // The outline covers each black module once.
    const covered = [...outline(rows).matchAll(/h(\d+)/g)].reduce(
      (sum, [, n]) => sum + Number(n),
      0,
    );
    expect(covered).toBe(rows.flat().filter(Boolean).length);
  });

  it('is refused when it is cut, altered into nonsense, of another version or too long', async () => {
    const text = (await encodeCode(CODE))!;
    for (const wrong of ['', '#', 'not a code!', text.slice(0, -7), `A${text}`, 'x'.repeat(9_000)])
      expect([wrong.slice(0, 20), await refused(wrong)]).toEqual([wrong.slice(0, 20), 'refused']);
    const deflated = async (bytes: Uint8Array<ArrayBuffer>) => {
      const stream = new Blob([bytes]).stream().pipeThrough(new CompressionStream('deflate-raw'));
      return base64url(new Uint8Array(await new Response(stream).arrayBuffer()));
    };
    const of = (version: number, body: Uint8Array<ArrayBuffer>) =>
      deflated(
        encode(
          fields({
            0: version,
            1: CODE.consortium,
            2: unhex(CODE.custodian),
            3: unhex(CODE.record),
            4: CODE.salt,
            5: body,
          }),
        ),
      );
    expect(await refused(await of(1, CODE.body))).toBe('read');
    expect(await refused(await of(2, CODE.body))).toBe('refused');
    // A few characters that would unpack to megabytes.
    expect(await refused(await of(1, new Uint8Array(4 << 20)))).toBe('refused');
    expect(await encodeCode({ ...CODE, body: noise(CODE_LIMIT) })).toBeUndefined();
  });
});

describe('evidence', () => {
  const vectors = JSON.parse(readFileSync('../crates/proto/testdata/ledger/bundle.json', 'utf8'));
  const genesis = unhex(vectors.genesis_digest);
  const proof = JSON.stringify(vectors.bundles.record);

  it('of another record, of another consortium or altered is not believed', async () => {
    const attempt = (code: Code, bundle: string, from = genesis) =>
      believe(code, { statement: 'AAAA', proof: bundle, doctor: bundle }, from, 0).then(
        (verdict) => verdict.kind,
        (error) => error.message,
      );
    expect(await attempt(CODE, proof)).toBe('record');
    expect(await attempt(CODE, proof, new Uint8Array(32))).toBe('genesis');
    expect(await attempt(CODE, '{}')).toBe('bundle');
    const altered = structuredClone(vectors.bundles.record);
    altered.claim.record.position += 1;
    expect(await attempt(CODE, JSON.stringify(altered))).toBe('anchor');
  });

  it('says whether the signer is a doctor, and may act still', () => {
    const row = (role: number, standing: number) =>
      encode(
        fields({
          0: role,
          1: unhex('11'.repeat(16)),
          2: new Uint8Array(32),
          3: new Uint8Array(32),
          4: 1,
          5: [standing, []],
        }),
      );
    expect(doctorStands(row(2, 1))).toBe(true);
    for (const standing of [0, 2, 3]) expect(doctorStands(row(2, standing))).toBe(false);
    for (const role of [0, 1, 3, 4, 5, 6]) expect(() => doctorStands(row(role, 1))).toThrow('role');
  });
});
