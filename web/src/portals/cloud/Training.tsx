// Federated training at the coordinator: the jobs, and the models that came out of them.
import { Button, Card, Group, Stack, Table, Text, Title } from '@mantine/core';
import { useMutation } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { JobLine } from '../../features/training/Progress';
import { useJobs } from '../../features/training/queries';
import type { Job } from '../../features/training/series';
import type { Bytes } from '../../lib/bytes';
import { number } from '../../lib/format';
import { saveFile } from '../../lib/save';
import { usePerson } from '../../session/use';
import { Answer, Empty, Failure, Page, Scroll } from '../../ui/page';

export function Training() {
  const { t } = useTranslation();
  const jobs = useJobs();
  return (
    <Page
      title={t('nav.training')}
      aside={
        <Button component={Link} to="/cloud/training/new">
          {t('f.c.start')}
        </Button>
      }
    >
      <Text maw={720}>{t('f.c.text')}</Text>
      <Answer query={jobs}>
        {(list) => (
          <Stack gap="xl">
            <Stack gap="sm">
              <Title order={2} size="h4">
                {t('f.c.jobs')}
              </Title>
              {list.length === 0 && <Empty>{t('f.c.noJobs')}</Empty>}
              {list.map((job) => (
                <Card withBorder key={job.job} component="article" aria-label={job.purpose}>
                  <JobLine job={job} />
                  <Group justify="flex-end" mt="sm">
                    <Button
                      component={Link}
                      to={`/cloud/training/${job.job}`}
                      variant="default"
                      aria-label={`${t('f.show')}: ${job.purpose}`}
                    >
                      {t('f.show')}
                    </Button>
                  </Group>
                </Card>
              ))}
            </Stack>
            <Models jobs={list.filter(({ stage }) => stage === 'done')} />
          </Stack>
        )}
      </Answer>
    </Page>
  );
}

function Models({ jobs }: { jobs: Job[] }) {
  const { t } = useTranslation();
  return (
    <Stack gap="sm">
      <Title order={2} size="h4">
        {t('f.c.models')}
      </Title>
      {jobs.length === 0 ? (
        <Empty>{t('f.c.noModels')}</Empty>
      ) : (
        <Scroll label={t('f.c.models')}>
          <Table miw={820}>
            <Table.Thead>
              <Table.Tr>
                <Table.Th scope="col">{t('f.plan.purpose')}</Table.Th>
                <Table.Th scope="col">{t('f.h.left.digest')}</Table.Th>
                <Table.Th scope="col">{t('f.c.finished')}</Table.Th>
                <Table.Th scope="col">{t('f.c.lastFigures')}</Table.Th>
                <Table.Th scope="col">{t('f.c.download')}</Table.Th>
              </Table.Tr>
            </Table.Thead>
            <Table.Tbody>
              {jobs.map((job) => (
                <Model key={job.job} job={job} />
              ))}
            </Table.Tbody>
          </Table>
        </Scroll>
      )}
    </Stack>
  );
}

function Model({ job }: { job: Job }) {
  const figures = job.history.at(-1)?.metrics ?? [];
  return (
    <Table.Tr>
      <Table.Th scope="row" className="wrap">
        <Link to={`/cloud/training/${job.job}` as never}>{job.purpose}</Link>
      </Table.Th>
      <Table.Td className="mono">{job.model}</Table.Td>
      <Table.Td>{job.rounds}</Table.Td>
      <Table.Td>
        {figures.map(({ name, value }) => `${name} ${number(value, 3)}`).join(', ') || '–'}
      </Table.Td>
      <Table.Td>
        <Download job={job} />
      </Table.Td>
    </Table.Tr>
  );
}

/** The model as a file for other programs (safetensors). */
export function Download({ job }: { job: Job }) {
  const { t } = useTranslation();
  const person = usePerson();
  const load = useMutation({
    mutationFn: async () => {
      const at = await person.at(job.coordinator_api);
      const answer = await at.raw(`/jobs/${job.job}/export`);
      const bytes = new Uint8Array(await answer.arrayBuffer()) as Bytes;
      saveFile(`model-${job.model.slice(0, 8)}`, 'application/x-safetensors', bytes);
    },
  });
  return (
    <>
      <Button
        variant="default"
        loading={load.isPending}
        aria-label={t('f.c.downloadOf', { purpose: job.purpose })}
        onClick={() => load.mutate()}
      >
        {t('f.c.download')}
      </Button>
      {load.error && <Failure error={load.error} />}
    </>
  );
}
