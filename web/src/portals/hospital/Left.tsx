// What has left the site: every reading of records that the hospital keeps.
import { Button, Group, Stack, Switch, Table, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useNames } from '../../features/care/names';
import { dateTime } from '../../lib/format';
import { usePerson } from '../../session/use';
import { Answer, Empty, Page } from '../../ui/page';
import { type Patient, type Reading, readings, usePatientName, usePatients } from './queries';

const SHOWN = 50;

export function Left() {
  const { t } = useTranslation();
  const patients = usePatients();
  return (
    <Page title={t('nav.h.left')}>
      <Text maw={720}>
        {t('h.left.text')} <Link to={'/hospital/training' as never}>{t('f.h.leftElsewhere')}</Link>
      </Text>
      <Answer query={patients}>{(list) => <Readings patients={list} />}</Answer>
    </Page>
  );
}

function Readings({ patients }: { patients: Patient[] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const [done, setDone] = useState(0);
  const found = useQuery({
    queryKey: ['receipts', 'hospital', patients.length],
    queryFn: () => readings(person, patients, setDone),
  });
  return (
    <Answer query={found} waiting={t('h.left.working', { done, count: patients.length })}>
      {(list) => (list.length === 0 ? <Empty>{t('h.left.none')}</Empty> : <List list={list} />)}
    </Answer>
  );
}

function List({ list }: { list: Reading[] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const [all, setAll] = useState(false);
  const [count, setCount] = useState(SHOWN);
  const outside = list.filter((reading) => reading.organisation !== person.organisation);
  const shown = all ? list : outside;
  return (
    <Stack>
      <Group justify="space-between">
        <Title order={2} size="h4">
          {t('h.left.list')} ({shown.length})
        </Title>
        <Switch
          label={t('h.left.own', { count: list.length - outside.length })}
          checked={all}
          onChange={(event) => setAll(event.currentTarget.checked)}
        />
      </Group>
      {shown.length === 0 ? (
        <Empty>{t('h.left.noneOutside')}</Empty>
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keys
        <section className="scroll" tabIndex={0} aria-label={t('h.left.list')}>
          <Table striped>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t('readers.who')}</Table.Th>
                <Table.Th scope="col">{t('h.left.whose')}</Table.Th>
                <Table.Th scope="col">{t('readers.what')}</Table.Th>
                <Table.Th scope="col">{t('when')}</Table.Th>
                <Table.Th scope="col">{t('readers.why')}</Table.Th>
                <Table.Th scope="col">{t('readers.proof')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {shown.slice(0, count).map((reading) => (
                <Row key={reading.entry} reading={reading} />
              ))}
            </Table.Tbody>
          </Table>
        </section>
      )}
      {shown.length > count && (
        <Button variant="default" onClick={() => setCount(count + SHOWN)}>
          {t('more', { count: shown.length - count })}
        </Button>
      )}
    </Stack>
  );
}

function Row({ reading }: { reading: Reading }) {
  const { t } = useTranslation();
  const who = useNames();
  const patient = usePatientName();
  return (
    <Table.Tr>
      <Table.Td>
        {who(reading.reader, reading.reader_role)}
        <Text size="sm" c="dimmed">
          {t(`role.${reading.reader_role}`)}, {who(reading.organisation)}
        </Text>
      </Table.Td>
      <Table.Td>
        <Link to={`/hospital/patients/${reading.patient.alias}` as never}>
          {patient(reading.patient)}
        </Link>
      </Table.Td>
      <Table.Td>{t('records', { count: reading.records.length })}</Table.Td>
      <Table.Td>{dateTime(reading.at)}</Table.Td>
      <Table.Td>{t(`purpose.${reading.purpose}`)}</Table.Td>
      <Table.Td>{t('entry', { number: reading.entry })}</Table.Td>
    </Table.Tr>
  );
}
