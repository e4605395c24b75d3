// One job at the coordinator: training as it happens, the plan, where the model comes from.
import { Group, Stack, Text, Title } from '@mantine/core';
import { useParams } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { Lineage } from '../../features/training/Lineage';
import { PlanWords } from '../../features/training/PlanWords';
import { Progress } from '../../features/training/Progress';
import { useCoordinatorEvents, useJob, usePlan } from '../../features/training/queries';
import type { Job } from '../../features/training/series';
import { Answer, Page } from '../../ui/page';
import { Download } from './Training';

export function TrainingJob() {
  const { t } = useTranslation();
  const { id } = useParams({ strict: false }) as { id: string };
  const job = useJob(id);
  useCoordinatorEvents(job.data?.job.coordinator_api);
  return (
    <Page title={job.data?.job.purpose ?? t('nav.training')}>
      <Answer query={job}>{(found) => <Detail {...found} />}</Answer>
    </Page>
  );
}

function Detail({ job, live }: { job: Job; live: boolean }) {
  const { t } = useTranslation();
  const plan = usePlan(job.job);
  return (
    <Stack gap="xl">
      <Progress job={job} live={live} />
      {job.stage === 'done' && (
        <section>
          <Group justify="space-between" mb="sm">
            <Title order={2} size="h4">
              {t('f.c.model')}
            </Title>
            <Download job={job} />
          </Group>
          <Text className="mono">{job.model}</Text>
        </section>
      )}
      <section>
        <Title order={2} size="h4" mb="sm">
          {t('f.plan')}
        </Title>
        <Answer query={plan}>
          {(known) => <PlanWords plan={known} coordinator={job.coordinator_name} />}
        </Answer>
      </section>
      <section>
        <Title order={2} size="h4" mb="sm">
          {t('f.lineage')}
        </Title>
        <Lineage job={job.job} />
      </section>
    </Stack>
  );
}
