// FHIR R4 resources as people read them: a name, a time, a value with its range. Whatever a resource
// holds is shown as text; a resource that cannot be read becomes its title.

import { fromUtf8 } from '../../lib/bytes';
import type { Opened } from '../../records/open';
import { type Range, rangeOf } from './ranges';

// biome-ignore lint/suspicious/noExplicitAny: resources are checked field by field as they are read
type Json = any;

export interface Value {
  code: string;
  name: string;
  value: number;
  unit: string;
  range?: Range;
}

/** One entry of a record. */
export interface Item {
  record: string;
  opened: Opened;
  type: string;
  title: string;
  when?: string;
  /** Further facts, as pairs of a word of ours and text of theirs. */
  facts: [fact: Fact, text: string][];
  values: Value[];
  /** Free text. */
  text?: string;
}

export type Fact =
  | 'status'
  | 'code'
  | 'until'
  | 'dose'
  | 'by'
  | 'severity'
  | 'reaction'
  | 'kind'
  | 'result'
  | 'reason';

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value.trim() ? value : undefined;

/** The words of a CodeableConcept. */
export function words(concept: Json): string | undefined {
  const coding = Array.isArray(concept?.coding) ? concept.coding[0] : undefined;
  return text(concept?.text) ?? text(coding?.display) ?? text(coding?.code);
}

const codeOf = (concept: Json): string => text(concept?.coding?.[0]?.code) ?? words(concept) ?? '';

/** A code with the system that it is of, as people quote them. */
function coded(concept: Json): string | undefined {
  const coding = concept?.coding?.[0];
  const code = text(coding?.code);
  if (!code) return undefined;
  const system = String(coding.system ?? '');
  const names: [RegExp, string][] = [
    [/loinc/, 'LOINC'],
    [/snomed/, 'SNOMED CT'],
    [/rxnorm/, 'RxNorm'],
    [/icd-10/, 'ICD-10'],
    [/cvx/, 'CVX'],
    [/atc|whocc/, 'ATC'],
  ];
  const name = names.find(([pattern]) => pattern.test(system))?.[1];
  return name ? `${name} ${code}` : code;
}

export function resourceOf(opened: Opened): Json {
  try {
    const parsed: Json = JSON.parse(fromUtf8(opened.content.body));
    return typeof parsed === 'object' && parsed !== null ? parsed : {};
  } catch {
    return {};
  }
}

function quantity(concept: Json, value: Json, ranges: Json): Value[] {
  if (typeof value?.value !== 'number') return [];
  const code = codeOf(concept);
  const own = Array.isArray(ranges) ? ranges[0] : undefined;
  const range: Range | undefined =
    typeof own?.low?.value === 'number' || typeof own?.high?.value === 'number'
      ? { low: own.low?.value, high: own.high?.value, own: true }
      : rangeOf(code, text(value.unit) ?? '');
  return [
    {
      code,
      name: words(concept) ?? code,
      value: value.value,
      unit: text(value.unit) ?? text(value.code) ?? '',
      range,
    },
  ];
}

function observation(r: Json): Partial<Item> {
  const parts = Array.isArray(r.component) ? r.component : [];
  const values = [
    ...quantity(r.code, r.valueQuantity, r.referenceRange),
    ...parts.flatMap((part: Json) => quantity(part.code, part.valueQuantity, part.referenceRange)),
  ];
  const result = text(r.valueString) ?? words(r.valueCodeableConcept);
  return { title: words(r.code), values, facts: result ? [['result', result]] : [] };
}

function dosage(r: Json): string | undefined {
  const list = Array.isArray(r.dosageInstruction) ? r.dosageInstruction : [];
  const parts = list.map((d: Json) => {
    const written = text(d.text);
    if (written) return written;
    const repeat = d.timing?.repeat;
    const dose = d.doseAndRate?.[0]?.doseQuantity;
    const each = dose?.value ? `${dose.value} ${dose.unit ?? ''}`.trim() : '';
    const often = repeat?.frequency
      ? `${repeat.frequency} × / ${repeat.period ?? 1} ${repeat.periodUnit ?? ''}`.trim()
      : '';
    return [each, often].filter(Boolean).join(', ');
  });
  return parts.filter(Boolean).join('; ') || undefined;
}

const medicine = (r: Json): string | undefined =>
  words(r.medicationCodeableConcept) ?? text(r.medicationReference?.display) ?? words(r.code);

