// The session in React: who is here, and what is refetched when the node says that it changed.
import { type QueryClient, useQueryClient } from '@tanstack/react-query';
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
  consultation: ['consultations', 'prescriptions', 'receipts', 'accesses', 'statistics'],
  batch: ['patients', 'records', 'consultations', 'prescriptions', 'statistics'],
  receipt: ['receipts'],
  patient: ['mine', 'patients'],
  membership: ['ledger', 'members'],
  job: ['jobs', 'job', 'data sets'],
};

/** How long events gather before pages ask anew, in ms: an import brings hundreds of them a second. */
const GATHER_MS = 200;

/** Makes queries stale by the first words of their keys, each at most once in a while. */
export function staler(queries: QueryClient): (keys: string[]) => void {
  const waiting = new Set<string>();
  return (keys) => {
    if (waiting.size === 0 && keys.length > 0)
      setTimeout(() => {
        const gathered = [...waiting];
        waiting.clear();
        for (const key of gathered) void queries.invalidateQueries({ queryKey: [key] });
      }, GATHER_MS);
    for (const key of keys) waiting.add(key);
  };
}

/** Follows the events of a person's nodes, and locks the page when nobody touches it. */
export function useLive(person: Person, nodes: string[]): void {
  const queries = useQueryClient();
  const list = nodes.join(' ');
  useEffect(() => watchIdle(), []);
  useEffect(() => {
    const stop = new AbortController();
    const stale = staler(queries);
    const changed = ({ type }: { type: string }): void => stale(STALE[type] ?? []);
    // A node that cannot be reached tells nothing; its pages say so when they are asked.
    for (const base of [person.home.base, ...list.split(' ').filter(Boolean)])
      void follow(() => person.at(base), changed, stop.signal);
    return () => stop.abort();
  }, [person, list, queries]);
}
