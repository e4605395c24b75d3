// One's own standing; asked again every few seconds while it waits for a decision.
import { useQuery } from '@tanstack/react-query';
import { ok } from '../../api/client';
import { usePerson } from '../../session/use';

export function useMe() {
  const person = usePerson();
  return useQuery({
    queryKey: ['me', 'standing'],
    queryFn: () => ok(person.home.api.GET('/api/v1/me')),
    // A pending profile may not listen to events yet.
    refetchInterval: ({ state }) => (state.data?.standing.status === 'pending' ? 3_000 : false),
  });
}
