// The acts of care: asking for access, sending records with a question, answering, prescribing.
import { type Node, ok, type Schema } from '../../api/client';
import { type Bytes, base64url, hex, random, utf8 } from '../../lib/bytes';
import { CLASSES, type Purpose, type Reason } from '../../records/codes';
import { action } from '../../records/command';
import type { Opened } from '../../records/open';
import type { Content } from '../../records/record';
import {
  content,
  type Item,
  type Place,
  type Recipient,
  sealBatch,
  wrapRecordKey,
} from '../../records/seal';
import type { Person } from '../../session/person';

const TEXT = 'text/plain; charset=utf-8';
export const FHIR = 'application/fhir+json';

/** Asks the custodian for access to all classes of one's own records. */
export async function requestAccess(
  person: Person,
  at: Node,
  alias: string,
  purpose: Purpose,
  until: number,
): Promise<string> {
  const access = random(16);
  await person.submit(action.requestAccess(access, alias, [...CLASSES], purpose, until), at);
  return hex(access);
}

export const revokeAccess = (person: Person, at: Node, access: string, reason: Reason) =>
  person.submit(action.revokeAccess(access, reason), at);

async function recipients(person: Person, at: Node, others: string[]): Promise<Recipient[]> {
  const list: Recipient[] = [];
  for (const principal of others)
    list.push({ principal, xWing: (await person.publicKeys(principal, at)).xWing });
  list.push({ principal: person.principal, xWing: person.keys.public.xWing });
  return list;
}

/** Seals records and hands them to the custodian's node; answers once they are anchored. */
async function upload(
  person: Person,
  at: Node,
  place: Place,
  items: Item[],
  to: Recipient[],
): Promise<{ batch: Bytes; records: string[] }> {
  const sequence = person.nextSequence();
  const sealed = await sealBatch(person.author, place, items, to, sequence, Date.now());
  await at.raw('/batches', {
    method: 'POST',
    headers: { 'content-type': 'application/cbor' },
    body: new Blob([sealed.bytes]),
  });
  return { batch: sealed.batch, records: sealed.records };
}

export interface Question {
  alias: string;
  custodian: string;
  doctor: string;
  text: string;
  records: Opened[];
  until: number;
}

/** Sends records with a question to one doctor, who may read exactly these until the end. */
export async function ask(
  person: Person,
  at: Node,
  question: Question,
): Promise<Schema['ConsultationView']> {
  const { alias, custodian, doctor } = question;
  const doctorKeys = await person.publicKeys(doctor, at);
  const access = random(16);
  const place = { alias, organisation: custodian };
  const item: Item = { kind: 'question', content: content(TEXT, '', utf8(question.text)) };
  const toDoctor = { principal: doctor, xWing: doctorKeys.xWing, access: hex(access) };
  const others = await recipients(person, at, [custodian]);
  const asked = await upload(person, at, place, [item], [toDoctor, ...others]);
  const wraps: Schema['RecordWrapBody'][] = [];
  for (const { anchor, key } of question.records) {
    const wrap = await wrapRecordKey(anchor.record, key, toDoctor);
    wraps.push({ record: anchor.record, recipient: doctor, wrap: base64url(wrap) });
  }
  const sent = question.records.map(({ anchor }) => anchor.record);
  const records = [...new Set([...asked.records, ...sent])].sort();
  const opening = action.openConsultation({
    consultation: random(16),
    access,
    alias,
    doctor,
    records,
    question: asked.batch,
    until: question.until,
  });
  return person.act(opening, (command) =>
    ok(at.api.POST('/api/v1/consultations', { body: { command, record_wraps: wraps } })),
  );
}

/** A medicine as the doctor enters it. */
export interface Medicine {
  name: string;
  /** A code of the system that `system` names. */
  code: string;
  system: string;
  dose: string;
  frequency: string;
  duration: string;
}

/** A FHIR R4 MedicationRequest. */
export function medicationRequest(
  medicine: Medicine,
  patient: { reference: string; display: string },
  doctor: { reference: string; display: string },
  now: number,
): object {
  const { name, code, system, dose, frequency, duration } = medicine;
  return {
    resourceType: 'MedicationRequest',
    status: 'active',
    intent: 'order',
    medicationCodeableConcept: {
      ...(code ? { coding: [{ system, code, display: name }] } : {}),
      text: name,
    },
    subject: { identifier: { value: patient.reference }, display: patient.display },
    requester: { identifier: { value: doctor.reference }, display: doctor.display },
    authoredOn: new Date(now).toISOString(),
    dosageInstruction: [{ text: [dose, frequency, duration].filter(Boolean).join(', ') }],
  };
}

/** Answers with signed answer and prescription records that patient, doctor and hospital can open. */
export async function answer(
  person: Person,
  at: Node,
  consultation: Schema['ConsultationView'],
  text: string,
  prescriptions: object[],
): Promise<Schema['CommandReceipt']> {
  const { custodian, patient, alias } = consultation;
  const items: Item[] = [{ kind: 'answer', content: content(TEXT, '', utf8(text)) }];
  for (const prescription of prescriptions) {
    const body: Content = content(FHIR, '', utf8(JSON.stringify(prescription)));
    items.push({ kind: 'prescription', content: body });
  }
  const to = await recipients(person, at, [patient, custodian]);
  const place = { alias, organisation: custodian, consultation: consultation.consultation };
  const { batch } = await upload(person, at, place, items, to);
  const { consultation: id } = consultation;
  return person.act(action.answerConsultation(id, batch, prescriptions.length), (command) =>
    ok(
      at.api.POST('/api/v1/consultations/{id}/answer', {
        params: { path: { id } },
        body: { command },
      }),
    ),
  );
}