/** The fields of a resource, by its type. */
function read(r: Json): Partial<Item> & { more?: [Fact, string | undefined][] } {
  switch (r.resourceType) {
    case 'Observation':
      return { ...observation(r), when: r.effectiveDateTime ?? r.issued };
    case 'Condition':
      return {
        title: words(r.code),
        when: r.onsetDateTime ?? r.recordedDate,
        more: [
          ['status', words(r.clinicalStatus)],
          ['code', coded(r.code)],
          ['until', text(r.abatementDateTime)],
          ['severity', words(r.severity)],
        ],
      };
    case 'AllergyIntolerance':
      return {
        title: words(r.code),
        when: r.recordedDate ?? r.onsetDateTime,
        more: [
          ['status', words(r.clinicalStatus)],
          ['severity', text(r.criticality)],
          ['reaction', words(r.reaction?.[0]?.manifestation?.[0])],
          ['code', coded(r.code)],
        ],
      };
    case 'MedicationRequest':
    case 'MedicationStatement':
    case 'MedicationAdministration':
    case 'MedicationDispense':
      return {
        title: medicine(r),
        when: r.authoredOn ?? r.effectiveDateTime,
        more: [
          ['status', text(r.status)],
          ['dose', dosage(r)],
          ['code', coded(r.medicationCodeableConcept)],
          ['by', text(r.requester?.display)],
          ['reason', words(r.reasonCode?.[0])],
        ],
      };
    case 'Medication':
      return { title: words(r.code), more: [['code', coded(r.code)]] };
    case 'Encounter':
      return {
        title: words(r.type?.[0]) ?? words(r.class),
        when: r.period?.start,
        more: [
          ['status', text(r.status)],
          ['reason', words(r.reasonCode?.[0])],
          ['by', text(r.participant?.[0]?.individual?.display) ?? text(r.serviceProvider?.display)],
        ],
      };
    case 'Procedure':
      return {
        title: words(r.code),
        when: r.performedPeriod?.start ?? r.performedDateTime,
        more: [
          ['status', text(r.status)],
          ['code', coded(r.code)],
          ['reason', words(r.reasonCode?.[0]) ?? text(r.reasonReference?.[0]?.display)],
        ],
      };
    case 'Immunization':
      return {
        title: words(r.vaccineCode),
        when: r.occurrenceDateTime,
        more: [
          ['status', text(r.status)],
          ['code', coded(r.vaccineCode)],
        ],
      };
    case 'DiagnosticReport':
      return {
        title: words(r.code),
        when: r.effectiveDateTime ?? r.issued,
        more: [['by', text(r.performer?.[0]?.display)]],
      };
    case 'DocumentReference':
      return {
        title: words(r.type) ?? text(r.description),
        when: r.date,
        text: attachment(r),
        more: [['by', text(r.author?.[0]?.display)]],
      };
    case 'ImagingStudy':
      return {
        title: words(r.procedureCode?.[0]) ?? text(r.description),
        when: r.started,
        more: [['kind', text(r.series?.[0]?.modality?.display)]],
      };
    case 'Patient':
      return { title: personName(r) };
    default:
      return {
        title: words(r.code) ?? words(r.type?.[0] ?? r.type) ?? text(r.description) ?? text(r.name),
        when: r.period?.start ?? r.created ?? r.date ?? r.recorded,
        more: [['status', text(r.status)]],
      };
  }
}

function attachment(r: Json): string | undefined {
  const inner = r.content?.[0]?.attachment;
  if (!String(inner?.contentType ?? '').startsWith('text/plain') || !text(inner?.data))
    return undefined;
  try {
    const binary = atob(inner.data);
    return fromUtf8(Uint8Array.from(binary, (c) => c.charCodeAt(0)));
  } catch {
    return undefined;
  }
}

export function personName(r: Json): string | undefined {
  const name = r.name?.[0];
  const parts = [name?.prefix, name?.given, name?.family].flat().filter(Boolean);
  return text(name?.text) ?? (parts.length > 0 ? parts.join(' ') : undefined);
}

export const isFhir = (opened: Opened): boolean => opened.content.mediaType.includes('json');

/** A record as an entry of the page. */
export function itemOf(opened: Opened): Item {
  const base = {
    record: opened.anchor.record,
    opened,
    facts: [] as Item['facts'],
    values: [],
    title: opened.content.title || opened.anchor.kind,
    type: opened.content.mediaType,
  };
  if (opened.content.mediaType.startsWith('text/plain'))
    return { ...base, title: opened.content.title, text: fromUtf8(opened.content.body) };
  if (!isFhir(opened)) return base;
  const r = resourceOf(opened);
  const { more, ...found } = read(r);
  const facts = [...(found.facts ?? [])];
  for (const [fact, words] of more ?? []) if (words) facts.push([fact, words]);
  return {
    ...base,
    ...found,
    type: text(r.resourceType) ?? base.type,
    title: found.title ?? base.title,
    when: text(found.when),
    values: found.values ?? [],
    facts,
  };
}

/** Newest first; entries without a time at the end. */
export const newestFirst = (items: Item[]): Item[] =>
  [...items].sort(
    (a, b) => (b.when ?? '').localeCompare(a.when ?? '') || a.title.localeCompare(b.title),
  );

/** Who a record is about, from its two parts. */
export interface About {
  name?: string;
  birthDate?: string;
  gender?: string;
  phone?: string;
  email?: string;
  address?: string;
  identifier?: string;
}

export function aboutOf(items: Item[]): About {
  const about: About = {};
  for (const { opened } of items) {
    const r = resourceOf(opened);
    if (r.resourceType !== 'Patient') continue;
    const telecom = (system: string) =>
      text(r.telecom?.find((t: Json) => t?.system === system)?.value);
    const place = r.address?.[0];
    const lines = [place?.line, place?.city, place?.state, place?.postalCode, place?.country];
    about.name ??= personName(r);
    about.birthDate ??= text(r.birthDate);
    about.gender ??= text(r.gender);
    about.phone ??= telecom('phone');
    about.email ??= telecom('email');
    about.address ??= text(place?.text) ?? (lines.flat().filter(Boolean).join(', ') || undefined);
    about.identifier ??= text(r.identifier?.[0]?.value);
  }
  return about;
}
