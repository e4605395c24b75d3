// A FHIR R4 bundle cut into the records of its patients, as `salus intake` cuts it: what each resource
// is, whose it is, which class key seals it. Each resource stays the text that it was.
import { sha256 } from '../../crypto/digest';
import { type Bytes, concat, fromUtf8, utf8 } from '../../lib/bytes';
import type { KeyClass, RecordKind } from '../../records/codes';
import type { Classed } from './form';
import { itemsOf, membersOf } from './json';
import { Refused } from './refused';

/** Largest unpacked bundle, in bytes, and most resources of one. */
const BYTES_LIMIT = 256 << 20;
const RESOURCES_LIMIT = 100_000;

const FHIR = 'application/fhir+json';

/** A record that has the same number whenever it comes from the same source. */
export type Sourced = Classed & { source: Bytes };

export interface OfPatient {
  /** How the bundle names the patient: a hospital's own number or a FHIR id. */
  number: string;
  name?: string;
  pieces: Sourced[];
}

export interface OfBundle {
  patients: OfPatient[];
  /** Resources about nobody (organisations, practitioners), which are left out. */
  leftOut: number;
}

// biome-ignore lint/suspicious/noExplicitAny: resources are checked field by field as they are read
type Json = any;

interface Resource {
  type: string;
  raw: string;
  json: Json;
  url?: string;
}

const text = (value: unknown): string | undefined =>
  typeof value === 'string' && value ? value : undefined;

function refuse(): never {
  throw new Refused('fhir');
}

async function unpacked(bytes: Bytes): Promise<Bytes> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
  const parts: Uint8Array[] = [];
  let length = 0;
  const reader = stream.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      length += next.value.length;
      if (length > BYTES_LIMIT) throw new Refused('too-large');
      parts.push(next.value);
    }
  } catch (error) {
    await reader.cancel().catch(() => {});
    throw error instanceof Refused ? error : new Refused('damaged');
  }
  return concat(...parts);
}

function resourcesOf(whole: string): Resource[] {
  let sound: Json;
  try {
    sound = JSON.parse(whole);
  } catch {
    return refuse();
  }
  if (sound?.resourceType !== 'Bundle' || !Array.isArray(sound.entry ?? [])) return refuse();
  const entries = membersOf(whole).find(([name]) => name === 'entry')?.[1] ?? '[]';
  const found = itemsOf(entries);
  if (found.length > RESOURCES_LIMIT) throw new Refused('too-large');
  return found.map((entry, at): Resource => {
    const { fullUrl, request, resource: json } = sound.entry[at] ?? {};
    const raw = membersOf(entry).find(([name]) => name === 'resource')?.[1];
    const method = request?.method ?? 'PUT';
    if (!raw || typeof json?.resourceType !== 'string') return refuse();
    // Deleting and patching need the resource that they change.
    if (!/^[A-Za-z]{1,64}$/.test(json.resourceType) || !['POST', 'PUT'].includes(method))
      return refuse();
    return { type: json.resourceType, raw, json, url: text(fullUrl) };
  });
}

const DIRECTORY = new Set([
  'Organization',
  'OrganizationAffiliation',
  'Practitioner',
  'PractitionerRole',
  'Location',
  'HealthcareService',
  'Endpoint',
  'Device',
  'DeviceDefinition',
  'Medication',
  'MedicationKnowledge',
  'Substance',
  'InsurancePlan',
  'PlanDefinition',
  'ActivityDefinition',
  'Questionnaire',
  'ValueSet',
  'CodeSystem',
  'ConceptMap',
  'StructureDefinition',
]);

const KIND: Record<string, RecordKind> = {
  Condition: 'symptom',
  AllergyIntolerance: 'allergy',
  MedicationRequest: 'medication',
  MedicationStatement: 'medication',
  MedicationAdministration: 'medication',
  MedicationDispense: 'medication',
  Encounter: 'encounter',
  EpisodeOfCare: 'encounter',
  Procedure: 'procedure',
  Immunization: 'procedure',
  DocumentReference: 'document',
  Composition: 'document',
  Media: 'image',
  ImagingStudy: 'image',
};

/** LOINC codes of ECG studies, and of the FHIR R4 vital signs and their panels. */
const ECG = new Set(['11524-6', '34534-8', '28010-7', '93025-1']);
const VITAL_SIGNS = new Set(
  '85353-1 9279-1 8867-4 2708-6 59408-5 8310-5 8302-2 9843-4 29463-7 39156-5 85354-9 55284-4 8480-6 8462-4 8478-0'.split(
    ' ',
  ),
);

const codesOf = (concept: Json): unknown[] =>
  [concept]
    .flat()
    .flatMap((one) => (Array.isArray(one?.coding) ? one.coding : []))
    .map((coding: Json) => coding?.code);

function observationKind(json: Json): RecordKind {
  const codes = codesOf(json.code);
  if (codes.some((code) => ECG.has(code as string))) return 'ecg';
  const vital = codes.some((code) => VITAL_SIGNS.has(code as string));
  const category = codesOf(json.category).some((code) =>
    ['vital-signs', 'vital-sign'].includes(code as string),
  );
  return vital || category ? 'vitals' : 'observation';
}

