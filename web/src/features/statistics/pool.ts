// Charts of several hospitals' counts: one row for each symptom or doctor, with what each hospital says.
import type { Schema } from '../../api/client';
import type { Chart, Counts } from '../../records/statistics';

/** One hospital's verified counts. */
export interface Site {
  organisation: string;
  name: string;
  counts: Counts[];
}

export interface Row {
  key: string;
  /** What is counted: a code's words, or nothing where none are known. */
  label: string;
  code?: string;
  doctor?: string;
  total: number;
  /** By site; absent where the site says nothing. */
  at: (number | undefined)[];
}

/** The row of patients with a symptom in words alone. */
export const UNCODED = 'uncoded';

export const chartOf = (site: Site, chart: Chart): Counts | undefined =>
  site.counts.find((counts) => counts.chart === chart);

/** The largest first; equal ones by what they are called. */
const largestFirst = (a: Row, b: Row): number =>
  Number(a.key === UNCODED) - Number(b.key === UNCODED) ||
  b.total - a.total ||
  (a.label || a.key).localeCompare(b.label || b.key);

/** The rows of a chart over all these sites. */
export function pooled(sites: Site[], chart: Chart): Row[] {
  const rows = new Map<string, Row>();
  const add = (at: number, patients: number, row: Omit<Row, 'total' | 'at'>): void => {
    const found = rows.get(row.key) ?? { ...row, total: 0, at: sites.map(() => undefined) };
    found.label ||= row.label;
    found.total += patients;
    found.at[at] = patients;
    rows.set(row.key, found);
  };
  for (const [at, site] of sites.entries()) {
    const counts = chartOf(site, chart);
    if (!counts) continue;
    for (const { system, code, display, patients } of counts.symptoms)
      add(at, patients, { key: `${system}|${code}`, label: display, code });
    for (const { doctor, patients } of counts.doctors)
      add(at, patients, { key: doctor, label: '', doctor });
    if (counts.uncoded !== undefined) add(at, counts.uncoded, { key: UNCODED, label: '' });
  }
  return [...rows.values()].sort(largestFirst);
}

/** A hospital's own numbers, and beside each what of it leaves. */
export function ownRows(
  exact: Schema['ExactCounts'],
  left: Counts | undefined,
  chart: Chart,
): (Row & { leaves?: number })[] {
  const leaves = new Map<string, number>();
  for (const { system, code, patients } of left?.symptoms ?? [])
    leaves.set(`${system}|${code}`, patients);
  for (const { doctor, patients } of left?.doctors ?? []) leaves.set(doctor, patients);
  if (left?.uncoded !== undefined) leaves.set(UNCODED, left.uncoded);
  const row = (key: string, patients: number, rest: Partial<Row>) => ({
    key,
    label: '',
    total: patients,
    at: [patients],
    leaves: leaves.get(key),
    ...rest,
  });
  if (chart === 'doctors')
    return exact.doctors
      .map(({ doctor, patients }) => row(doctor, patients, { doctor }))
      .sort(largestFirst);
  const rows = exact.symptoms.map(({ system, code, display, patients }) =>
    row(`${system}|${code}`, patients, { label: display, code }),
  );
  if (exact.uncoded > 0) rows.push(row(UNCODED, exact.uncoded, {}));
  return rows.sort(largestFirst);
}
