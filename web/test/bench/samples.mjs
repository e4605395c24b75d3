// The data of the figures, made here and about nobody: a patient of two thousand readings, half an hour of
// ECG, an X-ray of five megapixels.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

const RATE_HZ = 360;
const MINUTES = 30;
export const WIDTH = 2048;
export const HEIGHT = 2560;

const READINGS = [
  ['2345-7', 'Glucose', 'mmol/L', 5.4],
  ['2160-0', 'Creatinine', 'umol/L', 74.2],
  ['718-7', 'Haemoglobin', 'g/L', 138.5],
  ['2951-2', 'Sodium', 'mmol/L', 139.5],
  ['2823-3', 'Potassium', 'mmol/L', 4.2],
];

function bundle(id, given, count) {
  const readings = Array.from({ length: count }, (_, at) => {
    const [code, display, unit, value] = READINGS[at % READINGS.length];
    const day = new Date(Date.UTC(2020, 0, 1 + Math.floor(at / READINGS.length)));
    return {
      resourceType: 'Observation',
      id: `${id}-${at}`,
      status: 'final',
      category: [{ coding: [{ code: 'laboratory' }] }],
      code: { coding: [{ system: 'http://loinc.org', code, display }], text: display },
      subject: { reference: `Patient/${id}` },
      effectiveDateTime: day.toISOString(),
      valueQuantity: { value: value + (at % 7) / 10, unit },
    };
  });
  const name = [{ family: 'Bench', given: [given] }];
  const patient = { resourceType: 'Patient', id, name, birthDate: '1970-03-04' };
  const entry = [patient, ...readings].map((resource) => ({ resource }));
  return JSON.stringify({ resourceType: 'Bundle', type: 'collection', entry });
}

/** Two leads in format 212, as the MIT-BIH recorders wrote: a beat every 0.8 s over a slow wave. */
function ecg() {
  const frames = RATE_HZ * 60 * MINUTES;
  const dat = Buffer.alloc(frames * 3);
  const sums = [0, 0];
  const first = [];
  for (let i = 0; i < frames; i++) {
    const beat = i % 288;
    const at = (gain) =>
      1024 +
      Math.round(gain * 18 * Math.sin(i / 190)) +
      (beat > 100 && beat < 108 ? Math.round(210 * gain) : 0) +
      ((i * 7919) % 5);
    const [a, b] = [at(1), at(0.6)];
    if (i === 0) first.push(a, b);
    sums[0] += a;
    sums[1] += b;
    dat.set([a & 255, ((a >> 8) & 15) | (((b >> 8) & 15) << 4), b & 255], i * 3);
  }
  const line = (lead, name) =>
    `100.dat 212 200(1024)/mV 11 1024 ${first[lead]} ${((sums[lead] & 0xffff) << 16) >> 16} 0 ${name}\n`;
  const hea = `100 2 ${RATE_HZ} ${frames}\n${line(0, 'MLII')}${line(1, 'V5')}`;
  return { hea, dat };
}

/** An uncompressed DICOM file of 12 stored bits: two dark lungs with noise. */
function xray() {
  const text = (value, pad = ' ') => {
    const bytes = Buffer.from(value, 'latin1');
    return bytes.length % 2 ? Buffer.concat([bytes, Buffer.from(pad)]) : bytes;
  };
  const short = (value) => {
    const out = Buffer.alloc(2);
    out.writeUInt16LE(value);
    return out;
  };
  const element = (group, number, vr, value) => {
    const long = ['OB', 'OW'].includes(vr);
    const head = Buffer.alloc(long ? 12 : 8);
    head.writeUInt16LE(group, 0);
    head.writeUInt16LE(number, 2);
    head.write(vr, 4, 'latin1');
    if (long) head.writeUInt32LE(value.length, 8);
    else head.writeUInt16LE(value.length, 6);
    return Buffer.concat([head, value]);
  };
  const IMAGE = '1.2.840.10008.5.1.4.1.1.1.1';
  const meta = Buffer.concat([
    element(2, 1, 'OB', Buffer.from([0, 1])),
    element(2, 2, 'UI', text(IMAGE, '\0')),
    element(2, 3, 'UI', text('2.25.1', '\0')),
    element(2, 0x10, 'UI', text('1.2.840.10008.1.2.1', '\0')),
    element(2, 0x12, 'UI', text('2.25.2', '\0')),
  ]);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(meta.length);
  const pixels = new Uint16Array(WIDTH * HEIGHT);
  for (let y = 0, i = 0; y < HEIGHT; y++)
    for (let x = 0; x < WIDTH; x++, i++) {
      const lung = (cx) => ((x / WIDTH - cx) / 0.17) ** 2 + ((y / HEIGHT - 0.5) / 0.36) ** 2 < 1;
      const base = lung(0.3) || lung(0.7) ? 900 : 2600;
      pixels[i] = base + ((i * 2654435761) % 180);
    }
  const body = Buffer.concat([
    element(8, 0x16, 'UI', text(IMAGE, '\0')),
    element(8, 0x18, 'UI', text('2.25.1', '\0')),
    element(8, 0x60, 'CS', text('DX')),
    element(0x10, 0x10, 'PN', text('Bench^First')),
    element(0x10, 0x20, 'LO', text('bench-1')),
    element(0x20, 0x0d, 'UI', text('2.25.3', '\0')),
    element(0x20, 0x0e, 'UI', text('2.25.4', '\0')),
    element(0x28, 2, 'US', short(1)),
    element(0x28, 4, 'CS', text('MONOCHROME2')),
    element(0x28, 0x10, 'US', short(HEIGHT)),
    element(0x28, 0x11, 'US', short(WIDTH)),
    element(0x28, 0x100, 'US', short(16)),
    element(0x28, 0x101, 'US', short(12)),
    element(0x28, 0x102, 'US', short(11)),
    element(0x28, 0x103, 'US', short(0)),
    element(0x28, 0x1050, 'DS', text('2048')),
    element(0x28, 0x1051, 'DS', text('4096')),
    element(0x7fe0, 0x10, 'OW', Buffer.from(pixels.buffer)),
  ]);
  const preamble = Buffer.concat([Buffer.alloc(128), Buffer.from('DICM')]);
  return Buffer.concat([preamble, element(2, 0, 'UL', length), meta, body]);
}

/** Writes the data as the demonstration takes it; its first patient gets all of it. */
export function write(folder, readings) {
  const put = (name, bytes) => {
    const path = join(folder, name);
    mkdirSync(join(path, '..'), { recursive: true });
    writeFileSync(path, bytes);
  };
  put('fhir-synthea/1.json', bundle('bench-1', 'First', readings));
  put('fhir-synthea/2.json', bundle('bench-2', 'Second', 3));
  put('fhir-synthea/3.json', bundle('bench-3', 'Third', 3));
  const { hea, dat } = ecg();
  put('ecg-wfdb/mitdb/100.hea', hea);
  put('ecg-wfdb/mitdb/100.dat', dat);
  put('dicom/valid/RG1_J2KI.dcm', xray());
}

/** A PDF of so many bytes. */
export function pdf(bytes) {
  const head = '%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%';
  const tail = '\ntrailer<</Root 1 0 R>>\n%%EOF\n';
  return Buffer.concat([
    Buffer.from(head),
    Buffer.alloc(bytes - head.length - tail.length, 'x'),
    Buffer.from(tail),
  ]);
}
