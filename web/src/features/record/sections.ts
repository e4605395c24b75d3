// The fixed order in which a record is shown: who, allergies, problems, medicines, vital signs,
// laboratory, then signals, images, documents and the rest.
import type { RecordKind } from '../../records/codes';

export const SECTIONS = {
  person: ['demographics', 'quasi-identifiers'],
  allergies: ['allergy'],
  problems: ['symptom'],
  medicines: ['medication', 'prescription'],
  vitals: ['vitals'],
  results: ['observation'],
  ecg: ['ecg'],
  images: ['image'],
  documents: ['document'],
  visits: ['encounter', 'procedure'],
  messages: ['question', 'answer'],
  other: ['finding', 'wearable', 'other'],
} as const satisfies Record<string, readonly RecordKind[]>;

export type Section = keyof typeof SECTIONS;

export const ORDER = Object.keys(SECTIONS) as Section[];

export const sectionOf = (kind: RecordKind): Section =>
  ORDER.find((section) => (SECTIONS[section] as readonly RecordKind[]).includes(kind)) ?? 'other';

/** How many records each section has. */
export function counts(kinds: RecordKind[]): Map<Section, number> {
  const found = new Map<Section, number>();
  for (const kind of kinds) {
    const section = sectionOf(kind);
    found.set(section, (found.get(section) ?? 0) + 1);
  }
  return found;
}
