// The demonstration's start page: everybody on it gets in with what stands there.
import assert from 'node:assert/strict';
import { heading, look, visitor } from './browser.mjs';

/** What somebody sees first. */
const FIRST = {
  maya: /Hello/,
  noah: /Hello/,
  dana: 'Patients who shared',
  emil: 'Patients who shared',
  stan: 'North Hospital',
  olive: 'Overview',
  mallory: 'Patients who shared',
};

export const journeys = {
  'the start page of the demonstration lets everybody in': async ({ browser, world }) => {
    const { page } = await visitor(browser);
    await page.goto(`file://${world.startPage}`);
    await heading(page, 'Salus demonstration');
    await page.getByRole('note').getByText('none of this is for care').waitFor();
    await look(page, 'demonstration');
    const cards = page.getByRole('listitem').filter({ hasText: 'Password' });
    assert.equal(await cards.count(), world.people.length);
    for (let at = 0; at < world.people.length; at++) {
      const card = cards.nth(at);
      const [login, password] = await card.locator('code').allTextContents();
      const href = await card.getByRole('link').getAttribute('href');
      const other = await visitor(browser);
      await other.page.goto(`file://${world.startPage}`);
      await other.page.locator(`a[href="${href}"]`).click();
      await heading(other.page, 'Log in');
      assert.equal(await other.page.getByLabel('User name').inputValue(), login);
      await other.page.getByRole('textbox', { name: 'Password' }).fill(password);
      await other.page.getByRole('button', { name: 'Log in' }).click();
      await heading(other.page, FIRST[login]);
      await other.context.close();
    }
    // No node knows of it.
    const answer = await page.request.get(`${world.cloud}/start.html`);
    assert.doesNotMatch(await answer.text(), /maya-demo-1/);
    await page.goto(world.cloud);
    await heading(page, 'Your medical records, sealed');
    assert.equal(await page.getByText('demonstration').count(), 0);
  },
};
