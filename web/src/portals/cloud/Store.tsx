// The sealed store: whose records this cloud keeps copies of, found by name or number.
import { Badge, Group, NativeSelect, Stack, Table, Text, TextInput } from '@mantine/core';
import { useDebouncedValue } from '@mantine/hooks';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { date } from '../../lib/format';
import { useLedger } from '../../shell';
import { Answer, Empty, Page } from '../../ui/page';
import { short, Wide } from './parts';
import { useReplicas, useWatch, useWho } from './queries';
import { useSay } from './say';

/** A patient number, or its beginning. */
const NUMBER = /^[0-9a-f]{4,32}$/i;
const TYPING_MS = 200;

interface Wish {
  query?: string;
  hospital?: string;
}

export function Store() {
  const t = useSay();
  useWatch();
  const who = useWho();
  const ledger = useLedger();
  const { query = '', hospital = '' } = useSearch({ strict: false }) as Wish;
  const go = useNavigate();
  const [typed] = useDebouncedValue(query.trim(), TYPING_MS);
  // Names are searched by the node, numbers here: the node knows them as numbers only.
  const numbered = NUMBER.test(typed);
  const replicas = useReplicas(numbered ? '' : typed);
  const change = (wish: Wish): void =>
    void go({
      to: '/cloud/store',
      search: { query, hospital, ...wish } as never,
      replace: true,
    });
  const hospitals = (ledger.data?.members ?? []).filter(({ roles }) => roles.includes('hospital'));
  return (
    <Page title={t('nav.store')}>
      <Text maw={720}>{t('cloud.store.text')}</Text>
      <Group align="flex-end">
        <TextInput
          label={t('cloud.store.search')}
          value={query}
          maxLength={200}
          w={{ base: '100%', sm: 320 }}
          onChange={(event) => change({ query: event.currentTarget.value })}
        />
        <NativeSelect
          label={t('cloud.store.hospital')}
          value={hospital}
          onChange={(event) => change({ hospital: event.currentTarget.value })}
          data={[
            { value: '', label: t('cloud.all') },
            ...hospitals.map(({ organisation, name }) => ({ value: organisation, label: name })),
          ]}
        />
      </Group>
      <Answer query={replicas}>
        {(list) => {
          const found = list.filter(
            (one) =>
              (!hospital || one.custodian === hospital) &&
              (!numbered ||
                one.alias.startsWith(typed.toLowerCase()) ||
                one.name?.toLowerCase().includes(typed.toLowerCase())),
          );
          if (found.length === 0)
            return (
              <Empty>{t(typed || hospital ? 'cloud.store.noMatch' : 'cloud.store.none')}</Empty>
            );
          return (
            <Stack gap="xs">
              <Text role="status">{t('cloud.store.found', { count: found.length })}</Text>
              <Wide name={t('nav.store')}>
                <Table striped miw={720}>
                  <Table.Thead>
                    <Table.Tr>
                      <Table.Th scope="col">{t('cloud.store.patient')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.requests.whose')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.store.hospital')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.store.records')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.store.account')}</Table.Th>
                      <Table.Th scope="col">{t('cloud.store.since')}</Table.Th>
                    </Table.Tr>
                  </Table.Thead>
                  <Table.Tbody>
                    {found.map((one) => (
                      <Table.Tr key={one.alias}>
                        <Table.Td className="wrap">
                          <Link to={`/cloud/store/${one.alias}` as never}>
                            {one.name ?? t('cloud.store.unnamed')}
                          </Link>
                        </Table.Td>
                        <Table.Td className="mono">{short(one.alias)}</Table.Td>
                        <Table.Td>{who(one.custodian) ?? short(one.custodian)}</Table.Td>
                        <Table.Td>{one.records}</Table.Td>
                        <Table.Td>
                          <Badge variant="outline" color="gray">
                            {t(one.patient ? 'cloud.store.linked' : 'cloud.store.unlinked')}
                          </Badge>
                        </Table.Td>
                        <Table.Td>{date(one.opened)}</Table.Td>
                      </Table.Tr>
                    ))}
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
