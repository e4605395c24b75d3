// Usual ranges of adults at rest, by LOINC code, for values that come without a range of their own.
// Sources: MedlinePlus "Vital signs" and its laboratory test pages (US National Library of Medicine).

export interface Range {
  low?: number;
  high?: number;
  /** Whether it came with the value, from the laboratory. */
  own?: boolean;
}

const RANGES: Record<string, [low: number | undefined, high: number | undefined, unit: RegExp]> = {
  // Heart rate, respiratory rate, oxygen saturation, body temperature.
  '8867-4': [60, 100, /min/],
  '9279-1': [12, 20, /min/],
  '2708-6': [95, 100, /%/],
  '59408-5': [95, 100, /%/],
  '8310-5': [36.1, 37.2, /^C$|Cel|°C/],
  '8331-1': [36.1, 37.2, /^C$|Cel|°C/],
  // Blood pressure.
  '8480-6': [90, 120, /mm/],
  '8462-4': [60, 80, /mm/],
  // Body mass index.
  '39156-5': [18.5, 25, /kg/],
  // Blood sugar and what it did over months.
  '2339-0': [70, 140, /mg\/dL/],
  '2345-7': [70, 140, /mg\/dL/],
  '4548-4': [undefined, 5.7, /%/],
  // Kidneys.
  '2160-0': [0.6, 1.3, /mg\/dL/],
  '38483-4': [0.6, 1.3, /mg\/dL/],
  '6299-2': [6, 20, /mg\/dL/],
  '3094-0': [6, 20, /mg\/dL/],
  '33914-3': [60, undefined, /mL/],
  // Salts.
  '2947-0': [135, 145, /mmol/],
  '2951-2': [135, 145, /mmol/],
  '6298-4': [3.7, 5.2, /mmol/],
  '2823-3': [3.7, 5.2, /mmol/],
  '2069-3': [96, 106, /mmol/],
  '2075-0': [96, 106, /mmol/],
  '20565-8': [23, 29, /mmol/],
  '2028-9': [23, 29, /mmol/],
  '49765-1': [8.5, 10.2, /mg\/dL/],
  '17861-6': [8.5, 10.2, /mg\/dL/],
  // Blood fats.
  '2093-3': [undefined, 200, /mg\/dL/],
  '2571-8': [undefined, 150, /mg\/dL/],
  '18262-6': [undefined, 100, /mg\/dL/],
  '2085-9': [40, undefined, /mg\/dL/],
};

/** The usual range of a value in this unit, if it is known here. */
export function rangeOf(code: string, unit: string): Range | undefined {
  const [low, high, fits] = RANGES[code] ?? [];
  return fits?.test(unit) ? { low, high } : undefined;
}

export type Verdict = 'below' | 'within' | 'above' | 'unknown';

/** Where a value lies. */
export function verdict(value: number, range: Range | undefined): Verdict {
  if (!range || (range.low === undefined && range.high === undefined)) return 'unknown';
  if (range.low !== undefined && value < range.low) return 'below';
  if (range.high !== undefined && value > range.high) return 'above';
  return 'within';
}
