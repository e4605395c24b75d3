// What a hospital's staff do: take a patient in, look at what is kept, decide on requests, see what left.
import assert from 'node:assert/strict';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deflateSync, gzipSync } from 'node:zlib';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { HOSTILE, notInjected } from './entry.mjs';

const NAME = 'Amara Nwosu-Lindqvist';

/** Ten seconds of a signal at 360 Hz in format 212, as the MIT-BIH recorders wrote. */
function recording() {
  const samples = Array.from({ length: 3600 }, (_, i) => {
    const beat = i % 300;
    return 1024 + Math.round(20 * Math.sin(i / 40)) + (beat > 100 && beat < 108 ? 220 : 0);
  });
  const dat = Buffer.alloc((samples.length / 2) * 3);
  let sum = 0;
  for (let i = 0; i < samples.length; i += 2) {
    const [a, b] = [samples[i], samples[i + 1]];
    dat.set([a & 255, ((a >> 8) & 15) | (((b >> 8) & 15) << 4), b & 255], (i / 2) * 3);
    sum += a + b;
  }
  const checksum = ((sum & 0xffff) << 16) >> 16;
  const hea = `ward 1 360 ${samples.length} 08:26:04 26/10/2026\nward.dat 212 200(1024)/mV 11 1024 ${samples[0]} ${checksum} 0 II\n# resting\n`;
  return { hea: Buffer.from(hea), dat };
}

const crc = (bytes) => {
  let value = ~0;
  for (const byte of bytes) {
    value ^= byte;
    for (let bit = 0; bit < 8; bit++) value = (value >>> 1) ^ (value & 1 ? 0xedb88320 : 0);
  }
  return ~value >>> 0;
};

/** A gray PNG of 64 by 64. */
function png() {
  const chunk = (type, body) => {
    const whole = Buffer.concat([Buffer.from(type), body]);
    const out = Buffer.alloc(whole.length + 8);
    out.writeUInt32BE(body.length, 0);
    whole.copy(out, 4);
    out.writeUInt32BE(crc(whole), whole.length + 4);
    return out;
  };
  const head = Buffer.from([0, 0, 0, 64, 0, 0, 0, 64, 8, 0, 0, 0, 0]);
  const rows = Buffer.concat(
    Array.from({ length: 64 }, (_, y) => Buffer.from([0, ...Array(64).fill(y * 4)])),
  );
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk('IHDR', head),
    chunk('IDAT', deflateSync(rows)),
    chunk('IEND', Buffer.alloc(0)),
  ]);
}

/** A PDF longer than what goes within a batch, so that it is uploaded in several parts. */
const pdf = () =>
  Buffer.from(
    `%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\n%${'x'.repeat(20 << 20)}\ntrailer<</Root 1 0 R>>\n%%EOF\n`,
  );

/** A FHIR bundle of one patient with `count` readings, and an organisation that is nobody's. */
const ofPatient = (id, name, count) => ({
  resourceType: 'Bundle',
  type: 'collection',
  entry: [
    { resource: { resourceType: 'Patient', id, name: [{ text: name }], birthDate: '1970-03-04' } },
    { resource: { resourceType: 'Organization', id: 'ward' } },
    ...Array.from({ length: count }, (_, at) => ({
      resource: {
        resourceType: 'Observation',
        id: `${id}-${at}`,
        subject: { reference: `Patient/${id}` },
        code: { coding: [{ system: 'http://loinc.org', code: '29463-7' }] },
        valueQuantity: { value: 72.5, unit: 'kg' },
      },
    })),
  ],
});

/** A folder as a ward keeps it: bundles, an ECG, a picture, a letter, and what cannot be taken in. */
function manyFiles(folder) {
  mkdirSync(join(folder, 'ecg'), { recursive: true });
  const put = (name, bytes) => writeFileSync(join(folder, name), bytes);
  const json = (...about) => JSON.stringify(ofPatient(...about)).replaceAll('72.5', '72.50');
  const ecg = recording();
  put('a.json', json('W-100', 'Bea Lind', 3));
  put('b.json.gz', gzipSync(json('W-200', 'Carl Moe', 2)));
  put('c.json', json('W-300', 'Dora Aas', 1));
  put('scan.png', png());
  put('letter.pdf', '%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n');
  put('ecg/ward.hea', ecg.hea);
  put('ecg/ward.dat', ecg.dat);
  put('broken.json', '{"resourceType":"Bundle","entry":[');
  put('thing.bin', 'MZ..');
  put('README.md', 'Nothing to take in.');
  return ['a', 'b', 'c', 'scan', 'letter', 'ecg', 'broken', 'thing'];
}

