// Plans read as Rust writes them; figures as lines; what a form asks for.
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import type { Schema } from '../../api/client';
import { unhex } from '../../lib/bytes';
import { decode } from '../../lib/cbor';
import { readPlan } from './plan';
import { type Job, linesOf, roughly, scale, standingOf, ticks, type Update } from './series';
import { faultsOf, firstChoice, fits, request } from './wish';

const PLAN = readFileSync(
  new URL('../../../../crates/proto/testdata/federated/plan.hex', import.meta.url),
  'utf8',
).trim();

test('a plan is read from the bytes that Rust signs', async () => {
  const plan = await readPlan(unhex(PLAN));
  expect(plan).toMatchObject({
    job: '01'.repeat(16),
    purpose: 'pneumonia triage',
    architecture: 'small',
    classes: ['normal', 'pneumonia'],
    channels: 1,
    sizePx: 28,
    strategy: 'fedavgm',
    epochs: 1,
    batch: 32,
    rate: 0.001,
    flip: false,
    rounds: 2,
    roster: [{ site: '02'.repeat(16), samples: 40, dataSet: '03'.repeat(32) }],
    quorum: 1,
    roundMs: 60_000,
    metrics: [{ name: 'loss', step: 0.001, minimumImages: 10 }],
    values: 2,
    updateBytes: 8,
  });
  expect(plan.digest).toMatch(/^[0-9a-f]{64}$/);
});

test('a damaged plan is refused at every length', async () => {
  const bytes = unhex(PLAN);
  for (let length = 0; length < bytes.length; length++)
    await expect(readPlan(bytes.slice(0, length))).rejects.toThrow();
});

test('truth and falsehood are read, other simple values are not', () => {
  expect([decode(unhex('f4')), decode(unhex('f5')), decode(unhex('f6'))]).toEqual([
    false,
    true,
    null,
  ]);
  for (const other of ['f7', 'f8ff', 'f97e00']) expect(() => decode(unhex(other))).toThrow();
});

const site = (name: string, more: object = {}) => ({
  site: name.repeat(16),
  name,
  samples: 10,
  data_set: '00',
  activity: 'waiting',
  counted: 0,
  decision: 'approve',
  ...more,
});

const job = (more: object = {}): Job =>
  ({
    stage: 'open',
    round: 1,
    rounds: 3,
    quorum: 2,
    sites: [site('bb'), site('aa')],
    history: [
      {
        round: 0,
        sites: 2,
        took_ms: 1,
        model: '',
        metrics: [{ name: 'auc', value: 0.6, images: 20 }],
      },
    ],
    ...more,
  }) as unknown as Job;

test('lines: all together first, then each hospital by name, rounds counted from one', () => {
  const update = (id: string, round: number, value: number): Update =>
    ({ site: id.repeat(16), round, metrics: [{ name: 'auc', value, images: 10 }] }) as Update;
  const lines = linesOf('auc', job(), [update('bb', 1, 0.8), update('bb', 0, 0.5)], 'All');
  expect(lines).toEqual([
    { name: 'All', pooled: true, points: [{ round: 1, value: 0.6 }] },
    {
      name: 'bb',
      pooled: false,
      points: [
        { round: 1, value: 0.5 },
        { round: 2, value: 0.8 },
      ],
    },
  ]);
  expect(linesOf('loss', job(), [], 'All')).toEqual([]);
});

test('axes have round steps that hold every value', () => {
  for (const values of [[0.5], [0.61, 0.9], [0.0001, 0.00011], [3, 250], [], [-2, 5]]) {
    const { least, greatest, steps } = scale(values);
    for (const value of values) {
      expect(value).toBeGreaterThanOrEqual(least - 1e-9);
      expect(value).toBeLessThanOrEqual(greatest + 1e-9);
    }
    expect(steps.length).toBeGreaterThan(1);
    expect(steps.length).toBeLessThan(9);
  }
  expect(ticks(1, 200, 5)).toHaveLength(5);
  expect(ticks(1, 3, 5)).toEqual([1, 2, 3]);
});

test('where a job stands', () => {
  expect(standingOf(job({ stage: 'done' }), 0)).toBe('done');
  expect(standingOf(job({ stage: 'proposed' }), 0)).toBe('waiting');
  expect(standingOf(job({ sites: [site('aa'), site('bb', { decision: 'refuse' })] }), 0)).toBe(
    'impossible',
  );
  expect(standingOf(job({ deadline: 5 }), 4)).toBe('training');
  expect(standingOf(job({ deadline: 5 }), 6)).toBe('late');
  expect(roughly(1_200)).toEqual({ count: 2, unit: 'seconds' });
  expect(roughly(600_000)).toEqual({ count: 10, unit: 'minutes' });
  expect(roughly(3 * 3_600_000)).toEqual({ count: 3, unit: 'hours' });
});

const set = (digest: string, owner: string, more: object = {}) =>
  ({
    data_set: digest,
    owner,
    classes: ['a', 'b'],
    channels: 1,
    size_px: 64,
    training_images: [5, 5],
    ...more,
  }) as Schema['DataSetView'];

test('a new job takes the newest fitting data of each hospital', () => {
  const sets = [
    set('1', 'n', { size_px: 28 }),
    set('2', 's'),
    set('3', 'n'),
    set('4', 'e', { channels: 3 }),
  ];
  expect(firstChoice(sets.slice(0, 3)).sets).toEqual(['3', '2']);
  expect(fits(sets[0]!, [sets[2]!])).toBe(false);
  expect(fits(sets[3]!, [sets[1]!])).toBe(false);
  expect(fits(sets[1]!, [sets[1]!])).toBe(true);
  expect(firstChoice([]).sets).toEqual([]);
});

test('a form says which fields are wrong, and asks for what it says', () => {
  const draft = { ...firstChoice([set('1', 'n'), set('2', 's')]), purpose: ' triage ' };
  expect(faultsOf(draft)).toEqual([]);
  expect(faultsOf({ ...draft, purpose: ' ', sets: [], rounds: '', quorum: 3, batch: 1.5 })).toEqual(
    ['purpose', 'sets', 'rounds', 'quorum', 'batch'],
  );
  expect(request({ ...draft, minutes: 2 })).toMatchObject({
    purpose: 'triage',
    data_sets: ['2', '1'],
    round_ms: 120_000,
    local_epochs: 1,
  });
});
