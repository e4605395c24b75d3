// The words of the API and their codes in signed bytes (docs/formats.md).

export const CLASSES = ['identity', 'quasi', 'medical'] as const;
export type KeyClass = (typeof CLASSES)[number];

export const KINDS = [
  'demographics',
  'vitals',
  'ecg',
  'symptom',
  'document',
  'image',
  'medication',
  'encounter',
  'observation',
  'allergy',
  'procedure',
  'wearable',
  'question',
  'answer',
  'prescription',
  'quasi-identifiers',
  'other',
  'finding',
] as const;
export type RecordKind = (typeof KINDS)[number];

export const PURPOSES = [
  'treatment',
  'patient-request',
  'emergency',
  'research',
  'operations',
] as const;
export type Purpose = (typeof PURPOSES)[number];

export const REASONS = [
  'identity-verified',
  'identity-not-verified',
  'not-entitled',
  'own-records',
  'hold',
  'duplicate',
  'too-broad',
  'key-compromised',
  'left-role',
  'consent-withdrawn',
] as const;
export type Reason = (typeof REASONS)[number];

export const ROLES = [
  'organisation',
  'patient',
  'doctor',
  'staff',
  'operator',
  'data-user',
  'auditor',
] as const;
export type Role = (typeof ROLES)[number];

export const DECISIONS = ['approve', 'refuse'] as const;
export type Decision = (typeof DECISIONS)[number];

/** The code of a word; a word that is not of the list is a mistake of ours. */
export function code<T extends string>(list: readonly T[], word: T): number {
  const at = list.indexOf(word);
  if (at < 0) throw new TypeError(`no code for ${word}`);
  return at;
}
