// What hospitals' nodes say about how many patients they have, verified.
import { useQueries, useQuery } from '@tanstack/react-query';
import { ok, type Schema } from '../../api/client';
import { CryptoError } from '../../crypto/error';
import { fromBase64url } from '../../lib/bytes';
import { type Counts, verifyCounts } from '../../records/statistics';
import type { Person } from '../../session/person';
import { usePerson } from '../../session/use';
import { useLedger } from '../../shell';
import type { Site } from './pool';

/** How soon a node that is still counting is asked again, in ms. */
const COUNTING_MS = 2_000;
/** How soon one that did not answer is asked again, in ms. */
const SILENT_MS = 10_000;

export interface Told {
  complete: boolean;
  counts: Counts[];
  exact?: Schema['ExactCounts'];
}

async function told(person: Person, organisation: string, api?: string): Promise<Told> {
  const at = api ? await person.at(api) : person.home;
  const answer = await ok(at.api.GET('/api/v1/statistics'));
  const keys = await person.publicKeys(organisation);
  const whose = { consortium: person.consortium, organisation };
  const counts = await Promise.all(
    answer.statements.map((one) => verifyCounts(keys, whose, fromBase64url(one))),
  );
  return { complete: answer.complete, counts, exact: answer.exact ?? undefined };
}

const again = ({ state }: { state: { status: string; data?: Told } }): number | false =>
  state.status === 'error' ? SILENT_MS : state.data?.complete === false ? COUNTING_MS : false;

/** What one's own hospital counts. */
export function useOwnCounts() {
  const person = usePerson();
  return useQuery({
    queryKey: ['statistics', person.organisation],
    refetchInterval: again,
    queryFn: () => told(person, person.organisation),
  });
}

export interface Hospitals {
  sites: Site[];
  /** Names of hospitals that are still counting, do not answer, or whose numbers do not verify. */
  counting: string[];
  unreachable: string[];
  distrusted: string[];
  pending: boolean;
  error: unknown;
  none: boolean;
}

/** What every hospital lets the world know, in the order of the members. */
export function useHospitals(): Hospitals {
  const person = usePerson();
  const ledger = useLedger();
  const hospitals = (ledger.data?.members ?? []).filter(({ roles }) => roles.includes('hospital'));
  const answers = useQueries({
    queries: hospitals.map(({ organisation, api }) => ({
      queryKey: ['statistics', organisation],
      retry: false,
      refetchInterval: again,
      queryFn: () => told(person, organisation, api),
    })),
  });
  const names = (which: (at: number) => boolean): string[] =>
    hospitals.filter((_, at) => which(at)).map(({ name }) => name);
  const wrong = (at: number): boolean => answers[at]?.error instanceof CryptoError;
  return {
    sites: hospitals.flatMap(({ organisation, name }, at) => {
      const data = answers[at]?.data;
      return data && !wrong(at) ? [{ organisation, name, counts: data.counts }] : [];
    }),
    counting: names((at) => answers[at]?.data?.complete === false),
    unreachable: names((at) => answers[at]?.isError === true && !wrong(at)),
    distrusted: names(wrong),
    pending: ledger.isPending || answers.some(({ isPending }) => isPending),
    error: ledger.error,
    none: ledger.data !== undefined && hospitals.length === 0,
  };
}
