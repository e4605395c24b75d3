// Names for principals: members from the ledger, doctors from the directory. Everybody else has a
// role and a short number.
import { useQuery } from '@tanstack/react-query';
import { useTranslation } from 'react-i18next';
import { ok, type Schema } from '../../api/client';
import { usePerson } from '../../session/use';
import { useLedger } from '../../shell';

export function useDoctors() {
  const person = usePerson();
  return useQuery({
    queryKey: ['doctors'],
    enabled: person.role !== 'doctor',
    queryFn: () =>
      person.list((after) =>
        ok(person.home.api.GET('/api/v1/doctors', { params: { query: { after } } })),
      ),
  });
}

/** Gives a name to a principal or an organisation. */
export function useNames(): (principal: string, role?: Schema['Role']) => string {
  const { t } = useTranslation();
  const person = usePerson();
  const ledger = useLedger();
  const doctors = useDoctors();
  return (principal, role) => {
    if (principal === person.principal) return t('you');
    const member = ledger.data?.members.find((m) => m.organisation === principal);
    if (member) return member.name;
    const doctor = doctors.data?.find((d) => d.principal === principal);
    if (doctor?.name) return doctor.name;
    const short = principal.slice(0, 6).toUpperCase();
    return role ? `${t(`role.${role}`)} ${short}` : short;
  };
}

/** The address of a member's node. */
export function useApiOf(): (organisation: string) => string | undefined {
  const ledger = useLedger();
  return (organisation) => ledger.data?.members.find((m) => m.organisation === organisation)?.api;
}
