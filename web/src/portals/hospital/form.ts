// The form of an intake: what is missing or wrong in it, and the FHIR R4 resources that it becomes.
import { utf8 } from '../../lib/bytes';
import type { KeyClass, RecordKind } from '../../records/codes';
import type { Piece } from './files';

export interface Symptom {
  code: string;
  words: string;
}

export interface Form {
  number: string;
  name: string;
  birthDate: string;
  address: string;
  phone: string;
  email: string;
  pulse: string;
  symptoms: Symptom[];
  /** A document written in the page. */
  noteTitle: string;
  note: string;
}

export const EMPTY: Form = {
  number: '',
  name: '',
  birthDate: '',
  address: '',
  phone: '',
  email: '',
  pulse: '',
  symptoms: [],
  noteTitle: '',
  note: '',
};

export type Fault =
  | 'number'
  | 'name'
  | 'birthDate'
  | 'email'
  | 'pulse'
  | 'code'
  | 'words'
  | 'noteTitle'
  | 'note'
  | 'nothing';

export const SNOMED = 'http://snomed.info/sct';
export const ICD10 = 'http://hl7.org/fhir/sid/icd-10';
const PULSE_MAX = 400;

/** The system that a code is of, by its form: SNOMED CT has 6 to 18 digits, ICD-10 starts with a letter. */
export function systemOf(code: string): string | undefined {
  if (/^\d{6,18}$/.test(code)) return SNOMED;
  return /^[A-Z]\d[0-9A-Z](\.[0-9A-Z]{1,4})?$/.test(code) ? ICD10 : undefined;
}

export const symptomFault = ({ code, words }: Symptom): Fault | undefined =>
  code.trim() && !systemOf(code.trim()) ? 'code' : words.trim() ? undefined : 'words';

function realDate(text: string, now: number): boolean {
  const time = Date.parse(`${text}T00:00:00Z`);
  if (!/^\d{4}-\d{2}-\d{2}$/.test(text) || Number.isNaN(time) || time > now) return false;
  return new Date(time).toISOString().startsWith(text);
}

/** Everything that is wrong; `files` are those that will be taken in beside the form. */
export function faultsOf(form: Form, fresh: boolean, files: number, now: number): Fault[] {
  const faults: Fault[] = [];
  if (fresh && !form.number.trim()) faults.push('number');
  if (fresh && !form.name.trim()) faults.push('name');
  if (form.birthDate && !realDate(form.birthDate, now)) faults.push('birthDate');
  if (form.email && !/^\S+@\S+$/.test(form.email.trim())) faults.push('email');
  const pulse = form.pulse.trim();
  if (pulse && !(/^\d{1,3}$/.test(pulse) && Number(pulse) >= 1 && Number(pulse) <= PULSE_MAX))
    faults.push('pulse');
  if (form.note.trim() && !form.noteTitle.trim()) faults.push('noteTitle');
  if (!form.note.trim() && form.noteTitle.trim()) faults.push('note');
  const medical = pulse || form.note.trim() || form.symptoms.length + files > 0;
  // Without a record of the medical class nobody of the staff could add to that class later.
  if (!medical) faults.push('nothing');
  return faults;
}

/** A piece and the class key that seals it. */
export type Classed = Piece & { class: KeyClass };

function resource(
  kind: RecordKind,
  keyClass: KeyClass,
  title: string,
  body: Record<string, unknown>,
): Classed {
  const bytes = utf8(JSON.stringify(body));
  return {
    kind,
    class: keyClass,
    mediaType: 'application/fhir+json',
    title,
    body: bytes,
    signed: false,
  };
}

/** The two parts of a Patient resource (docs/formats.md, "Patient"): what names a person, what narrows. */
function patientParts(form: Form): Classed[] {
  const number = form.number.trim();
  const telecom = [
    { system: 'phone', value: form.phone.trim() },
    { system: 'email', value: form.email.trim() },
  ].filter(({ value }) => value);
  const address = form.address.trim();
  const identity = {
    resourceType: 'Patient',
    id: number,
    identifier: [{ value: number }],
    name: [{ text: form.name.trim() }],
    ...(telecom.length > 0 ? { telecom } : {}),
    ...(address ? { address: [{ text: address, line: [address] }] } : {}),
  };
  const quasi = {
    resourceType: 'Patient',
    ...(form.birthDate ? { birthDate: form.birthDate } : {}),
  };
  return [
    resource('demographics', 'identity', 'Patient (identity)', identity),
    resource('quasi-identifiers', 'quasi', 'Patient (quasi-identifiers)', quasi),
  ];
}

function pulseOf(value: number, subject: object, at: string): Classed {
  return resource('vitals', 'medical', 'Observation', {
    resourceType: 'Observation',
    status: 'final',
    category: [
      {
        coding: [
          {
            system: 'http://terminology.hl7.org/CodeSystem/observation-category',
            code: 'vital-signs',
          },
        ],
      },
    ],
    code: { coding: [{ system: 'http://loinc.org', code: '8867-4', display: 'Heart rate' }] },
    subject,
    effectiveDateTime: at,
    valueQuantity: {
      value,
      unit: '/min',
      system: 'http://unitsofmeasure.org',
      code: '/min',
    },
  });
}

function conditionOf({ code, words }: Symptom, subject: object, at: string): Classed {
  const display = words.trim();
  const coded = code.trim();
  return resource('symptom', 'medical', 'Condition', {
    resourceType: 'Condition',
    code: {
      ...(coded ? { coding: [{ system: systemOf(coded), code: coded, display }] } : {}),
      text: display,
    },
    subject,
    recordedDate: at,
  });
}

/** Everything of a filled-in form, of a new patient with who it is about. */
export function piecesOf(form: Form, fresh: boolean, now: number): Classed[] {
  const at = new Date(now).toISOString();
  const number = form.number.trim();
  const subject = number ? { reference: `Patient/${number}` } : {};
  const pieces = fresh ? patientParts(form) : [];
  if (form.pulse.trim()) pieces.push(pulseOf(Number(form.pulse.trim()), subject, at));
  for (const symptom of form.symptoms) pieces.push(conditionOf(symptom, subject, at));
  if (form.note.trim())
    pieces.push({
      kind: 'document',
      class: 'medical',
      mediaType: 'text/plain; charset=utf-8',
      title: form.noteTitle.trim(),
      body: utf8(form.note),
      signed: true,
    });
  return pieces;
}
