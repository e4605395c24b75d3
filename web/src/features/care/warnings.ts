// Warnings before a medicine is prescribed: what the shared record says about allergies, and what the
// patient takes already. Names are compared by their words, so a warning can be wrong in both
// directions; it never blocks, it asks.
import type { Item } from '../record/fhir';
import type { Medicine } from './care';

export interface Warning {
  kind: 'allergy' | 'duplicate';
  medicine: string;
  found: string;
}

/** Words that say nothing about which substance it is. */
const COMMON = new Set([
  'allergy',
  'allergic',
  'substance',
  'hydrochloride',
  'sodium',
  'tablet',
  'tablets',
  'capsule',
  'capsules',
  'oral',
  'solution',
  'injection',
  'extended',
  'release',
  'daily',
  'product',
  'acid',
  'with',
  'hour',
  'drug',
  'medication',
  'inhaler',
  'spray',
  'chewable',
  'intolerance',
  'tabletten',
  'lösung',
  'täglich',
]);

/** Substances whose class name stands in allergy lists. */
const CLASSES: Record<string, string[]> = {
  penicillin: [
    'amoxicillin',
    'ampicillin',
    'flucloxacillin',
    'piperacillin',
    'oxacillin',
    'penicillin',
  ],
  cephalosporin: ['cefuroxime', 'ceftriaxone', 'cefalexin', 'cephalexin', 'cefazolin'],
  sulfonamide: ['sulfamethoxazole', 'sulfadiazine', 'co-trimoxazole'],
  nsaid: ['ibuprofen', 'naproxen', 'diclofenac', 'aspirin', 'acetylsalicylic'],
  aspirin: ['acetylsalicylic', 'aspirin'],
  statin: ['simvastatin', 'atorvastatin', 'rosuvastatin', 'pravastatin'],
};

function significant(text: string): Set<string> {
  const words = text.toLowerCase().match(/[\p{L}-]{4,}/gu) ?? [];
  return new Set(words.filter((word) => !COMMON.has(word)));
}

function related(medicine: Set<string>, other: Set<string>): boolean {
  for (const word of other) {
    const stem = word.replace(/s$/, '');
    const members = CLASSES[stem] ?? [];
    for (const named of medicine)
      if (named === word || named.startsWith(stem) || members.includes(named)) return true;
  }
  return false;
}

/** What to think about before these medicines are signed. */
export function warningsOf(basket: Medicine[], items: Item[]): Warning[] {
  const allergies = items.filter((item) => item.opened.anchor.kind === 'allergy');
  const taken = items.filter(
    (item) =>
      ['medication', 'prescription'].includes(item.opened.anchor.kind) &&
      item.facts.some(([fact, text]) => fact === 'status' && text === 'active'),
  );
  const warnings: Warning[] = [];
  basket.forEach((medicine, i) => {
    const words = significant(medicine.name);
    for (const allergy of allergies)
      if (related(words, significant(allergy.title)))
        warnings.push({ kind: 'allergy', medicine: medicine.name, found: allergy.title });
    const others = [...taken.map((item) => item.title), ...basket.slice(0, i).map((m) => m.name)];
    for (const other of new Set(others))
      if (related(words, significant(other)))
        warnings.push({ kind: 'duplicate', medicine: medicine.name, found: other });
  });
  return warnings;
}
