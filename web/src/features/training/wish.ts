// What the form for a new job holds, what is wrong with it, and what the node is asked for.
import type { Schema } from '../../api/client';
import type { Architecture, Strategy } from './plan';

type DataSet = Schema['DataSetView'];

/** Numbers that are typed in, with their bounds. */
export const NUMBERS = {
  rounds: { least: 1, most: 1000, whole: true },
  epochs: { least: 1, most: 100, whole: true },
  quorum: { least: 1, most: 1000, whole: true },
  minutes: { least: 1, most: 10_080, whole: true },
  batch: { least: 1, most: 1024, whole: true },
  rate: { least: 0.000001, most: 1, whole: false },
  seed: { least: 0, most: 4_294_967_295, whole: true },
} as const;

type Numbers = Record<keyof typeof NUMBERS, number | string>;

export interface Draft extends Numbers {
  purpose: string;
  /** Digests of data sets. */
  sets: string[];
  network: Architecture;
  strategy: Strategy;
  weights: boolean;
  flip: boolean;
}

/** Whether a data set may be added to those chosen: of another hospital, and of the same kind. */
export function fits(set: DataSet, chosen: DataSet[]): boolean {
  const other = chosen.find((one) => one.data_set !== set.data_set);
  if (chosen.some((one) => one.data_set === set.data_set)) return true;
  if (chosen.some(({ owner }) => owner === set.owner)) return false;
  return (
    !other ||
    (other.channels === set.channels &&
      other.size_px === set.size_px &&
      other.classes.join('\0') === set.classes.join('\0'))
  );
}

/** Hospitals needed in a round of so many: all but one, where more than two take part. */
export const quorumOf = (hospitals: number): number =>
  hospitals > 2 ? hospitals - 1 : Math.max(1, hospitals);

/** The newest data set, with the newest of every other hospital that fits it; usual values. */
export function firstChoice(sets: DataSet[]): Draft {
  const chosen: DataSet[] = [];
  for (const set of [...sets].reverse())
    if (!chosen.some(({ owner }) => owner === set.owner) && fits(set, chosen)) chosen.push(set);
  return {
    purpose: '',
    sets: chosen.map(({ data_set }) => data_set),
    network: 'small',
    strategy: 'fedavgm',
    rounds: 20,
    epochs: 1,
    // One hospital may be away without holding up the others.
    quorum: quorumOf(chosen.length),
    minutes: 60,
    batch: 32,
    rate: 0.001,
    seed: 0,
    weights: true,
    flip: false,
  };
}

/** The fields that are not filled in rightly. */
export function faultsOf(draft: Draft): ('purpose' | 'sets' | keyof typeof NUMBERS)[] {
  const faults: ReturnType<typeof faultsOf> = [];
  if (draft.purpose.trim() === '') faults.push('purpose');
  if (draft.sets.length === 0) faults.push('sets');
  for (const name of Object.keys(NUMBERS) as (keyof typeof NUMBERS)[]) {
    const { least, most, whole } = NUMBERS[name];
    const value = draft[name] === '' ? Number.NaN : Number(draft[name]);
    const top = name === 'quorum' ? Math.max(1, draft.sets.length) : most;
    if (!(value >= least && value <= top) || (whole && !Number.isInteger(value))) faults.push(name);
  }
  return faults;
}

export const request = (draft: Draft): Schema['JobRequest'] => ({
  purpose: draft.purpose.trim(),
  data_sets: draft.sets,
  network: draft.network,
  strategy: draft.strategy,
  rounds: Number(draft.rounds),
  local_epochs: Number(draft.epochs),
  batch: Number(draft.batch),
  rate: Number(draft.rate),
  class_weights: draft.weights,
  flip: draft.flip,
  quorum: Number(draft.quorum),
  round_ms: Number(draft.minutes) * 60_000,
  seed: Number(draft.seed),
});
