// What the cloud's operator asks the nodes.
import { useQueries, useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { ok, type Schema } from '../../api/client';
import { CONNECTED, follow } from '../../api/events';
import { staler, usePerson } from '../../session/use';
import { useLedger } from '../../shell';
import { type Attempt, newestFirst } from './attempts';
import { requestsOf } from './requests';

export type Principal = Schema['PrincipalSummary'];

/** How often pages ask anew for what no event tells of, in ms. */
const OFTEN_MS = 3_000;
/** How soon a node that did not answer is asked again, in ms. */
const SILENT_MS = 10_000;
/** Kinds of attempts that are shown of each node. */
export const ATTEMPTS_LIMIT = 500;

/** Everybody who ever registered, with the profiles that live at this node. */
export function usePrincipals() {
  const person = usePerson();
  return useQuery({
    queryKey: ['principals'],
    queryFn: () =>
      person.list((after) =>
        ok(person.home.api.GET('/api/v1/principals', { params: { query: { after, limit: 500 } } })),
      ),
  });
}

/** Everything that only the operator's pages show becomes stale by the events of the own node. */
const STALE: Record<string, string[]> = {
  principal: ['principals'],
  access: ['watched'],
  consultation: ['watched', 'statistics'],
  batch: ['replicas', 'sealed', 'statistics'],
  patient: ['replicas'],
  membership: ['proposals', 'members'],
  incident: ['attempts'],
  attempt: ['attempts'],
  [CONNECTED]: ['attempts'],
};

/** The addresses of the other members' nodes. */
export const othersOf = (ledger: Schema['LedgerStatus'] | undefined): string[] =>
  (ledger?.members ?? [])
    .filter(({ organisation }) => organisation !== ledger?.organisation)
    .map(({ api }) => new URL(api).origin);

/** Keeps the operator's pages fresh, by the events of this node and those of `others`. */
export function useWatch(others: string[] = []): void {
  const person = usePerson();
  const queries = useQueryClient();
  const list = others.join(' ');
  useEffect(() => {
    const stop = new AbortController();
    const stale = staler(queries);
    const changed = ({ type }: { type: string }): void => stale(STALE[type] ?? []);
    // A node that cannot be reached tells nothing; the page says which it is.
    for (const base of [person.home.base, ...list.split(' ').filter(Boolean)])
      void follow(() => person.at(base), changed, stop.signal);
    return () => stop.abort();
  }, [person, list, queries]);
}

/** Patients of whom this node keeps sealed records. */
export function useReplicas(query: string) {
  const person = usePerson();
  return useQuery({
    queryKey: ['replicas', query],
    placeholderData: (before) => before,
    queryFn: () =>
      person.list((after) =>
        ok(
          person.home.api.GET('/api/v1/patients', {
            params: { query: { query: query || undefined, after, limit: 500 } },
          }),
        ),
      ),
  });
}

/** The sealed records of an alias at this node: every version. */
export function useSealedHere(alias: string) {
  const person = usePerson();
  return useQuery({
    queryKey: ['sealed', alias],
    queryFn: () =>
      person.list((after) =>
        ok(
          person.home.api.GET('/api/v1/patients/{alias}/records', {
            params: { path: { alias }, query: { after, limit: 500 } },
          }),
        ),
      ),
  });
}

/** Every request for access that the ledger knows, the newest first. */
export function useWatchedAccesses() {
  const person = usePerson();
  return useQuery({
    queryKey: ['watched'],
    queryFn: async () =>
      requestsOf(
        await person.list((after) =>
          ok(
            person.home.api.GET('/api/v1/ledger/entries', {
              params: { query: { after, limit: 500 } },
            }),
          ),
        ),
      ),
  });
}

/** Refused attempts at every member's node; nodes that do not answer are named. */
export function useAttempts(): {
  attempts?: Attempt[];
  failed: string[];
  error: unknown;
  pending: boolean;
} {
  const person = usePerson();
  const ledger = useLedger();
  const members = ledger.data?.members ?? [];
  const answers = useQueries({
    queries: members.map(({ organisation, api }) => ({
      queryKey: ['attempts', organisation],
      retry: false,
      // Events tell of every refusal; what does not answer is asked again.
      refetchInterval: ({ state }: { state: { status: string } }) =>
        state.status === 'error' ? SILENT_MS : false,
      queryFn: async (): Promise<Attempt[]> => {
        const own = organisation === ledger.data?.organisation;
        const at = own ? person.home : await person.at(api);
        const page = await ok(
          at.api.GET('/api/v1/attempts', { params: { query: { limit: ATTEMPTS_LIMIT } } }),
        );
        return page.items.map((item) => ({ ...item, at_node: organisation }));
      },
    })),
  });
  const failed = members.filter((_, at) => answers[at]?.isError).map(({ name }) => name);
  const data = answers.flatMap((answer) => (answer.data ? [answer.data] : []));
  return {
    attempts: data.length > 0 ? newestFirst(data) : undefined,
    failed,
    error: ledger.error ?? (data.length === 0 ? answers.find(({ error }) => error)?.error : null),
    pending: ledger.isPending || answers.some(({ isPending }) => isPending),
  };
}

/** The ledger's status, asked for again and again while the page is open. */
export function useLedgerLive() {
  const person = usePerson();
  return useQuery({
    queryKey: ['ledger', 'live'],
    refetchInterval: OFTEN_MS,
    queryFn: () => ok(person.home.api.GET('/api/v1/ledger')),
  });
}

export function useMembers() {
  const person = usePerson();
  return useQuery({
    queryKey: ['members'],
    queryFn: () => person.list(() => ok(person.home.api.GET('/api/v1/members'))),
  });
}

export function useProposals() {
  const person = usePerson();
  return useQuery({
    queryKey: ['proposals'],
    queryFn: () =>
      person.list((after) =>
        ok(person.home.api.GET('/api/v1/proposals', { params: { query: { after } } })),
      ),
  });
}

/** Names for everybody whom the operator may know: members, and profiles at this node. */
export function useWho(): (principal: string) => string | undefined {
  const ledger = useLedger();
  const principals = usePrincipals();
  const names = new Map<string, string>();
  for (const { principal, profile } of principals.data ?? [])
    if (profile) names.set(principal, profile.name);
  for (const { organisation, name } of ledger.data?.members ?? []) names.set(organisation, name);
  return (principal) => names.get(principal);
}
