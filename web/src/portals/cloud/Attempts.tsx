// Attempts that were refused, at every member's node, as they happen.
import { Alert, Stack, Table, Text, TextInput } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useNavigate, useSearch } from '@tanstack/react-router';
import { dateTime } from '../../lib/format';
import { useLedger } from '../../shell';
import { Empty, Failure, Page, Waiting } from '../../ui/page';
import { type Attempt, matching } from './attempts';
import { short, Wide } from './parts';
import { ATTEMPTS_LIMIT, othersOf, useAttempts, useWatch, useWho } from './queries';
import { useSay } from './say';
import { known } from './words';

export function Attempts() {
  const t = useSay();
  const ledger = useLedger();
  const home = ledger.data?.organisation;
  const others = (ledger.data?.members ?? []).filter((member) => member.organisation !== home);
  useWatch(othersOf(ledger.data));
  const { attempts, failed, error, pending } = useAttempts();
  const who = useWho();
  const { query = '' } = useSearch({ strict: false }) as { query?: string };
  const go = useNavigate();
  const why = ({ why: code }: Attempt): string => {
    const word = `problem.${code}`;
    return known(word) ? t(word) : code;
  };
  const whom = ({ who: id }: Attempt): string =>
    id ? (who(id) ?? short(id)) : t('cloud.attempts.nobody');
  const node = ({ at_node }: Attempt): string => who(at_node) ?? short(at_node);
  const found = matching(attempts ?? [], query, (one) => [whom(one), why(one), node(one)]);
  const cut = others.some(
    (member) =>
      (attempts ?? []).filter(({ at_node }) => at_node === member.organisation).length >=
      ATTEMPTS_LIMIT,
  );
  return (
    <Page title={t('nav.attempts')}>
      <Text maw={720}>
        {t('cloud.attempts.text')} {t('cloud.live')}
      </Text>
      <TextInput
        label={t('cloud.attempts.search')}
        value={query}
        maxLength={200}
        maw={400}
        onChange={(event) =>
          void go({
            to: '/cloud/attempts',
            search: { query: event.currentTarget.value || undefined } as never,
            replace: true,
          })
        }
      />
      {failed.length > 0 && (
        <Alert variant="outline" color="yellow" icon={<IconAlertTriangle aria-hidden />}>
          {t('cloud.unavailable', { names: failed.join(', ') })}
        </Alert>
      )}
      {attempts === undefined && (error ? <Failure error={error} /> : pending && <Waiting />)}
      {attempts !== undefined && found.length === 0 && (
        <Empty>{t(query ? 'cloud.store.noMatch' : 'cloud.attempts.none')}</Empty>
      )}
      {found.length > 0 && (
        <Stack gap="xs">
          <Text role="status">
            {t('cloud.attempts.found', {
              count: found.reduce((sum, { count }) => sum + count, 0),
            })}
          </Text>
          <Wide name={t('nav.attempts')}>
            <Table striped miw={900}>
              <Table.Thead>
                <Table.Tr>
                  <Table.Th scope="col" w={125}>
                    {t('cloud.attempts.last')}
                  </Table.Th>
                  <Table.Th scope="col">{t('cloud.attempts.who')}</Table.Th>
                  <Table.Th scope="col" w={200}>
                    {t('cloud.attempts.what')}
                  </Table.Th>
                  <Table.Th scope="col">{t('cloud.attempts.why')}</Table.Th>
                  <Table.Th scope="col" w={150}>
                    {t('cloud.attempts.where')}
                  </Table.Th>
                  <Table.Th scope="col">{t('cloud.attempts.count')}</Table.Th>
                </Table.Tr>
              </Table.Thead>
              <Table.Tbody>
                {found.map((one) => (
                  <Table.Tr
                    key={[one.at_node, one.first, one.who, one.what, one.why, one.where].join()}
                  >
                    <Table.Td>
                      {dateTime(one.at)}
                      {one.first !== one.at && (
                        <Text size="sm" c="dimmed">
                          {t('cloud.attempts.first', { at: dateTime(one.first) })}
                        </Text>
                      )}
                    </Table.Td>
                    <Table.Td className="wrap">{whom(one)}</Table.Td>
                    <Table.Td className="mono">{one.what}</Table.Td>
                    <Table.Td className="wrap">
                      {why(one)}
                      <Text size="sm" c="dimmed">
                        {one.why}
                      </Text>
                    </Table.Td>
                    <Table.Td className="wrap">
                      <span className="mono">{one.where}</span>
                      <Text size="sm" c="dimmed">
                        {node(one)}
                      </Text>
                    </Table.Td>
                    <Table.Td>{one.count}</Table.Td>
                  </Table.Tr>
                ))}
              </Table.Tbody>
            </Table>
          </Wide>
          {cut && (
            <Text size="sm" c="dimmed">
              {t('cloud.attempts.more', { count: ATTEMPTS_LIMIT })}
            </Text>
          )}
        </Stack>
      )}
    </Page>
  );
}
