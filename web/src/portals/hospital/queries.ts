// What the hospital's pages ask its node.
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { ok, type Schema } from '../../api/client';
import type { AccessView, Place } from '../../features/care/queries';
import type { Person } from '../../session/person';
import { usePerson } from '../../session/use';

export type Patient = Schema['PatientSummary'];
export type Reading = Schema['Receipt'] & { patient: Patient };

/** Patients whose receipts are fetched at the same time. */
const FETCHES = 6;

/** Every patient of this hospital, the newest first. */
export function usePatients() {
  const person = usePerson();
  return useQuery({
    queryKey: ['patients'],
    queryFn: async () => {
      const found = await person.list((after) =>
        ok(person.home.api.GET('/api/v1/patients', { params: { query: { after, limit: 500 } } })),
      );
      return found.sort((a, b) => b.opened - a.opened);
    },
  });
}

/** Requests for records that this hospital keeps, the newest first. */
export function useRequests() {
  const person = usePerson();
  return useQuery({
    queryKey: ['accesses', 'custodian'],
    queryFn: async (): Promise<AccessView[]> => {
      const found = await person.list((after) =>
        ok(
          person.home.api.GET('/api/v1/accesses', {
            params: { query: { as: 'custodian', after, limit: 500 } },
          }),
        ),
      );
      return found.sort((a, b) => b.requested - a.requested);
    },
  });
}

/** Who read what, of all these patients; the newest first. */
export async function readings(
  person: Person,
  patients: Patient[],
  progress: (done: number) => void,
): Promise<Reading[]> {
  const found: Reading[] = [];
  const queue = [...patients];
  let done = 0;
  const work = async (): Promise<void> => {
    for (let patient = queue.shift(); patient; patient = queue.shift()) {
      const { alias } = patient;
      const receipts = await person.list((after) =>
        ok(
          person.home.api.GET('/api/v1/patients/{alias}/receipts', {
            params: { path: { alias }, query: { after, limit: 500 } },
          }),
        ),
      );
      for (const receipt of receipts) found.push({ ...receipt, patient });
      done += 1;
      progress(done);
    }
  };
  await Promise.all(Array.from({ length: FETCHES }, work));
  return found.sort((a, b) => b.entry - a.entry);
}

/** Where a patient's sealed records are. */
export const placeOf = (person: Person, alias: string): Place => ({
  api: person.home.base,
  alias,
  purpose: 'operations',
});

/** The short form under which people tell patients apart. */
export const shortOf = (alias: string): string => alias.slice(0, 8).toUpperCase();

/** How a patient is called in lists: by name, or by saying that it is sealed. */
export function usePatientName(): (patient: { name?: string | null; alias: string }) => string {
  const { t } = useTranslation();
  return ({ name, alias }) => name ?? `${t('h.unnamed')} (${shortOf(alias)})`;
}
