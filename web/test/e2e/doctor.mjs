// What a doctor does, and what the patient sees of it at the same time, in a browser of her own.
import assert from 'node:assert/strict';
import { go, heading, logIn, look, visitor } from './browser.mjs';
import { authorise, HOSTILE, keepCode, notInjected, register } from './entry.mjs';

async function enter(browser, world, login, title) {
  const visit = await visitor(browser);
  await logIn(visit.page, world.cloud, login, world.password(login));
  await heading(visit.page, title);
  return visit;
}

const section = (page, name) =>
  page
    .getByRole('navigation', { name: 'Sections of the record' })
    .getByRole('button', { name })
    .click();

export const journeys = {
  'a doctor registers, waits and is let in': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await register(page, world.cloud, { login: 'new-doctor', name: 'Dr. Ada Neu', role: 'Doctor' });
    await page.getByLabel('Specialty').fill('Radiology');
    await page.getByLabel('Licence number').fill('L-77');
    await page.getByRole('button', { name: 'Register' }).click();
    await keepCode(page);
    await page.getByText('Waiting for authorisation').waitFor();
    await look(page, 'doctor-waiting');
    await authorise(world, 'Dr. Ada Neu');
    await page.getByText('0 questions wait for you').waitFor();
    await look(page, 'doctor-home-empty');
    await go(page, 'Prescriptions');
    await page.getByText('You have not prescribed anything yet.').waitFor();
    await look(page, 'prescriptions-none');
    // Another doctor's consultation is nothing that exists.
    await page.evaluate(() => history.pushState({}, '', `/doctor/consultations/${'0'.repeat(32)}`));
    await page.evaluate(() => dispatchEvent(new PopStateEvent('popstate')));
    await page.getByText('it is not for you').waitFor();
    await look(page, 'consultation-unknown');
  },

  'a doctor reads, answers and prescribes while the patient watches': async ({
    browser,
    world,
  }) => {
    const { page } = await enter(browser, world, 'dana', 'Patients who shared');
    const patient = await enter(browser, world, 'maya', /Hello/);
    await go(patient.page, 'Answers and prescriptions');
    await patient.page.getByRole('link', { name: /Dana Ruiz/ }).click();
    await patient.page.getByText('The doctor has not answered yet').waitFor();

    await page.getByText('1 question waits for you').waitFor();
    await look(page, 'doctor-home');
    await page
      .locator('main')
      .getByRole('link', { name: /Patient/ })
      .first()
      .click();
    const banner = page.getByRole('region', { name: 'Patient' });
    await banner.getByText('born').waitFor();
    await page.getByText(HOSTILE, { exact: false }).waitFor();
    await notInjected(page);
    await look(page, 'doctor-consultation');
    await section(page, 'ECG');
    await page.getByTestId('ecg-window').first().waitFor();
    await look(page, 'doctor-ecg');
    await section(page, 'Images');
    await page.locator('canvas.image').first().waitFor();
    await page.getByRole('slider', { name: 'Window' }).first().waitFor();
    await look(page, 'doctor-image');
    assert.equal(
      await page
        .getByRole('navigation', { name: 'Sections of the record' })
        .getByRole('button', { name: 'Laboratory' })
        .count(),
      0,
      'what was not sent is not there',
    );

    await page.getByRole('button', { name: 'Answer', exact: true }).click();
    await page.getByRole('button', { name: 'Check the answer' }).click();
    await page.getByRole('link', { name: 'Write an answer' }).waitFor();
    await page.getByRole('textbox', { name: 'Answer' }).fill(`A regular rhythm. ${HOSTILE}`);
    const medicine = async (name, dose) => {
      await page.getByRole('textbox', { name: 'Medicine' }).fill(name);
      await page.getByRole('textbox', { name: 'Dose' }).fill(dose);
      await page.getByRole('textbox', { name: 'How often' }).fill('every morning');
      await page.getByRole('textbox', { name: 'How long' }).fill('28 days');
      await page.getByRole('button', { name: 'Add the medicine' }).click();
    };
    await medicine('Metoprolol succinate 25 mg', 'one tablet');
    await medicine('Metoprolol tartrate 50 mg', 'one tablet');
    await page.getByText('the patient takes or gets this already').waitFor();
    await look(page, 'reply-warning');
    await page.getByRole('button', { name: 'Remove Metoprolol tartrate 50 mg' }).click();
    await page.getByText('Think about this first').waitFor({ state: 'detached' });
    await medicine(`Tablet ${HOSTILE}`, HOSTILE);
    await page.getByRole('button', { name: 'Check the answer' }).click();
    await page.getByText(/^Check what you send to/).waitFor();
    await look(page, 'reply-check');
    await page.getByRole('button', { name: /^Sign and prescribe for/ }).click();
    await page.getByText(/^Your answer of/).waitFor();
    await notInjected(page);
    await look(page, 'doctor-answered');

    // The patient's page changes by itself.
    await patient.page.getByText('A regular rhythm.').waitFor();
    await patient.page.getByText('Metoprolol succinate 25 mg').waitFor();
    await patient.page.getByText('Signed by Dr. Dana Ruiz').first().waitFor();
    await notInjected(patient.page);
    await look(patient.page, 'patient-answer');

    await go(page, 'Prescriptions');
    await page.getByText('2 prescriptions').waitFor();
    await look(page, 'prescriptions');
    await page.getByLabel('Search by patient').fill('metoprolol');
    await page.getByText('1 prescription', { exact: true }).waitFor();
    assert.match(page.url(), /query=metoprolol/);
    await page.getByLabel('Search by patient').fill('nothing like it');
    await page.getByText('No prescription fits.').waitFor();
    await page.getByLabel('Search by patient').fill('metoprolol');
    await page.getByRole('link', { name: /Metoprolol/ }).click();
    await page.getByText('Number of the sealed record').waitFor();
    const printed = page.getByRole('img', { name: 'Code of this prescription' });
    await printed.waitFor();
    await look(page, 'prescription');
    // What the pharmacy gets: the code as it is printed, and its text.
    await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
    const copied = async () => {
      await page.getByRole('button', { name: 'Copy the code' }).click();
      await page.getByRole('button', { name: 'Copied' }).waitFor();
      return page.evaluate(() => navigator.clipboard.readText());
    };
    world.printed = { code: await copied(), picture: await printed.screenshot() };
    await page.emulateMedia({ media: 'print' });
    await page.screenshot({
      path: new URL('../../test-output/print-prescription.png', import.meta.url).pathname,
    });
    await page.emulateMedia({ media: 'screen' });
    await go(page, 'Prescriptions');
    await page.getByRole('link', { name: /^Tablet/ }).click();
    await printed.waitFor();
    world.printed.hostile = await copied();
  },

  'a patient sees who looked and withdraws; the doctor can read no more': async ({
    browser,
    world,
  }) => {
    const { page } = await enter(browser, world, 'maya', /Hello/);
    const doctor = await enter(browser, world, 'dana', 'Patients who shared');
    await go(page, 'Who looked at my data');
    await page
      .getByRole('cell', { name: /Dr. Dana Ruiz/ })
      .first()
      .waitFor();
    await look(page, 'readers');
    await page.getByLabel(/Show my own/).check();
    await page.getByRole('cell', { name: /^You/ }).first().waitFor();
    const row = page.getByRole('listitem').filter({ hasText: 'Dana Ruiz' });
    await row.getByRole('button', { name: 'Withdraw' }).click();
    await page.getByRole('dialog').getByText('What was read before cannot be unread').waitFor();
    await look(page, 'withdraw');
    await page.getByRole('button', { name: 'Withdraw permission' }).click();
    await page.getByRole('dialog').waitFor({ state: 'detached' });
    // Whoever may no longer read is no longer listed as if they could.
    await row.waitFor({ state: 'detached' });

    await doctor.page.getByLabel('Also answered and ended').check();
    await doctor.page
      .locator('main')
      .getByRole('link', { name: /Patient/ })
      .first()
      .click();
    await doctor.page.getByText('There is no open permission for this').waitFor();
    await look(doctor.page, 'doctor-withdrawn');
  },
};