/** The text of the option that begins with a name. */
const optionOf = async (select, name) =>
  (await select.locator('option').allTextContents()).find((text) => text.startsWith(name));

async function enter(browser, world, title = 'North Hospital') {
  const visit = await visitor(browser);
  await logIn(visit.page, world.north, 'stan', world.password('stan'));
  await heading(visit.page, title);
  return visit;
}

const field = (page, name) => page.getByRole('textbox', { name });

export const journeys = {
  'staff take a patient in, and every proof of it holds': async ({ browser, world }) => {
    const { page } = await enter(browser, world);
    await page
      .getByText(/\d patients?/)
      .first()
      .waitFor();
    await look(page, 'hospital-home');

    await go(page, 'Take a patient in');
    await page.getByRole('button', { name: 'Check what is taken in' }).click();
    await page.getByRole('link', { name: 'Enter the patient number' }).waitFor();
    await page.getByRole('link', { name: /at least one finding/ }).waitFor();
    await look(page, 'intake-faults');
    await field(page, 'Patient number').fill('P-2291');
    await field(page, 'Full name').fill(NAME);
    await page.getByLabel('Date of birth').fill('1987-04-12');
    await field(page, 'Address').fill(`12 Harbour Lane ${HOSTILE}`);
    await field(page, 'Phone').fill('+49 30 1234');
    await field(page, 'E-mail').fill('amara@example.org');
    await field(page, 'Pulse').fill('4000');
    await page.getByRole('button', { name: 'Check what is taken in' }).click();
    await page.getByRole('link', { name: 'Enter a pulse from 1 to 400' }).waitFor();
    await field(page, 'Pulse').fill('72');
    await field(page, 'In words').fill('Fever');
    await field(page, 'Code').fill('12');
    await page.getByRole('button', { name: 'Add the symptom' }).click();
    await page.getByRole('link', { name: /SNOMED CT code/ }).waitFor();
    await field(page, 'Code').fill('386661006');
    await page.getByRole('button', { name: 'Add the symptom' }).click();
    await field(page, 'In words').fill(`tired in the morning ${HOSTILE}`);
    await page.getByRole('button', { name: 'Add the symptom' }).click();
    await field(page, 'Title').fill('Admission letter');
    await field(page, 'Text').fill('Admitted with fever. Rest and fluids.');
    const ecg = recording();
    const broken = Buffer.from(ecg.dat);
    broken[30] ^= 1;
    await page.locator('input[type=file]').setInputFiles([
      { name: 'ward.hea', mimeType: 'text/plain', buffer: ecg.hea },
      { name: 'ward.dat', mimeType: 'application/octet-stream', buffer: ecg.dat },
      { name: 'chest.png', mimeType: 'image/png', buffer: png() },
      { name: 'consent.pdf', mimeType: 'application/pdf', buffer: pdf() },
      { name: 'half.png', mimeType: 'image/png', buffer: png().subarray(0, 60) },
      { name: 'thing.exe', mimeType: 'application/octet-stream', buffer: Buffer.from('MZ..') },
    ]);
    await page.getByText('This page does not know this kind of file.').waitFor();
    await page.getByText('The file is damaged or incomplete.').waitFor();
    await page.locator('input[type=file]').setInputFiles([
      { name: 'ward.hea', mimeType: 'text/plain', buffer: ecg.hea },
      { name: 'ward.dat', mimeType: 'application/octet-stream', buffer: broken },
    ]);
    await page.getByText('do not match the checksum').waitFor();
    await look(page, 'intake-form');
    await page.getByRole('button', { name: 'Check what is taken in' }).click();
    await page.getByText(`Check what you take in for ${NAME}`).waitFor();
    await page.getByText('3 files are left out.').waitFor();
    await notInjected(page);
    await look(page, 'intake-check');
    // The large file's upload is cut once, and goes on.
    let cuts = 1;
    await page.route('**/api/v1/uploads/*/parts/*', (route) =>
      cuts-- > 0 ? route.abort() : route.continue(),
    );
    await page.getByRole('button', { name: `Sign and seal for ${NAME}` }).click();
    await page.getByText('The node cannot be reached').waitFor();
    await look(page, 'intake-cut');
    await page.getByRole('button', { name: `Sign and seal for ${NAME}` }).click();
    await page.getByText(`9 records of ${NAME} are sealed`).waitFor();
    await look(page, 'intake-done');

    await page.getByRole('link', { name: 'Show the sealed records' }).click();
    await heading(page, NAME);
    await page.getByRole('button', { name: 'Check all proofs' }).click();
    await page.getByText('9 of 9 proofs hold').waitFor();
    await look(page, 'hospital-patient');

    // The hospital's own program opens what the page sealed, and finds the same.
    const alias = new URL(page.url()).pathname.split('/').at(-1);
    const folder = join(world.folder, 'opened');
    mkdirSync(folder, { mode: 0o700 });
    const where = ['--purpose', 'operations', '--output', folder];
    await world.as('North Hospital', 'records', 'read', alias, ...where);
    const opened = readdirSync(folder, { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => readFileSync(join(one.parentPath, one.name)));
    const has = (bytes) => opened.some((one) => one.includes(bytes));
    for (const wanted of [png(), 'P-2291', '1987-04-12', 'Rest and fluids.', '386661006'])
      assert.ok(has(wanted), 'what was sealed is opened');
    assert.ok(has(pdf()), 'a large file is whole');
  },

  'staff add to a known patient, and are warned of two of one name': async ({ browser, world }) => {
    const { page } = await enter(browser, world);
    await go(page, 'Take a patient in');
    await field(page, 'Full name').fill(NAME.toUpperCase());
    await page.getByText('Somebody of this name is known here').waitFor();
    await look(page, 'intake-same-name');
    await page.getByRole('radio', { name: 'known here' }).check();
    await field(page, 'Pulse').fill('80');
    await page.getByRole('button', { name: 'Check what is taken in' }).click();
    await page.getByRole('link', { name: 'Choose whose record this is' }).waitFor();
    await field(page, 'Search by name').fill('amara');
    await page.getByLabel('Patient', { exact: true }).selectOption({ index: 1 });
    await look(page, 'intake-known');
    await page.getByRole('button', { name: 'Check what is taken in' }).click();
    await page.getByRole('button', { name: `Sign and seal for ${NAME}` }).click();
    await page.getByText(`1 record of ${NAME} is sealed`).waitFor();
    await go(page, 'What has left');
    await page.getByText(/Show readings within this hospital/).waitFor();
    await page.getByRole('switch').check();
    await page.getByRole('link', { name: NAME }).first().waitFor();
    await look(page, 'hospital-left');

    await go(page, 'Sealed records');
    await field(page, 'Search by name').fill('nobody of this name');
    await page.getByText('Nobody of this name.').waitFor();
    await field(page, 'Search by name').fill('');
    await look(page, 'hospital-patients');
  },

  'staff take a folder in, are interrupted, and nothing is taken in twice': async ({
    browser,
    world,
  }) => {
    const folder = join(world.folder, 'ward');
    const names = manyFiles(folder);
    const first = await enter(browser, world);
    await go(first.page, 'Take many in');
    await first.page.getByText('salus intake --config node.toml /path/to/folder').waitFor();
    const choose = (page, path) =>
      page.locator('input[type=file][webkitdirectory]').setInputFiles(path);
    const row = (page, name) => page.getByRole('listitem').filter({ hasText: name });
    await choose(first.page, folder);
    await first.page.getByText(`${names.length} files to take in`).waitFor();
    await look(first.page, 'many-chosen');

    // The first bundle arrives, the answer to the second is lost, the third never gets there.
    let batches = 0;
    await first.page.route('**/api/v1/batches', async (route) => {
      batches += 1;
      if (batches === 1) return route.continue();
      if (batches === 2) await route.fetch();
      return route.abort();
    });
    await first.page.getByRole('button', { name: 'Sign, seal and take in' }).click();
    await first.page.getByText(/1 of 8 files taken in: 5 records sealed/).waitFor();
    const { page: before } = first;
    await row(before, 'ward/a.json').getByText('Taken in: 5 records').waitFor();
    await row(before, 'ward/a.json').getByText('1 entry about nobody').waitFor();
    for (const name of ['ward/b.json.gz', 'ward/c.json'])
      await row(before, name).getByText('The node cannot be reached').waitFor();
    await row(before, 'ward/broken.json').getByText('no sound FHIR R4 bundle').waitFor();
    await row(before, 'ward/thing.bin').getByText('does not know this kind').waitFor();
    await row(before, 'ward/scan.png').getByText('no patient is chosen').waitFor();
    await look(before, 'many-interrupted');
    await first.context.close();

    // Another day, the same folder: what is on the ledger is recognised.
    const { page } = await enter(browser, world);
    await go(page, 'Take many in');
    await choose(page, folder);
    const whose = page.getByLabel('Whose are files that do not say it?');
    await whose.selectOption({ label: await optionOf(whose, 'Bea Lind') });
    await page.getByRole('button', { name: 'Sign, seal and take in' }).click();
    await row(page, 'ward/a.json').getByText('Taken in before: nothing new').waitFor();
    await row(page, 'ward/b.json.gz').getByText('Taken in before: nothing new').waitFor();
    await row(page, 'ward/c.json').getByText('Taken in: 3 records').waitFor();
    for (const name of ['ward/scan.png', 'ward/ecg/ward.hea', 'ward/letter.pdf'])
      await row(page, name).getByText('Taken in: 1 record').waitFor();
    await page.getByText(/6 of 8 files taken in/).waitFor();
    await look(page, 'many-done');
    await page.getByRole('button', { name: 'Start anew' }).click();
    await choose(page, folder);
    await page.getByRole('button', { name: 'Sign, seal and take in' }).click();
    await page.getByText(/6 of 8 files taken in: 0 records sealed, 15 known/).waitFor();

    // Another number under a name that is known is a second look, also when it is dropped.
    await page.getByRole('button', { name: 'Start anew' }).click();
    const other = JSON.stringify(ofPatient('W-999', 'Bea Lind', 1));
    await page.evaluate((text) => {
      const data = new DataTransfer();
      data.items.add(new File([text], 'other.json'));
      const event = new DragEvent('drop', { dataTransfer: data, bubbles: true, cancelable: true });
      [...document.querySelectorAll('h2')]
        .find((title) => title.textContent === 'Files')
        .dispatchEvent(event);
    }, other);
    await page.getByText('1 file to take in').waitFor();
    await page.getByRole('button', { name: 'Sign, seal and take in' }).click();
    await page.getByText('Somebody named Bea Lind is known here already.').waitFor();
    await look(page, 'many-doubtful');

    // Each record once, and every proof of it holds.
    await go(page, 'Sealed records');
    await page.getByRole('link', { name: 'Bea Lind' }).click();
    await heading(page, 'Bea Lind');
    await page.getByRole('button', { name: 'Check all proofs' }).click();
    await page.getByText('8 of 8 proofs hold').waitFor();
    const alias = new URL(page.url()).pathname.split('/').at(-1);
    const opened = join(world.folder, 'opened-many');
    mkdirSync(opened, { mode: 0o700 });
    const where = ['--purpose', 'operations', '--output', opened];
    await world.as('North Hospital', 'records', 'read', alias, ...where);
    const bodies = readdirSync(opened, { recursive: true, withFileTypes: true })
      .filter((one) => one.isFile())
      .map((one) => readFileSync(join(one.parentPath, one.name)));
    for (const wanted of [png(), '"value":72.50', 'W-100'])
      assert.ok(
        bodies.some((one) => one.includes(wanted)),
        'the hospital’s program opens what the page sealed',
      );
  },

  'staff authorise and refuse requests while the patient watches': async ({ browser, world }) => {
    const patient = await visitor(browser);
    await logIn(patient.page, world.cloud, 'maya', world.password('maya'));
    await heading(patient.page, /Hello/);
    await go(patient.page, 'Ask for permission');
    const ask = async (purpose) => {
      await patient.page.getByLabel('What for').selectOption({ label: purpose });
      await patient.page.getByRole('button', { name: 'Ask for permission' }).click();
      await patient.page.getByText('Waiting for the hospital').first().waitFor();
    };
    const { page } = await enter(browser, world);
    await go(page, 'Permission requests');
    await page.getByText('No request waits.').waitFor();
    await ask('Research');
    // The page learns of it by itself.
    await page
      .getByRole('button', { name: /^Refuse/ })
      .first()
      .click();
    await page
      .getByRole('dialog')
      .getByLabel('Reason')
      .selectOption({ label: 'asked for too much' });
    await look(page, 'request-refuse');
    await page.getByRole('dialog').getByRole('button', { name: 'Refuse' }).click();
    await page.getByText(/Decided; the ledger has it at entry/).waitFor();
    await patient.page.getByText('Reason: asked for too much').first().waitFor();
    await ask('Treatment');
    await page
      .getByRole('button', { name: /^Authorise/ })
      .first()
      .click();
    await page.getByRole('dialog').getByRole('button', { name: 'Authorise' }).click();
    await page.getByText('No request waits.').waitFor();
    await look(page, 'requests');
    await patient.page.getByText('Permission given').first().waitFor();
  },

  'the hospital’s pages speak German': async ({ browser, world }) => {
    const { page } = await visitor(browser, { locale: 'de-DE' });
    await page.goto(`${world.north}/login`);
    await page.getByLabel('Benutzername').fill('stan');
    await page.getByRole('textbox', { name: 'Passwort' }).fill(world.password('stan'));
    await page.getByRole('button', { name: 'Anmelden' }).click();
    await page.getByText('Akten werden in diesem Browser versiegelt', { exact: false }).waitFor();
    await page.getByRole('link', { name: 'Patient aufnehmen' }).first().click();
    await heading(page, 'Patient aufnehmen');
    await look(page, 'intake-german');
  },
};
