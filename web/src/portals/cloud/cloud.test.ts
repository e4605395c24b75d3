import { describe, expect, it } from 'vitest';
import type { Schema } from '../../api/client';
import { type Attempt, countSince, matching, newestFirst } from './attempts';
import { healthOf } from './health';
import { requestsOf } from './requests';

const member = (n: number, height: number | null, heard: number | null) => ({
  organisation: String(n).repeat(32),
  name: `Member ${n}`,
  roles: ['hospital' as const],
  api: `https://m${n}.invalid`,
  height,
  last_heard: heard,
});

const status = (change: Partial<Schema['LedgerStatus']>): Schema['LedgerStatus'] => ({
  consortium: 'c'.repeat(32),
  organisation: '1'.repeat(32),
  origin: 'origin',
  height: 20,
  size: 50,
  certified: { size: 48, root: '0'.repeat(64), time: 90_000 },
  members: [
    member(1, 20, 100_000),
    member(2, 20, 99_000),
    member(3, 12, 99_500),
    member(4, 20, 80_000),
  ],
  ...change,
});

describe('the ledger’s health', () => {
  it('tells who answers, lags and is missing', () => {
    const health = healthOf(status({}), 0);
    expect(health.members.map(({ state }) => state)).toEqual(['here', 'well', 'behind', 'silent']);
    expect(health.members.map(({ behind }) => behind)).toEqual([0, 0, 8, 0]);
    expect(health).toMatchObject({
      answering: 3,
      quorum: 3,
      tolerates: 1,
      uncertified: 2,
      bad: false,
    });
  });

  it('is bad when too few answer or the node says so', () => {
    const silent = [2, 3, 4].map((n) => member(n, null, null));
    const few = healthOf(status({ members: [member(1, 20, 100_000), ...silent] }), 0);
    expect(few.members[1]!.state).toBe('unknown');
    expect(few).toMatchObject({ answering: 1, bad: true });
    const stalled = { since: 1, silent: ['2'.repeat(32)] };
    const told = healthOf(status({ stalled }), 0);
    expect(told.members[1]!.state).toBe('silent');
    expect(told.bad).toBe(true);
  });

  it('counts the whole log as uncertified before the first checkpoint', () => {
    const health = healthOf(status({ certified: null }), 0);
    expect(health.uncertified).toBe(50);
  });

  it('measures lag by the highest member, not by itself', () => {
    const health = healthOf(status({ height: 5, members: [member(1, 5, 9), member(2, 20, 9)] }), 9);
    expect(health.members.map(({ behind }) => behind)).toEqual([15, 0]);
  });
});

describe('refused attempts', () => {
  const attempt = (at: number, at_node: string, why = 'not-allowed', count = 1): Attempt => ({
    at,
    first: at,
    what: 'GET /attempts',
    where: '127.0.0.1',
    why,
    count,
    at_node,
  });

  it('of all nodes stand in one list, the newest first', () => {
    const list = newestFirst([[attempt(5, 'a'), attempt(1, 'a')], [attempt(5, 'b')], []]);
    expect(list.map(({ at, at_node }) => `${at}${at_node}`)).toEqual(['5a', '5b', '1a']);
  });

  it('are found by what is shown of them', () => {
    const list = [attempt(1, 'a'), attempt(2, 'b', 'login-refused')];
    const shown = ({ at_node }: Attempt) => [at_node === 'a' ? 'North Hospital' : 'Cloud'];
    expect(matching(list, ' north ', shown)).toEqual([list[0]]);
    expect(matching(list, 'LOGIN', shown)).toEqual([list[1]]);
    expect(matching(list, '', shown)).toEqual(list);
    expect(matching(list, 'nothing', shown)).toEqual([]);
  });

  it('are counted as often as they happened', () => {
    expect(countSince([attempt(1, 'a', 'x', 7), attempt(10, 'a', 'x', 3)], 5)).toBe(3);
  });
});

describe('requests for access', () => {
  const entry = (time: number, action: object, outcome: Schema['Outcome'] = 'accepted') =>
    ({ index: time, height: time, time, principal: 'p', action, outcome }) as Schema['EntryView'];
  const asked = (access: string) => ({
    type: 'request-access',
    access,
    alias: 'a',
    classes: ['medical'],
    purpose: 'research',
    until: 99,
  });

  it('follow the ledger from the question to the end', () => {
    const decided = (access: string, decision: string, reason: string) => ({
      type: 'decide-access',
      access,
      decision,
      reason,
    });
    const found = requestsOf([
      entry(1, asked('one')),
      entry(2, asked('two')),
      entry(3, asked('three')),
      entry(4, decided('one', 'refuse', 'hold')),
      entry(5, decided('two', 'approve', 'own-records')),
      entry(6, { type: 'revoke-access', access: 'two', reason: 'consent-withdrawn' }),
      entry(7, decided('three', 'approve', 'own-records'), { refused: 'not-allowed' }),
      entry(8, { type: 'revoke-access', access: 'unheard-of', reason: 'hold' }),
      entry(9, { type: 'open-patient', alias: 'a' }),
    ]);
    expect(found.map(({ access, state, reason, at }) => [access, state, reason, at])).toEqual([
      ['three', 'requested', undefined, undefined],
      ['two', 'revoked', 'consent-withdrawn', 6],
      ['one', 'refused', 'hold', 4],
    ]);
  });

  it('of a consultation are the doctor’s, for chosen records', () => {
    const records = ['r1', 'r2'];
    const sent = { type: 'open-consultation', access: 'c', alias: 'a', doctor: 'd', records };
    const [found] = requestsOf([entry(1, { ...sent, until: 9 })]);
    expect(found).toMatchObject({
      holder: 'd',
      records: 2,
      state: 'approved',
      purpose: 'treatment',
    });
  });
});
