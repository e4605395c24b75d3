// The figures of a job as lines over its rounds: what the sites report together, and each of them.
import type { Schema } from '../../api/client';

export type Job = Schema['JobView'];
export type Update = Schema['UpdateView'];

export interface Line {
  name: string;
  /** Of all sites together. */
  pooled: boolean;
  points: { round: number; value: number }[];
}

/** One figure over the rounds: of all sites together first, then of each site by name. */
export function linesOf(metric: string, job: Job, updates: Update[], pooled: string): Line[] {
  const together = job.history.flatMap(({ round, metrics }) => {
    const found = metrics.find(({ name }) => name === metric);
    return found ? [{ round: round + 1, value: found.value }] : [];
  });
  const sites = new Map<string, Line>();
  for (const { site, name } of [...job.sites].sort((a, b) => a.name.localeCompare(b.name)))
    sites.set(site, { name, pooled: false, points: [] });
  for (const { site, round, metrics } of updates) {
    const found = metrics.find(({ name }) => name === metric);
    if (found) sites.get(site)?.points.push({ round: round + 1, value: found.value });
  }
  for (const { points } of sites.values()) points.sort((a, b) => a.round - b.round);
  return [{ name: pooled, pooled: true, points: together }, ...sites.values()].filter(
    ({ points }) => points.length > 0,
  );
}

/** Round numbers for an axis: at most `most` of them, evenly. */
export function ticks(first: number, last: number, most: number): number[] {
  const step = Math.max(1, Math.ceil((last - first + 1) / most));
  const out: number[] = [];
  for (let round = first; round <= last; round += step) out.push(round);
  return out;
}

/** A range of values with round ends and the steps between them. */
export function scale(values: number[]): { least: number; greatest: number; steps: number[] } {
  let least = Math.min(...values);
  let greatest = Math.max(...values);
  if (!Number.isFinite(least)) [least, greatest] = [0, 1];
  if (greatest - least < 0.02) [least, greatest] = [least - 0.01, greatest + 0.01];
  const rough = (greatest - least) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= rough)!;
  const first = Math.floor(least / step + 1e-9);
  const last = Math.ceil(greatest / step - 1e-9);
  const steps = Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
  return { least: first * step, greatest: last * step, steps };
}

/** Where a job stands, as people would say it. */
export type Standing = 'waiting' | 'impossible' | 'training' | 'late' | 'done';

export function standingOf(job: Job, now: number): Standing {
  if (job.stage === 'done') return 'done';
  const open = job.sites.filter(({ decision }) => decision !== 'refuse').length;
  if (open < job.quorum) return 'impossible';
  if (job.stage === 'proposed') return 'waiting';
  if (job.stage === 'open' && job.deadline != null && job.deadline < now) return 'late';
  return 'training';
}

/** About how long, in the unit that people would use. */
export function roughly(ms: number): { count: number; unit: 'seconds' | 'minutes' | 'hours' } {
  const seconds = Math.ceil(ms / 1000);
  if (seconds < 90) return { count: seconds, unit: 'seconds' };
  if (seconds < 90 * 60) return { count: Math.round(seconds / 60), unit: 'minutes' };
  return { count: Math.round(seconds / 3600), unit: 'hours' };
}
