// What care pages ask the nodes: whose records, under which grant, and what was opened.
import { useQueries, useQuery } from '@tanstack/react-query';
import { ok, type Schema } from '../../api/client';
import type { Person, Reading } from '../../session/person';
import { usePerson } from '../../session/use';

export type OwnAlias = Schema['OwnAlias'];
export type AccessView = Schema['AccessView'];
export type SealedRecord = Schema['SealedRecordView'];
export type Consultation = Schema['ConsultationView'];

/** The hospitals that keep records of this patient. */
export function useOwnAliases() {
  const person = usePerson();
  return useQuery({
    queryKey: ['mine'],
    queryFn: () =>
      person.list((after) =>
        ok(person.home.api.GET('/api/v1/patients/mine', { params: { query: { after } } })),
      ),
  });
}

/** Accesses that this person holds or asked for; newest first. */
export function useAccesses() {
  const person = usePerson();
  return useQuery({
    queryKey: ['accesses'],
    queryFn: async () => {
      const found = await person.list((after) =>
        ok(person.home.api.GET('/api/v1/accesses', { params: { query: { as: 'holder', after } } })),
      );
      return found.sort((a, b) => b.requested - a.requested);
    },
  });
}

/** The open grant on all of one's own records at a hospital, if there is one. */
export const ownGrant = (accesses: AccessView[], alias: string): AccessView | undefined =>
  accesses.find(
    (access) =>
      access.alias === alias &&
      access.open &&
      !access.records &&
      access.purpose === 'patient-request',
  );

/** Where records are, and under which grant they are read. */
export interface Place {
  api: string;
  alias: string;
  access?: string;
  purpose: Reading['purpose'];
}

/** The sealed list: kinds, signers, times; nothing of the content. */
export function useSealed(place: Place | undefined) {
  const person = usePerson();
  return useQuery({
    queryKey: ['records', place?.alias],
    enabled: place !== undefined,
    queryFn: async () => {
      const at = await person.at(place!.api);
      const alias = place!.alias;
      return newestVersions(
        await person.list((after) =>
          ok(
            at.api.GET('/api/v1/patients/{alias}/records', {
              params: { path: { alias }, query: { after, limit: 500 } },
            }),
          ),
        ),
      );
    },
  });
}

/** Of each record the newest version. */
function newestVersions(records: SealedRecord[]): SealedRecord[] {
  const newest = new Map<string, SealedRecord>();
  for (const record of records) {
    const known = newest.get(record.record);
    if (!known || known.version < record.version) newest.set(record.record, record);
  }
  return [...newest.values()];
}

export async function readAt(person: Person, place: Place, records: string[]) {
  if (records.length === 0) return [];
  const { alias, access, purpose } = place;
  return person.read(await person.at(place.api), { alias, access, records, purpose });
}

/** Records, opened; reading them leaves a receipt. */
export function useOpened(place: Place | undefined, records: string[] | undefined) {
  const person = usePerson();
  return useQuery({
    queryKey: ['opened', place?.alias, records],
    enabled: place !== undefined && records !== undefined,
    staleTime: Number.POSITIVE_INFINITY,
    retry: false,
    queryFn: () => readAt(person, place!, records!),
  });
}

/** Consultations of this person, newest first. */
export function useConsultations() {
  const person = usePerson();
  return useQuery({
    queryKey: ['consultations'],
    queryFn: async () => {
      const found = await person.list((after) =>
        ok(person.home.api.GET('/api/v1/consultations', { params: { query: { after } } })),
      );
      return found.sort((a, b) => b.opened - a.opened);
    },
  });
}

/** One consultation as the hospital's node has it, with the question's and answer's records. */
export function useConsultation(id: string, custodianApi: string | undefined) {
  const person = usePerson();
  return useQuery({
    queryKey: ['consultations', id],
    enabled: custodianApi !== undefined,
    queryFn: async () => {
      const at = await person.at(custodianApi!);
      return ok(at.api.GET('/api/v1/consultations/{id}', { params: { path: { id } } }));
    },
  });
}

/** Of consultations those whose doctor may still read: before their end, and not withdrawn. */
export function useOpenGrants(consultations: Consultation[]): Set<string> {
  const person = usePerson();
  const candidates = consultations.filter((one) => one.until > Date.now());
  const answers = useQueries({
    queries: candidates.map(({ access }) => ({
      queryKey: ['accesses', access],
      queryFn: () =>
        ok(person.home.api.GET('/api/v1/accesses/{id}', { params: { path: { id: access } } })),
    })),
  });
  return new Set(answers.flatMap(({ data }) => (data?.open ? [data.access] : [])));
}