function classed({ type, json }: Resource): { class: KeyClass; kind: RecordKind } {
  if (type === 'RelatedPerson' || type === 'Person') return { class: 'identity', kind: 'other' };
  const kind = type === 'Observation' ? observationKind(json) : (KIND[type] ?? 'other');
  return { class: 'medical', kind };
}

/** Members that narrow a person down without naming them. */
const QUASI = new Set([
  'birthDate',
  'gender',
  'deceasedBoolean',
  'deceasedDateTime',
  'maritalStatus',
  'multipleBirthBoolean',
  'multipleBirthInteger',
  'communication',
]);
const REGION = new Set(['postalCode', 'state', 'country']);
const NARROWING = /(us-core-race|us-core-ethnicity|us-core-birthsex|patient-birthPlace)$/;

/** Cuts a Patient into what names a person and what only narrows down (docs/formats.md, "Patient"). */
export function splitPatient(patient: Json): [identity: Json, quasi: Json] {
  const identity: Json = {};
  const quasi: Json = {};
  for (const [name, value] of Object.entries<Json>(patient)) {
    if (name === 'resourceType') {
      identity[name] = value;
      quasi[name] = value;
    } else if (QUASI.has(name.replace(/^_/, ''))) {
      quasi[name] = value;
    } else if (name === 'address') {
      if (!Array.isArray(value)) return refuse();
      const part = (region: boolean) =>
        value
          .filter((one: Json) => typeof one === 'object' && one !== null)
          .map((one: Json) =>
            Object.fromEntries(Object.entries(one).filter(([key]) => REGION.has(key) === region)),
          );
      identity[name] = part(false);
      quasi[name] = part(true);
    } else if (name === 'extension') {
      if (!Array.isArray(value)) return refuse();
      const narrows = (one: Json): boolean => NARROWING.test(String(one?.url ?? ''));
      identity[name] = value.filter((one: Json) => !narrows(one));
      quasi[name] = value.filter(narrows);
    } else {
      identity[name] = value;
    }
  }
  return [identity, quasi];
}

/** The name to show: official, or else usual, or else the first that is not former. */
function nameOf(patient: Json): string | undefined {
  const rank = (name: Json): number =>
    ({ official: 0, usual: 1, old: 3, maiden: 3 })[String(name?.use)] ?? 2;
  const names: Json[] = Array.isArray(patient.name) ? patient.name : [];
  const best = [...names].sort((a, b) => rank(a) - rank(b))[0];
  const parts = [best?.prefix, best?.given, best?.family, best?.suffix];
  return text(best?.text) ?? text(parts.flat().filter(Boolean).join(' '));
}

async function sourced(
  resource: Resource,
  title: string,
  body: string,
  about: { class: KeyClass; kind: RecordKind },
): Promise<Sourced> {
  const { type, raw, url, json } = resource;
  const bytes = utf8(body);
  const origin = await sha256(utf8(`${type}/${text(json.id) ?? url ?? raw}`));
  // With the content: an amended resource is another record, beside the one that stands.
  const source = await sha256(origin, utf8(title), await sha256(bytes));
  return { ...about, source, mediaType: FHIR, title, body: bytes, signed: false };
}

/** Reads a bundle, plain or gzip. Nothing of a bundle that is unsound is used. */
export async function readBundle(bytes: Bytes): Promise<OfBundle> {
  let whole: string;
  try {
    // Exports from Windows begin with a byte order mark.
    whole = fromUtf8(await unpacked(bytes)).replace(/^\ufeff/, '');
  } catch (error) {
    throw error instanceof Refused ? error : new Refused('fhir');
  }
  const resources = resourcesOf(whole);
  const patients: OfPatient[] = [];
  const places = new Map<string, OfPatient>();
  const own = new Map<Resource, OfPatient>();
  for (const resource of resources) {
    if (resource.type !== 'Patient') continue;
    const { json, url } = resource;
    const number = text(json.id) ?? url;
    if (!number) return refuse();
    const patient: OfPatient = { number, name: nameOf(json), pieces: [] };
    for (const reference of [url, text(json.id) && `Patient/${json.id}`]) {
      if (!reference) continue;
      // A reference could mean either of two.
      if (places.has(reference)) return refuse();
      places.set(reference, patient);
    }
    own.set(resource, patient);
    patients.push(patient);
  }
  if (patients.length === 0) return refuse();
  let leftOut = 0;
  for (const resource of resources) {
    const { type, json, raw } = resource;
    const patient = own.get(resource);
    if (patient) {
      const [identity, quasi] = splitPatient(json);
      const part = (title: string, body: Json, keyClass: KeyClass, kind: RecordKind) =>
        sourced(resource, title, JSON.stringify(body), { class: keyClass, kind });
      patient.pieces.push(
        await part('Patient (identity)', identity, 'identity', 'demographics'),
        await part('Patient (quasi-identifiers)', quasi, 'quasi', 'quasi-identifiers'),
      );
      continue;
    }
    const subject = [json.subject, json.patient, json.beneficiary]
      .map((one) => text(one?.reference))
      .find(Boolean);
    if (!subject && DIRECTORY.has(type)) {
      leftOut += 1;
      continue;
    }
    // A bundle about one patient says of everything in it whose it is.
    const owner = subject ? places.get(subject) : patients.length === 1 ? patients[0] : undefined;
    if (!owner) throw new Refused('fhir-owner');
    owner.pieces.push(await sourced(resource, type, raw, classed(resource)));
  }
  return { patients, leftOut };
}
