// Who looked at my data: every reading, with purpose and time; and who may look now.
import { Card, Group, Stack, Switch, Table, Text, Title } from '@mantine/core';
import { useQueries } from '@tanstack/react-query';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ok, type Schema } from '../../api/client';
import { useApiOf, useNames } from '../../features/care/names';
import {
  type OwnAlias,
  useAccesses,
  useConsultations,
  useOpenGrants,
  useOwnAliases,
  useSealed,
} from '../../features/care/queries';
import { counts } from '../../features/record/sections';
import { date, dateTime } from '../../lib/format';
import { usePerson } from '../../session/use';
import { Answer, Empty, Failure, Page, Scroll, Waiting } from '../../ui/page';
import { Withdraw } from './AccessPage';

export function Readers() {
  const { t } = useTranslation();
  const aliases = useOwnAliases();
  return (
    <Page title={t('nav.readers')}>
      <Text maw={720}>{t('readers.text')}</Text>
      <Allowed />
      <Answer query={aliases}>
        {(mine) =>
          mine.length === 0 ? <Empty>{t('access.notLinked')}</Empty> : <Readings mine={mine} />
        }
      </Answer>
    </Page>
  );
}

/** Who may read now. */
function Allowed() {
  const { t } = useTranslation();
  const accesses = useAccesses();
  const consultations = useConsultations();
  const apiOf = useApiOf();
  const name = useNames();
  const granted = useOpenGrants(consultations.data ?? []);
  const open = (consultations.data ?? []).filter((one) => granted.has(one.access));
  const own = (accesses.data ?? []).filter((access) => access.open && !access.records);
  if (open.length + own.length === 0) return null;
  return (
    <Card withBorder>
      <Title order={2} size="h4">
        {t('readers.allowed')}
      </Title>
      <ul className="plain">
        {open.map((one) => (
          <li key={one.consultation}>
            <Group justify="space-between" py="xs">
              <Text className="wrap">
                {t('readers.doctor', {
                  name: name(one.doctor, 'doctor'),
                  count: one.records.length,
                  at: date(one.until),
                })}
              </Text>
              <Withdraw
                access={one.access}
                api={apiOf(one.custodian) ?? ''}
                what={name(one.doctor, 'doctor')}
              />
            </Group>
          </li>
        ))}
        {own.map((access) => (
          <li key={access.access}>
            <Group justify="space-between" py="xs">
              <Text className="wrap">
                {t('readers.own', { name: name(access.custodian), at: date(access.until) })}
              </Text>
              <Withdraw
                access={access.access}
                api={apiOf(access.custodian) ?? ''}
                what={t('you')}
              />
            </Group>
          </li>
        ))}
      </ul>
    </Card>
  );
}

type Reading = Schema['Receipt'] & { own: OwnAlias };

function Readings({ mine }: { mine: OwnAlias[] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const [all, setAll] = useState(false);
  const answers = useQueries({
    queries: mine.map((own) => ({
      queryKey: ['receipts', own.alias],
      queryFn: async (): Promise<Reading[]> => {
        const at = await person.at(own.api);
        const found = await person.list((after) =>
          ok(
            at.api.GET('/api/v1/patients/{alias}/receipts', {
              params: { path: { alias: own.alias }, query: { after, limit: 500 } },
            }),
          ),
        );
        return found.map((receipt) => ({ ...receipt, own }));
      },
    })),
  });
  const error = answers.find((answer) => answer.error)?.error;
  if (answers.some((answer) => answer.isPending)) return <Waiting />;
  const receipts = answers.flatMap((answer) => answer.data ?? []).sort((a, b) => b.at - a.at);
  const others = receipts.filter((receipt) => receipt.reader !== person.principal);
  const shown = all ? receipts : others;
  return (
    <Stack>
      {error && <Failure error={error} />}
      <Group justify="space-between">
        <Title order={2} size="h4">
          {t('readers.list')}
        </Title>
        <Switch
          label={t('readers.mine', { count: receipts.length - others.length })}
          checked={all}
          onChange={(event) => setAll(event.currentTarget.checked)}
        />
      </Group>
      {shown.length === 0 ? (
        <Empty>{t('readers.none')}</Empty>
      ) : (
        <Scroll label={t('readers.list')}>
          <Table striped>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t('readers.who')}</Table.Th>
                <Table.Th scope="col">{t('readers.what')}</Table.Th>
                <Table.Th scope="col">{t('when')}</Table.Th>
                <Table.Th scope="col">{t('readers.why')}</Table.Th>
                <Table.Th scope="col">{t('readers.proof')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {shown.map((receipt) => (
                <Row key={`${receipt.own.alias}${receipt.entry}`} receipt={receipt} />
              ))}
            </Table.Tbody>
          </Table>
        </Scroll>
      )}
    </Stack>
  );
}

function Row({ receipt }: { receipt: Reading }) {
  const { t } = useTranslation();
  const name = useNames();
  const { own } = receipt;
  const sealed = useSealed({ api: own.api, alias: own.alias, purpose: 'patient-request' });
  const kinds = new Map((sealed.data ?? []).map((record) => [record.record, record.kind]));
  const read = receipt.records.flatMap((record) => kinds.get(record) ?? []);
  const what = [...counts(read)].map(([section, count]) => `${t(`section.${section}`)} (${count})`);
  return (
    <Table.Tr>
      <Table.Td>
        {name(receipt.reader, receipt.reader_role)}
        <br />
        <Text span size="sm" c="dimmed">
          {t(`role.${receipt.reader_role}`)}
        </Text>
      </Table.Td>
      <Table.Td>
        {what.length > 0 ? what.join(', ') : t('records', { count: receipt.records.length })}
      </Table.Td>
      <Table.Td>{dateTime(receipt.at)}</Table.Td>
      <Table.Td>{t(`purpose.${receipt.purpose}`)}</Table.Td>
      <Table.Td>{t('entry', { number: receipt.entry })}</Table.Td>
    </Table.Tr>
  );
}
