// What the healthcare cloud's operator does: profiles, the sealed store, requests, refused attempts,
// the ledger's health.
import assert from 'node:assert/strict';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { HOSTILE, keepCode, notInjected, register } from './entry.mjs';

async function olive(browser, world, options) {
  const visit = await visitor(browser, options);
  await logIn(visit.page, world.cloud, 'olive', world.password('olive'));
  await heading(visit.page, 'Overview');
  return visit;
}

/** Somebody registers and waits. */
async function newcomer(browser, world, login, name, role) {
  const { page } = await visitor(browser);
  await register(page, world.cloud, { login, name, role });
  if (role === 'Doctor') {
    await page.getByLabel('Specialty').fill('Cardiology');
    await page.getByLabel('Licence number').fill('L-4711');
  }
  await page.getByRole('button', { name: 'Register' }).click();
  await keepCode(page);
  await page.getByText('Waiting for authorisation').waitFor();
  return page;
}

export const journeys = {
  'an operator authorises one profile and refuses another with a reason': async ({
    browser,
    world,
  }) => {
    const doctor = await newcomer(browser, world, 'cloud-doctor', 'Dr. Ines Wart', 'Doctor');
    const fake = await newcomer(browser, world, 'cloud-fake', `Fake ${HOSTILE}`, 'Patient');
    const { page } = await olive(browser, world);
    await page.getByText(/^\d+ profiles wait$/).waitFor();
    await page.getByText('The ledger works').waitFor();
    await look(page, 'cloud-home');
    await page.getByRole('link', { name: /profiles wait/ }).click();
    await heading(page, 'Profiles');
    await page.getByText('L-4711').waitFor();
    await notInjected(page);
    await look(page, 'cloud-profiles');

    await page.getByRole('button', { name: 'Authorise Dr. Ines Wart' }).click();
    const dialog = page.getByRole('dialog', { name: 'Authorise Dr. Ines Wart' });
    await dialog.getByRole('radio', { name: 'identity checked' }).waitFor();
    await look(page, 'cloud-authorise');
    await dialog.getByRole('button', { name: 'Authorise Dr. Ines Wart' }).click();
    await page.getByText(/Dr\. Ines Wart: decided and final\. Entry \d+/).waitFor();
    await doctor.getByText('0 questions wait for you').waitFor();

    await page.getByRole('button', { name: /^Refuse Fake/ }).click();
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /^Refuse Fake/ })
      .click();
    await page.getByRole('link', { name: 'Choose a reason' }).waitFor();
    await look(page, 'cloud-refuse-fault');
    await page.getByRole('radio', { name: 'identity could not be checked' }).check();
    await page
      .getByRole('dialog')
      .getByRole('button', { name: /^Refuse Fake/ })
      .click();
    await page.getByText(/^Fake .*: decided and final\. Entry \d+/).waitFor();
    await page.getByRole('article', { name: /^Fake/ }).waitFor({ state: 'detached' });
    await look(page, 'cloud-profiles-decided');
    await fake.getByText('Reason: identity could not be checked').waitFor();

    await page.getByLabel('Show', { exact: true }).selectOption({ label: 'Refused' });
    await page.getByRole('article', { name: /^Fake/ }).waitFor();
    await notInjected(page);
    await page.getByLabel('Show', { exact: true }).selectOption({ label: 'Authorised' });
    await page.getByLabel('Search by name, hospital').fill('wart');
    await page.getByText('1 profile', { exact: true }).waitFor();
    assert.match(page.url(), /query=wart/);
    await look(page, 'cloud-profiles-search');

    await page.getByRole('button', { name: 'Shut out Dr. Ines Wart' }).click();
    await page.getByRole('radio', { name: 'no longer in this role' }).check();
    await look(page, 'cloud-shut-out');
    await page.getByRole('dialog').getByRole('button', { name: 'Shut out Dr. Ines Wart' }).click();
    await page.getByText('Nothing fits.').waitFor();
  },

  'an operator finds sealed records and checks their proofs': async ({ browser, world }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Sealed store');
    await page.getByRole('columnheader', { name: 'Records' }).waitFor();
    await look(page, 'cloud-store');
    const first = page.getByRole('row').nth(1);
    const number = (await first.getByRole('cell').nth(1).textContent()).trim();
    await page.getByLabel('Search by name or patient').fill(number);
    await page.getByText('1 patient', { exact: true }).waitFor();
    await page.getByLabel('Search by name or patient').fill('nobody of this name');
    await page.getByText('Nothing fits.').waitFor();
    await page.getByLabel('Search by name or patient').fill(number);
    await page.getByText('1 patient', { exact: true }).waitFor();
    await page.getByRole('row').nth(1).getByRole('link').click();
    await page.getByRole('columnheader', { name: 'Digest (SHA-256)' }).waitFor();
    const kind = page.getByLabel('Kind', { exact: true });
    await kind.selectOption({ index: 1 });
    await page.getByRole('button', { name: /^Check \d+ proofs?$/ }).click();
    await page
      .getByText(/proofs? holds?$/)
      .first()
      .waitFor({ timeout: 120_000 });
    await look(page, 'cloud-sealed');
    const [download] = await Promise.all([
      page.waitForEvent('download'),
      page
        .getByRole('button', { name: /^Keep the proof of record/ })
        .first()
        .click(),
    ]);
    assert.match(download.suggestedFilename(), /^proof-[0-9A-F]{8}/);
    await page.getByLabel('Search by kind').fill('nothing like it');
    await page.getByText('Nothing fits.').waitFor();
  },

  'an operator watches access requests': async ({ browser, world }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Access requests');
    await page.getByRole('columnheader', { name: 'Who asks' }).waitFor();
    await page
      .getByRole('cell', { name: /^Approved/ })
      .first()
      .waitFor();
    await look(page, 'cloud-requests');
    await page.getByLabel('State').selectOption({ label: 'Waits for the hospital' });
    await page.getByText('Nobody asked for anything like this.').waitFor();
    await look(page, 'cloud-requests-none');
  },

  'an operator sees refused attempts as they happen': async ({ browser, world }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Refused attempts');
    await page.getByRole('columnheader', { name: 'Why refused' }).waitFor();
    const before = await page.getByText(/^\d+ attempts?$/).textContent();
    // Somebody who is not logged in tries; nobody touches the operator's page.
    const stranger = await visitor(browser);
    const answer = await stranger.context.request.get(`${world.cloud}/api/v1/attempts`);
    assert.equal(answer.status(), 401);
    await page.waitForFunction(
      (text) =>
        ![...document.querySelectorAll('[role=status]')].some((one) => one.textContent === text),
      before,
    );
    await page.getByText('Not logged in').first().waitFor();
    await look(page, 'cloud-attempts');
    await page.getByLabel('Search', { exact: true }).fill('no such thing');
    await page.getByText('Nothing fits.').waitFor();
  },

  'an operator sees whether the ledger works, and who the members are': async ({
    browser,
    world,
  }) => {
    const { page } = await olive(browser, world);
    await go(page, 'Ledger');
    await page.getByText('Everything that is signed becomes final').waitFor();
    await page.getByRole('cell', { name: 'This node' }).waitFor();
    await page.getByRole('button', { name: 'Check the checkpoint here' }).click();
    await page.getByText(/Checked in this page against the founding document/).waitFor();
    await look(page, 'cloud-ledger');
    await go(page, 'Members');
    await page.getByText('ML-DSA-65 key, SHA-256').first().waitFor();
    await page.getByText('No change of membership was ever proposed.').waitFor();
    await look(page, 'cloud-members');
    await page.getByLabel('Language').selectOption('de');
    await heading(page, 'Mitglieder');
    for (const [name, title] of [
      ['Übersicht', 'uebersicht'],
      ['Profile', 'profile'],
      ['Versiegelter Speicher', 'speicher'],
      ['Zugriffsanfragen', 'anfragen'],
      ['Abgewiesene Versuche', 'versuche'],
      ['Register', 'register'],
    ]) {
      await page
        .getByRole('navigation', { name: 'Menü' })
        .getByRole('link', { name, exact: true })
        .click();
      await heading(page, name);
      await page.getByText('Wird geladen').waitFor({ state: 'detached' });
      await look(page, `cloud-de-${title}`);
    }
  },

  'the cloud’s pages are for its operators only': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await logIn(page, world.cloud, 'dana', world.password('dana'));
    await heading(page, 'Patients who shared');
    await page.evaluate(() => history.pushState({}, '', '/cloud/attempts'));
    await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
    await heading(page, 'Patients who shared');
  },
};
