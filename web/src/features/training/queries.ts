// What pages about federated jobs ask the nodes. The coordinator's node sees most of a job: who trains
// and who is missing; the own node has the ledger when the coordinator does not answer.
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { useEffect } from 'react';
import { type Node, ok, type Schema } from '../../api/client';
import { follow } from '../../api/events';
import type { Bytes } from '../../lib/bytes';
import type { Person } from '../../session/person';
import { usePerson } from '../../session/use';
import { readPlan } from './plan';
import type { Job } from './series';

export type DataSet = Schema['DataSetView'];

const ofJob = (job: string) => ({ params: { path: { job } } });

export function useDataSets() {
  const person = usePerson();
  return useQuery({
    queryKey: ['data sets'],
    queryFn: () =>
      person.list((after) =>
        ok(person.home.api.GET('/api/v1/data-sets', { params: { query: { after, limit: 500 } } })),
      ),
  });
}

/** Every job, the newest first. */
export function useJobs() {
  const person = usePerson();
  return useQuery({
    queryKey: ['jobs'],
    queryFn: async () => {
      const jobs = await person.list((after) =>
        ok(person.home.api.GET('/api/v1/jobs', { params: { query: { after, limit: 500 } } })),
      );
      return jobs.reverse();
    },
  });
}

/** The coordinator's node, or none while it does not answer. */
async function coordinator(person: Person, job: Job): Promise<Node | undefined> {
  try {
    return await person.at(job.coordinator_api);
  } catch {
    return undefined;
  }
}

/** One job as its coordinator sees it; `live` is false where only the own node could be asked. */
export function useJob(id: string) {
  const person = usePerson();
  return useQuery({
    queryKey: ['job', id],
    queryFn: async (): Promise<{ job: Job; live: boolean }> => {
      const own = await ok(person.home.api.GET('/api/v1/jobs/{job}', ofJob(id)));
      const there = await coordinator(person, own);
      if (!there || there === person.home) return { job: own, live: there !== undefined };
      try {
        return { job: await ok(there.api.GET('/api/v1/jobs/{job}', ofJob(id))), live: true };
      } catch {
        return { job: own, live: false };
      }
    },
  });
}

/** Keeps pages about a job fresh by the events of its coordinator's node. */
export function useCoordinatorEvents(api: string | undefined): void {
  const person = usePerson();
  const queries = useQueryClient();
  useEffect(() => {
    // The events of the own node are followed everywhere.
    if (!api || new URL(api).origin === person.home.base) return;
    const stop = new AbortController();
    // Where the coordinator does not answer, the page says so.
    void follow(
      () => person.at(api),
      ({ type }) => {
        if (type === 'job') void queries.invalidateQueries({ queryKey: ['job'] });
      },
      stop.signal,
    );
    return () => stop.abort();
  }, [api, person, queries]);
}

export function useUpdates(id: string) {
  const person = usePerson();
  return useQuery({
    queryKey: ['job', id, 'updates'],
    queryFn: () =>
      person.list((after) =>
        ok(
          person.home.api.GET('/api/v1/jobs/{job}/updates', {
            params: { path: { job: id }, query: { after, limit: 500 } },
          }),
        ),
      ),
  });
}

export function usePlan(id: string) {
  const person = usePerson();
  return useQuery({
    queryKey: ['plan', id],
    staleTime: Number.POSITIVE_INFINITY,
    queryFn: async () => {
      const answer = await person.home.raw(`/jobs/${id}/plan`);
      return readPlan(new Uint8Array(await answer.arrayBuffer()) as Bytes);
    },
  });
}

/** What this hospital gained; known some time after the last round. */
export function useGain(id: string, done: boolean) {
  const person = usePerson();
  return useQuery({
    queryKey: ['job', id, 'gain'],
    enabled: done,
    queryFn: async () => {
      const answer = await person.home.api.GET('/api/v1/jobs/{job}/gain', ofJob(id));
      return answer.response.status === 404 ? null : ok(Promise.resolve(answer));
    },
  });
}

export function useLineage(id: string, api?: string) {
  const person = usePerson();
  return useQuery({
    queryKey: ['job', id, 'lineage', api],
    queryFn: async () => {
      const at = api === undefined ? person.home : await person.at(api);
      return ok(at.api.GET('/api/v1/jobs/{job}/lineage', ofJob(id)));
    },
  });
}
