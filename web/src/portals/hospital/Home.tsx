// The hospital's start: standing while it waits, then what there is to do.
import { Button, Card, Group, SimpleGrid, Stack, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { Standing } from '../../features/account/Standing';
import { useMe } from '../../features/account/useMe';
import { useJobs } from '../../features/training/queries';
import { usePerson } from '../../session/use';
import { useLedger } from '../../shell';
import { Answer, Page } from '../../ui/page';
import { usePatients, useRequests } from './queries';

export function Home() {
  const { t } = useTranslation();
  const me = useMe();
  const ledger = useLedger();
  const here = ledger.data?.members.find((m) => m.organisation === me.data?.organisation);
  return (
    <Page title={here?.name ?? t('hospital')}>
      <Answer query={me}>
        {(body) => (body.standing.status === 'authorised' ? <Work /> : <Standing me={body} />)}
      </Answer>
    </Page>
  );
}

function Work() {
  const { t } = useTranslation();
  const patients = usePatients();
  const requests = useRequests();
  const jobs = useJobs();
  const { organisation } = usePerson();
  return (
    <Stack>
      <Text maw={720}>{t('h.home.text')}</Text>
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        <Card withBorder>
          <Title order={2} size="h4">
            {t('nav.h.patients')}
          </Title>
          <Answer query={patients}>
            {(list) => <Text my="sm">{t('h.home.patients', { count: list.length })}</Text>}
          </Answer>
          <Group mt="auto">
            <Button component={Link} to="/hospital/intake">
              {t('nav.h.intake')}
            </Button>
            <Button component={Link} to="/hospital/patients" variant="default">
              {t('nav.h.patients')}
            </Button>
          </Group>
        </Card>
        <Card withBorder>
          <Title order={2} size="h4">
            {t('nav.h.requests')}
          </Title>
          <Answer query={requests}>
            {(list) => {
              const count = list.filter(({ status }) => status.status === 'requested').length;
              return (
                <Text my="sm" role="status" className={count > 0 ? 'warn' : undefined}>
                  {t('h.home.waiting', { count })}
                </Text>
              );
            }}
          </Answer>
          <Group mt="auto">
            <Button component={Link} to="/hospital/requests">
              {t('nav.h.requests')}
            </Button>
            <Button component={Link} to="/hospital/left" variant="default">
              {t('nav.h.left')}
            </Button>
          </Group>
        </Card>
        <Card withBorder>
          <Title order={2} size="h4">
            {t('nav.training')}
          </Title>
          <Answer query={jobs}>
            {(list) => {
              const count = list.filter(
                ({ stage, sites }) =>
                  stage !== 'done' &&
                  sites.some(({ site, decision }) => site === organisation && !decision),
              ).length;
              return (
                <Text my="sm" role="status" className={count > 0 ? 'warn' : undefined}>
                  {t('f.h.waiting', { count })}
                </Text>
              );
            }}
          </Answer>
          <Group mt="auto">
            <Button component={Link} to="/hospital/training" variant="default">
              {t('nav.training')}
            </Button>
          </Group>
        </Card>
      </SimpleGrid>
    </Stack>
  );
}
