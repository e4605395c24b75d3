// The session in React: who is here, and what is refetched when the node says that it changed.
import { useQueryClient } from '@tanstack/react-query';
import { createContext, useContext, useEffect, useSyncExternalStore } from 'react';
import { follow } from '../api/events';
import type { Person } from './person';
import { current, type State, subscribe, watchIdle } from './session';

export const useSession = (): State => useSyncExternalStore(subscribe, current);

export const PersonContext = createContext<Person | undefined>(undefined);

/** The person of a page that only persons see. */
export function usePerson(): Person {
  const person = useContext(PersonContext);
  if (!person) throw new Error('a page for persons without a person');
  return person;
}

/** Which queries an event makes stale, by the first word of their keys. */
const STALE: Record<string, string[]> = {
  principal: ['me', 'doctors'],
  access: ['accesses', 'mine'],
  consultation: ['consultations', 'prescriptions', 'receipts', 'accesses'],
  batch: ['patients', 'records', 'consultations', 'prescriptions'],
  receipt: ['receipts'],
  patient: ['mine', 'patients'],
  membership: ['ledger', 'members'],
  job: ['jobs', 'job', 'data sets'],
};

/** Follows the events of a person's nodes, and locks the page when nobody touches it. */
export function useLive(person: Person, nodes: string[]): void {
  const queries = useQueryClient();
  const list = nodes.join(' ');
  useEffect(() => watchIdle(), []);
  useEffect(() => {
    const stop = new AbortController();
    const changed = ({ type }: { type: string }): void => {
      for (const key of STALE[type] ?? []) void queries.invalidateQueries({ queryKey: [key] });
    };
    for (const base of [person.home.base, ...list.split(' ').filter(Boolean)])
      void person
        .at(base)
        .then((node) => follow(node, changed, stop.signal))
        .catch(() => {
          // A node that cannot be reached tells nothing; its pages say so when they are asked.
        });
    return () => stop.abort();
  }, [person, list, queries]);
}
