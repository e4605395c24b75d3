// Every prescription that a doctor gave, opened: asked of each hospital where one was given.
import { useQuery } from '@tanstack/react-query';
import { ok, type Schema } from '../../api/client';
import { usePerson } from '../../session/use';
import { type Item, itemOf } from '../record/fhir';
import { useApiOf } from './names';
import { readAt, useConsultations } from './queries';

export interface Prescription {
  view: Schema['PrescriptionView'];
  custodian: string;
  item: Item;
  patient: string;
}

export function usePrescriptions() {
  const person = usePerson();
  const consultations = useConsultations();
  const apiOf = useApiOf();
  const custodians = [
    ...new Set(
      (consultations.data ?? [])
        .filter((one) => (one.answer?.prescriptions ?? 0) > 0)
        .map((one) => one.custodian),
    ),
  ].filter((custodian) => apiOf(custodian));
  return useQuery({
    queryKey: ['prescriptions', custodians],
    enabled: consultations.isSuccess,
    queryFn: async (): Promise<Prescription[]> => {
      const found: Prescription[] = [];
      for (const custodian of custodians) {
        const api = apiOf(custodian)!;
        const at = await person.at(api);
        const views = await person.list((after) =>
          ok(at.api.GET('/api/v1/prescriptions', { params: { query: { as: 'doctor', after } } })),
        );
        for (const alias of new Set(views.map((view) => view.alias))) {
          const some = views.filter((view) => view.alias === alias);
          const place = { api, alias, purpose: 'treatment' } as const;
          const opened = await readAt(
            person,
            place,
            some.map((view) => view.record),
          );
          for (const record of opened) {
            const view = some.find((one) => one.record === record.anchor.record)!;
            found.push({ view, custodian, item: itemOf(record), patient: subjectOf(record) });
          }
        }
      }
      return found.sort((a, b) => b.view.at - a.view.at);
    },
  });
}

function subjectOf(opened: Item['opened']): string {
  try {
    const body: unknown = JSON.parse(new TextDecoder().decode(opened.content.body));
    const subject = (body as { subject?: { display?: unknown } }).subject?.display;
    return typeof subject === 'string' ? subject : '';
  } catch {
    return '';
  }
}
