// Requests for access as the ledger tells them: who asked for what, and how the hospitals decided.
import { Badge, NativeSelect, Stack, Table, Text } from '@mantine/core';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { date, dateTime } from '../../lib/format';
import { Answer, Empty, Page } from '../../ui/page';
import { short, Wide } from './parts';
import { usePrincipals, useReplicas, useWatch, useWatchedAccesses, useWho } from './queries';
import { useSay } from './say';

const STATES = ['requested', 'approved', 'refused', 'revoked'] as const;
const CLASS = { requested: 'warn', approved: 'good', refused: 'bad', revoked: 'bad' } as const;

export function Requests() {
  const t = useSay();
  useWatch();
  const accesses = useWatchedAccesses();
  const who = useWho();
  const principals = usePrincipals();
  const replicas = useReplicas('');
  const roles = new Map((principals.data ?? []).map((one) => [one.principal, one.role]));
  const houses = new Map((replicas.data ?? []).map((one) => [one.alias, one.custodian]));
  const { state = '' } = useSearch({ strict: false }) as { state?: string };
  const go = useNavigate();
  return (
    <Page title={t('nav.requests')}>
      <Text maw={720}>{t('cloud.requests.text')}</Text>
      <NativeSelect
        label={t('cloud.requests.state')}
        maw={320}
        value={state}
        onChange={(event) =>
          void go({
            to: '/cloud/requests',
            search: { state: event.currentTarget.value || undefined } as never,
            replace: true,
          })
        }
        data={[
          { value: '', label: t('cloud.all') },
          ...STATES.map((value) => ({ value, label: t(`cloud.requests.${value}`) })),
        ]}
      />
      <Answer query={accesses}>
        {(list) => {
          const found = list.filter((one) => !state || one.state === state);
          if (found.length === 0) return <Empty>{t('cloud.requests.none')}</Empty>;
          return (
            <Stack gap="xs">
              <Text role="status">{t('cloud.requests.found', { count: found.length })}</Text>
              <Wide name={t('nav.requests')}>
                <Table striped miw={860}>
                  <Table.Thead>
                    <Table.Tr>
                      <Table.Th scope="col">{t('cloud.requests.who')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.requests.what')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.requests.whose')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.requests.why')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.requests.asked')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.requests.state')}</Table.Th>
                    </Table.Tr>
                  </Table.Thead>
                  <Table.Tbody>
                    {found.map((one) => {
                      const past = one.state === 'approved' && one.until <= Date.now();
                      const role = roles.get(one.holder);
                      const house = houses.get(one.alias);
                      return (
                        <Table.Tr key={one.access}>
                          <Table.Td className="wrap">
                            {who(one.holder) ?? short(one.holder)}
                            {role && (
                              <Text size="sm" c="dimmed">
                                {t(`role.${role}`)}
                              </Text>
                            )}
                          </Table.Td>
                          <Table.Td>
                            {one.records !== undefined
                              ? t('cloud.requests.named', { count: one.records })
                              : one.classes.map((name) => t(`cloud.class.${name}`)).join(', ')}
                          </Table.Td>
                          <Table.Td>
                            <span className="mono">{short(one.alias)}</span>
                            {house && (
                              <Text size="sm" c="dimmed">
                                {who(house) ?? short(house)}
                              </Text>
                            )}
                          </Table.Td>
                          <Table.Td>
                            {t(`cloud.purpose.${one.purpose}`)}
                            <Text size="sm" c="dimmed">
                              {t('until', { at: date(one.until) })}
                            </Text>
                          </Table.Td>
                          <Table.Td>{dateTime(one.requested)}</Table.Td>
                          <Table.Td>
                            <Badge
                              variant="outline"
                              color="gray"
                              className={past ? undefined : CLASS[one.state]}
                            >
                              {t(past ? 'cloud.requests.past' : `cloud.requests.${one.state}`)}
                            </Badge>
                            {one.reason && <Text size="sm">{t(`reason.${one.reason}`)}</Text>}
                            {one.at !== undefined && (
                              <Text size="sm" c="dimmed">
                                {dateTime(one.at)}
                              </Text>
                            )}
                          </Table.Td>
                        </Table.Tr>
                      );
                    })}
                  </Table.Tbody>
                </Table>
              </Wide>
            </Stack>
          );
        }}
      </Answer>
    </Page>
  );
}
