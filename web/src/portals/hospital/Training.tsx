// Federated training at this hospital: the images that it offers, and the jobs proposed to it.
import { Button, Card, Group, Stack, Table, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { JobLine } from '../../features/training/Progress';
import { type DataSet, useDataSets, useJobs } from '../../features/training/queries';
import type { Job } from '../../features/training/series';
import { dateTime, number } from '../../lib/format';
import { usePerson } from '../../session/use';
import { Answer, Empty, Page, Scroll } from '../../ui/page';
import { OfferForm } from './OfferForm';

export function Training() {
  const { t } = useTranslation();
  const person = usePerson();
  const jobs = useJobs();
  return (
    <Page title={t('nav.training')}>
      <Text maw={720}>{t('f.h.text')}</Text>
      <Stack gap="sm">
        <Title order={2} size="h4">
          {t('f.h.jobs')}
        </Title>
        <Answer query={jobs}>
          {(list) => {
            const ours = list.filter(({ sites }) =>
              sites.some(({ site }) => site === person.organisation),
            );
            if (ours.length === 0) return <Empty>{t('f.h.noJobs')}</Empty>;
            return (
              <Stack>
                {ours.map((job) => (
                  <JobCard key={job.job} job={job} />
                ))}
              </Stack>
            );
          }}
        </Answer>
      </Stack>
      <Sets />
    </Page>
  );
}

function JobCard({ job }: { job: Job }) {
  const { t } = useTranslation();
  const { organisation } = usePerson();
  const decision = job.sites.find(({ site }) => site === organisation)?.decision;
  const waits = !decision && job.stage !== 'done';
  return (
    <Card withBorder component="article" aria-label={job.purpose}>
      <JobLine job={job} />
      <Group justify="space-between" mt="sm">
        <Text className={waits ? 'warn' : undefined} fw={waits ? 600 : undefined}>
          {t(waits ? 'f.h.decide' : decision === 'approve' ? 'f.h.in' : 'f.h.out')}
        </Text>
        <Button
          component={Link}
          to={`/hospital/training/${job.job}`}
          variant={waits ? 'filled' : 'default'}
          aria-label={`${t('f.show')}: ${job.purpose}`}
        >
          {t('f.show')}
        </Button>
      </Group>
    </Card>
  );
}

function Sets() {
  const { t } = useTranslation();
  const person = usePerson();
  const sets = useDataSets();
  const [offering, setOffering] = useState(false);
  const [offered, setOffered] = useState<DataSet>();
  const count = offered?.training_images.reduce((sum, n) => sum + n, 0);
  return (
    <Stack gap="sm">
      <Group justify="space-between">
        <Title order={2} size="h4">
          {t('f.h.sets')}
        </Title>
        <Button variant="default" onClick={() => setOffering(true)}>
          {t('f.h.offer')}
        </Button>
      </Group>
      <Text role="status">{count === undefined ? '' : t('f.h.offer.done', { count })}</Text>
      <OfferForm
        opened={offering}
        close={() => setOffering(false)}
        done={(set) => {
          setOffered(set);
          setOffering(false);
        }}
      />
      <Answer query={sets}>
        {(list) => {
          const ours = list.filter(({ owner }) => owner === person.organisation).reverse();
          if (ours.length === 0) return <Empty>{t('f.h.noSets')}</Empty>;
          return (
            <Stack>
              {ours.map((set) => (
                <SetCard key={set.data_set} set={set} />
              ))}
            </Stack>
          );
        }}
      </Answer>
    </Stack>
  );
}

function SetCard({ set }: { set: DataSet }) {
  const { t } = useTranslation();
  const title = t('f.h.set.title', { classes: set.classes.join(', '), size: set.size_px });
  return (
    <Card withBorder component="article" aria-label={title}>
      <Title order={3} size="h5" className="wrap">
        {title}
      </Title>
      <Text size="sm" c="dimmed">
        {t('f.h.set.offered', { at: dateTime(set.offered) })}
      </Text>
      <Scroll label={title}>
        <Table miw={280}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t('f.h.set.class')}</Table.Th>
              <Table.Th scope="col">{t('f.h.set.train')}</Table.Th>
              <Table.Th scope="col">{t('f.h.set.test')}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {set.classes.map((name, at) => (
              <Table.Tr key={name}>
                <Table.Th scope="row">{name}</Table.Th>
                <Table.Td>{number(set.training_images[at] ?? 0, 0)}</Table.Td>
                <Table.Td>{number(set.test_images[at] ?? 0, 0)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
      <Text size="sm" c="dimmed" className="wrap">
        {t('f.h.set.version')}: <span className="mono">{set.data_set}</span>
      </Text>
    </Card>
  );
}
