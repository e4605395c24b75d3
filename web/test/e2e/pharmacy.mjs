// A pharmacy checks printed prescriptions, without an account. The prescription is the one that the
// doctor's journey printed.
import assert from 'node:assert/strict';
import { deflateRawSync, inflateRawSync } from 'node:zlib';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { HOSTILE, notInjected } from './entry.mjs';

/** Where ids stand in the unpacked code (docs/formats.md, "Prescription code"). */
const CONSORTIUM = 5;
const RECORD = 33;

/** The code after its unpacked bytes were changed. */
function changed(code, change) {
  const bytes = inflateRawSync(Buffer.from(code, 'base64url'));
  return deflateRawSync(change(bytes) ?? bytes).toString('base64url');
}

const flip = (at) => (bytes) => {
  bytes[at] ^= 1;
};

async function check(page, code) {
  await page.getByLabel('Code', { exact: true }).fill(code);
  await page.getByRole('button', { name: 'Check', exact: true }).click();
}

const again = (page) => page.getByRole('button', { name: 'Check another' }).click();

export const journeys = {
  'a pharmacy checks a printed prescription without an account': async ({ browser, world }) => {
    const { code, picture, hostile } = world.printed;
    const { page } = await visitor(browser);
    const asked = [];
    page.on('request', (request) => asked.push(request.url() + (request.postData() ?? '')));
    await page.goto(world.cloud);
    await page.getByRole('link', { name: 'Check a prescription' }).click();
    await heading(page, 'Check a prescription');
    await page.getByRole('button', { name: 'Check', exact: true }).click();
    await page.getByRole('link', { name: 'Enter the code' }).waitFor();
    await look(page, 'check');

    await check(page, code);
    await page.getByText('This prescription is genuine').waitFor();
    await page.getByRole('heading', { name: 'Metoprolol succinate 25 mg' }).waitFor();
    await page.getByText('one tablet, every morning, 28 days').waitFor();
    await page.getByText(/^Dr\. Dana Ruiz, doctor’s number/).waitFor();
    await page.getByText(/confirmed by 3 of 4 members/).waitFor();
    await look(page, 'check-good');

    // A picture of the paper does as well, and so does the address that the code holds.
    await again(page);
    const file = { name: 'code.png', mimeType: 'image/png', buffer: picture };
    await page.locator('input[type=file]').setInputFiles(file);
    await page.getByText('This prescription is genuine').waitFor();
    const scanned = await visitor(browser);
    await scanned.page.goto(`${world.north}/check#${code}`);
    await scanned.page.getByText('This prescription is genuine').waitFor();
    assert.equal(new URL(scanned.page.url()).hash, '', 'the address forgets the code');

    await again(page);
    await check(page, hostile);
    await page.getByText('This prescription is genuine').waitFor();
    await page.getByText(HOSTILE, { exact: false }).first().waitFor();
    await notInjected(page);
    // Nothing of what it says was sent anywhere.
    for (const words of ['Metoprolol', 'every morning', code.slice(0, 40)])
      assert.ok(!asked.some((one) => one.includes(words)), `${words} left the page`);
  },

  'wrong, altered, unknown and foreign codes are told apart': async ({ browser, world }) => {
    const { code } = world.printed;
    const { page } = await visitor(browser);
    await page.goto(`${world.cloud}/check`);
    const words = (bytes) => {
      const at = bytes.indexOf('every morning');
      bytes.write('every evening', at);
    };
    for (const [wrong, title, name] of [
      [code.slice(0, -9), 'This is no whole code', 'check-unreadable'],
      [changed(code, words), 'Do not dispense on this code', 'check-unknown'],
      [changed(code, flip(RECORD)), 'Do not dispense on this code'],
      [changed(code, flip(CONSORTIUM)), 'This is a code of another consortium', 'check-elsewhere'],
    ]) {
      await check(page, wrong);
      await page.getByText(title).waitFor();
      assert.equal(await page.getByText('genuine').count(), 0);
      if (name) await look(page, name);
      await again(page);
    }
    const blank = await page.screenshot({ clip: { x: 0, y: 400, width: 300, height: 300 } });
    const file = { name: 'blank.png', mimeType: 'image/png', buffer: blank };
    await page.locator('input[type=file]').setInputFiles(file);
    await page.getByRole('link', { name: /no readable code in this picture/ }).waitFor();
    await look(page, 'check-picture');

    // A node that lies: evidence of another prescription, and evidence with an altered proof.
    const path = '**/api/v1/prescriptions/*/evidence';
    for (const [lie, why] of [
      [(body) => ({ ...body, statement: `${body.statement.slice(0, -4)}AAAA` }), 'statement'],
      [(body) => ({ ...body, doctor: body.proof }), 'doctor'],
      [
        (body) => ({ ...body, proof: body.proof.replace(/"position":\s*\d+/, '"position":999') }),
        'anchor',
      ],
    ]) {
      await page.route(path, async (route) => {
        const answer = await route.fetch();
        const body = lie(await answer.json());
        await route.fulfill({ response: answer, json: body });
      });
      await check(page, code);
      await page.getByText('Do not dispense: the proof fails').waitFor();
      await page.getByText(`(${why})`).waitFor();
      if (why === 'anchor') await look(page, 'check-false');
      await again(page);
      await page.unroute(path);
    }
    await page.route(path, (route) => route.abort());
    await check(page, code);
    await page.getByText('The node cannot be reached').waitFor();
    await look(page, 'check-unreachable');
  },

  'what was signed with and sealed to keys that were replaced since still opens': async ({
    browser,
    world,
  }) => {
    await world.person('dana', 'person', 'rotate-keys');
    await world.person('maya', 'person', 'rotate-keys');
    const { page } = await visitor(browser);
    await logIn(page, world.cloud, 'maya', world.password('maya'));
    await heading(page, /Hello/);
    await go(page, 'Answers and prescriptions');
    await page.getByRole('link', { name: /Dana Ruiz/ }).click();
    await page.getByText('A regular rhythm.').waitFor();
    await page.getByText('Signed by Dr. Dana Ruiz').first().waitFor();
    await go(page, 'My record');
    await page.getByRole('navigation', { name: 'Sections of the record' }).waitFor();
    const doctor = await visitor(browser);
    await logIn(doctor.page, world.cloud, 'dana', world.password('dana'));
    await heading(doctor.page, 'Patients who shared');
    await go(doctor.page, 'Prescriptions');
    await doctor.page.getByText('2 prescriptions').waitFor();
    await page.goto(`${world.cloud}/check`);
    await check(page, world.printed.code);
    await page.getByText('This prescription is genuine').waitFor();
  },

  'a prescription of a doctor who was shut out since says so': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    const profiles = (
      await world.person('olive', 'profiles', 'list', '--standing', 'authorised')
    ).flat();
    const dana = profiles.find((one) => one.profile?.name === 'Dr. Dana Ruiz').principal;
    await world.person('olive', 'profiles', 'revoke', dana, '--reason', 'left-role');
    await page.goto(`${world.cloud}/check`);
    await check(page, world.printed.code);
    await page.getByText('the doctor is no longer authorised').waitFor();
    await page.getByRole('heading', { name: 'Metoprolol succinate 25 mg' }).waitFor();
    await look(page, 'check-since');
  },
};
