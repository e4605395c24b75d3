// Every prescription given, to search by patient, medicine or reference.
import { Card, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import { Link, useNavigate, useSearch } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { useNames } from '../../features/care/names';
import { usePrescriptions } from '../../features/care/usePrescriptions';
import { dateTime } from '../../lib/format';
import { reference } from '../../records/open';
import { Answer, Empty, Page } from '../../ui/page';

export function Prescriptions() {
  const { t } = useTranslation();
  const { query = '' } = useSearch({ strict: false }) as { query?: string };
  const go = useNavigate();
  const prescriptions = usePrescriptions();
  const name = useNames();
  const wanted = query.trim().toLowerCase();
  return (
    <Page title={t('nav.prescriptions')}>
      <TextInput
        label={t('prescriptions.search')}
        value={query}
        maw={480}
        onChange={(event) =>
          void go({
            to: '/doctor/prescriptions',
            search: { query: event.currentTarget.value || undefined } as never,
            replace: true,
          })
        }
      />
      <Answer query={prescriptions}>
        {(all) => {
          const found = all.filter(({ item, patient, view }) =>
            [
              item.title,
              patient,
              reference(view.record),
              ...item.facts.map(([, text]) => text),
            ].some((text) => text.toLowerCase().includes(wanted)),
          );
          if (found.length === 0)
            return (
              <Empty>{t(all.length === 0 ? 'prescriptions.none' : 'prescriptions.noMatch')}</Empty>
            );
          return (
            <Stack gap="xs">
              <Text role="status">{t('prescriptions.found', { count: found.length })}</Text>
              {found.map(({ item, patient, view, custodian }) => (
                <Card
                  withBorder
                  key={view.record}
                  component={Link}
                  to={`/doctor/prescriptions/${view.record}`}
                  className="card-link"
                >
                  <Group justify="space-between" align="flex-start">
                    <Title order={2} size="h5" className="wrap">
                      {item.title}
                    </Title>
                    <Text c="dimmed">{dateTime(view.at)}</Text>
                  </Group>
                  <Text className="wrap">
                    {patient} · {name(custodian)}
                  </Text>
                  <Text size="sm" className="wrap">
                    {item.facts.find(([fact]) => fact === 'dose')?.[1]}
                  </Text>
                </Card>
              ))}
            </Stack>
          );
        }}
      </Answer>
    </Page>
  );
}
