// All patients of the hospital: the way to their sealed records.
import { Badge, Button, Card, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { date } from '../../lib/format';
import { Answer, Empty, Page } from '../../ui/page';
import { type Patient, shortOf, usePatientName, usePatients } from './queries';

const SHOWN = 50;

/** Patients whose name or short number contains what was typed. */
export function matching(patients: Patient[], query: string): Patient[] {
  const wanted = query.trim().toLowerCase();
  return patients.filter(
    ({ name, alias }) => name?.toLowerCase().includes(wanted) || alias.startsWith(wanted),
  );
}

export function Patients() {
  const { t } = useTranslation();
  const patients = usePatients();
  return (
    <Page title={t('nav.h.patients')}>
      <Text maw={720}>{t('h.patients.text')}</Text>
      <Answer query={patients}>
        {(list) =>
          list.length === 0 ? (
            <Empty>
              <Text>{t('h.patients.none')}</Text>
              <Button component={Link} to="/hospital/intake" mt="sm">
                {t('nav.h.intake')}
              </Button>
            </Empty>
          ) : (
            <List list={list} />
          )
        }
      </Answer>
    </Page>
  );
}

function List({ list }: { list: Patient[] }) {
  const { t } = useTranslation();
  const name = usePatientName();
  const [query, setQuery] = useState('');
  const [count, setCount] = useState(SHOWN);
  const found = matching(list, query);
  return (
    <Stack>
      <TextInput
        maw={420}
        label={t('h.search')}
        value={query}
        onChange={(event) => setQuery(event.currentTarget.value)}
      />
      <Text role="status">{t('h.home.patients', { count: found.length })}</Text>
      {found.length === 0 && <Empty>{t('h.patients.noMatch')}</Empty>}
      {found.slice(0, count).map((patient) => (
        <Card
          withBorder
          key={patient.alias}
          component={Link}
          to={`/hospital/patients/${patient.alias}`}
          className="card-link"
          padding="sm"
        >
          <Group justify="space-between" align="flex-start">
            <Title order={2} size="h5" className="wrap">
              {name(patient)}
            </Title>
            {patient.patient && (
              <Badge variant="outline" color="gray" className="good">
                {t('h.patients.linked')}
              </Badge>
            )}
          </Group>
          <Text c="dimmed">
            {t('person.alias', { number: shortOf(patient.alias) })} ·{' '}
            {t('records', { count: patient.records })} · {date(patient.opened)}
          </Text>
        </Card>
      ))}
      {found.length > count && (
        <Button variant="default" onClick={() => setCount(count + SHOWN)}>
          {t('more', { count: found.length - count })}
        </Button>
      )}
    </Stack>
  );
}
