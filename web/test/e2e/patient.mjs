// What a patient does: permission, record, question, answers, readers, proofs, export.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { HOSTILE, notInjected } from './entry.mjs';

async function maya(browser, world) {
  const visit = await visitor(browser);
  await logIn(visit.page, world.cloud, 'maya', world.password('maya'));
  await heading(visit.page, /Hello Maya/);
  return visit;
}

const section = (page, name) =>
  page
    .getByRole('navigation', { name: 'Sections of the record' })
    .getByRole('button', { name })
    .click();

async function saved(page, press) {
  const [download] = await Promise.all([page.waitForEvent('download'), press()]);
  return { name: download.suggestedFilename(), body: readFileSync(await download.path()) };
}

export const journeys = {
  'a patient asks for permission and sees the answer and why': async ({ browser, world }) => {
    const { page } = await maya(browser, world);
    await look(page, 'patient-home');
    await go(page, 'Ask for permission');
    await page.getByText('You have permission until').waitFor();
    await look(page, 'access');
    await page.getByLabel('What for').selectOption({ label: 'Research' });
    await page.getByLabel('For how long').selectOption({ label: '30 days' });
    await page.getByRole('button', { name: 'Ask for permission' }).click();
    await page.getByText('Waiting for the hospital').waitFor();
    const [waiting] = (await world.as('North Hospital', 'access', 'list', '--custodian'))
      .flat()
      .filter((access) => access.status.status === 'requested');
    await world.as(
      'North Hospital',
      'access',
      'decide',
      waiting.access,
      'refuse',
      '--reason',
      'hold',
    );
    await page.getByText('Reason: put on hold').waitFor();
    await look(page, 'access-refused');
  },

  'a patient reads the whole record, section by section': async ({ browser, world }) => {
    const { page } = await maya(browser, world);
    await go(page, 'My record');
    await page.getByText('Full name').waitFor();
    await look(page, 'record-who');
    const sections = page
      .getByRole('navigation', { name: 'Sections of the record' })
      .getByRole('button');
    const names = (await sections.allTextContents()).map((text) => text.replace(/ \(.*/, ''));
    for (const name of names.slice(1)) {
      await section(page, name);
      await page.getByRole('heading', { level: 2, name }).waitFor();
      await page
        .getByText('Checked:')
        .first()
        .waitFor()
        .catch(async () => {
          await page
            .getByText('signed, checked')
            .first()
            .waitFor({ timeout: 5_000 })
            .catch(() => {});
        });
      await page.getByText('Fetching and opening').waitFor({ state: 'detached' });
      await look(page, `record-${name.toLowerCase().replaceAll(' ', '-')}`);
    }
    assert.ok(
      names.includes('ECG') && names.includes('Images') && names.includes('Documents'),
      names.join(),
    );
    // Where one is stands in the address.
    assert.match(page.url(), /section=/);
  },

  'an ECG is zoomed and moved by buttons and keys': async ({ browser, world }) => {
    const { page } = await maya(browser, world);
    await go(page, 'My record');
    await section(page, 'ECG');
    const shown = page.getByTestId('ecg-window').first();
    await shown.waitFor();
    assert.match(await shown.textContent(), /^0:00\.0 – 0:10\.0/);
    await page.getByRole('button', { name: 'Larger' }).first().click();
    assert.match(await shown.textContent(), /^0:02\.5 – 0:07\.5/);
    await page
      .getByRole('img', { name: /Electrocardiogram/ })
      .first()
      .focus();
    await page.keyboard.press('ArrowRight');
    assert.match(await shown.textContent(), /^0:05\.0 – 0:10\.0/);
    await page.getByLabel('Show as table').first().check();
    await page.getByRole('columnheader', { name: 'Greatest' }).waitFor();
    await look(page, 'ecg-zoomed');
    // Something is drawn: the strip is not one colour.
    const colours = await page
      .getByRole('img', { name: /Electrocardiogram/ })
      .first()
      .evaluate((canvas) => {
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        return new Set(new Uint32Array(data.buffer)).size;
      });
    assert.ok(colours > 3, `${colours} colours`);
  },

  'an image changes with window and level': async ({ browser, world }) => {
    const { page } = await maya(browser, world);
    await go(page, 'My record');
    await section(page, 'Images');
    const canvas = page.locator('canvas.image').first();
    await canvas.waitFor();
    const shade = () =>
      canvas.evaluate((c) => {
        const { data } = c.getContext('2d').getImageData(0, 0, c.width, c.height);
        let sum = 0;
        for (let i = 0; i < data.length; i += 4) sum += data[i];
        return sum / (data.length / 4);
      });
    await page.waitForFunction(() => {
      const c = document.querySelector('canvas.image');
      return c
        .getContext('2d')
        .getImageData(0, 0, c.width, c.height)
        .data.some((v, i) => i % 4 === 0 && v > 0);
    });
    const before = await shade();
    const level = page.getByRole('slider', { name: 'Level' }).first();
    await level.focus();
    for (let i = 0; i < 30; i++) await page.keyboard.press('ArrowRight');
    assert.ok((await shade()) < before, 'a higher level is darker');
    await page.getByLabel('Black and white exchanged').first().check();
    await page.getByRole('button', { name: 'Larger' }).first().click();
    await look(page, 'image-inverted');
    await page.getByRole('button', { name: 'As at first' }).first().click();
    assert.ok(Math.abs((await shade()) - before) < 1);
  },

  'a patient sends chosen records and a question to one doctor': async ({ browser, world }) => {
    const { page } = await maya(browser, world);
    await go(page, 'Ask a doctor');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('link', { name: 'Choose a doctor' }).waitFor();
    await page.getByLabel('Search doctors').fill('ruiz');
    await page.getByRole('radio', { name: 'Dr. Dana Ruiz' }).check();
    await look(page, 'ask-doctor');
    await page.getByRole('button', { name: 'Continue' }).click();
    for (const name of ['ECG', 'Medicines', 'Problems', 'Allergies', 'Images', 'Vital signs']) {
      const control = page.getByRole('button', { name: new RegExp(`^${name} \\(`) });
      if ((await control.count()) === 0) continue;
      await control.click();
      await page.getByLabel(`All of: ${name}`).check();
    }
    await page.getByText('Fetching and opening').first().waitFor({ state: 'detached' });
    await look(page, 'ask-choice');
    await page.getByRole('button', { name: 'Continue' }).click();
    await page.getByRole('button', { name: 'Check what I send' }).click();
    await page.getByRole('link', { name: 'Write your question' }).waitFor();
    await page
      .getByLabel('Your question')
      .fill(`My heart races at night. What does the ECG say? ${HOSTILE}`);
    await page.getByLabel('The doctor may read for').selectOption({ label: '7 days' });
    await look(page, 'ask-question');
    await page.getByRole('button', { name: 'Check what I send' }).click();
    await page.getByText('Check, then send').waitFor();
    await look(page, 'ask-check');
    await page.getByRole('button', { name: 'Send to Dr. Dana Ruiz' }).click();
    await page.getByText('can read exactly this').waitFor();
    await look(page, 'ask-sent');
    await go(page, 'Answers and prescriptions');
    await page.getByText('No answer yet').waitFor();
    await look(page, 'answers-waiting');
    await page.getByRole('link', { name: /Dana Ruiz/ }).click();
    await page.getByText('The doctor has not answered yet').waitFor();
    await page.getByText(HOSTILE, { exact: false }).waitFor();
    await notInjected(page);
    await look(page, 'answers-question');
  },

  'a patient checks every record at once and keeps the proofs': async ({ browser, world }) => {
    const { page } = await maya(browser, world);
    await go(page, 'Check everything');
    await page.getByRole('button', { name: /^Check \d+ records/ }).click();
    await page.getByText('Everything is as it was signed').waitFor({ timeout: 120_000 });
    await page.getByRole('button', { name: 'How do I know?' }).click();
    await page.getByText('Fingerprint of the founding document').waitFor();
    await look(page, 'verify');
    const { name, body } = await saved(page, () =>
      page.getByRole('button', { name: 'Keep the proofs' }).click(),
    );
    assert.equal(name, 'salus-proofs.zip');
    assert.ok(body.includes('genesis.cbor') && body.includes('.proof.json'));
  },

  'a patient takes the record along': async ({ browser, world }) => {
    const { page } = await maya(browser, world);
    await go(page, 'Take my record along');
    await look(page, 'export');
    const fhir = await saved(page, () =>
      page.getByRole('button', { name: 'Save as FHIR' }).click(),
    );
    const bundle = JSON.parse(fhir.body.toString());
    assert.equal(bundle.resourceType, 'Bundle');
    const [person] = bundle.entry
      .map((e) => e.resource)
      .filter((r) => r.resourceType === 'Patient');
    assert.ok(person.name && person.birthDate, 'both parts of the person are joined');
    const all = await saved(page, () =>
      page.getByRole('button', { name: 'Save everything' }).click(),
    );
    assert.ok(all.body.includes('record.fhir.json') && all.body.includes('proofs/genesis.cbor'));
    assert.ok(all.body.length > fhir.body.length);
    await page.evaluate(() => {
      window.print = () => {
        window.printed = true;
      };
    });
    await page.getByRole('button', { name: 'Print, or save as PDF' }).click();
    await page.waitForFunction(() => window.printed);
    await page.emulateMedia({ media: 'print' });
    const sheet = page.locator('.print-only');
    assert.ok((await sheet.textContent()).length > 100);
    await page.screenshot({
      path: new URL('../../test-output/print-record.png', import.meta.url).pathname,
    });
  },
};
