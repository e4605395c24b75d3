// A job as it happens: where it stands, what each hospital does, its figures round by round.
import { Alert, Badge, Group, SimpleGrid, Stack, Table, Text, Title } from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { number, time } from '../../lib/format';
import { Empty, Scroll } from '../../ui/page';
import { Chart } from './Chart';
import { usePlan, useUpdates } from './queries';
import { type Job, linesOf, roughly, standingOf } from './series';

const FIGURES = ['loss', 'auc', 'accuracy'] as const;

/** Where a job stands, in one sentence. */
export function useStage(): (job: Job) => { text: string; tone: string } {
  const { t } = useTranslation();
  return (job) => {
    const standing = standingOf(job, Date.now());
    const round = Math.min(job.round + 1, job.rounds);
    const tone = { waiting: 'warn', impossible: 'bad', training: '', late: 'warn', done: 'good' };
    return {
      text: t(`f.stage.${standing}`, { round, rounds: job.rounds }),
      tone: tone[standing],
    };
  };
}

export function Progress({ job, live }: { job: Job; live: boolean }) {
  const { t } = useTranslation();
  const { text, tone } = useStage()(job);
  const left = job.stage === 'done' || job.remaining_ms == null ? null : roughly(job.remaining_ms);
  return (
    <Stack gap="sm">
      {!live && (
        <Alert variant="outline" color="yellow" icon={<IconAlertTriangle aria-hidden />}>
          {t('f.ledgerOnly')}
        </Alert>
      )}
      <Text role="status" fw={600} className={tone}>
        {text}
        {left && ` · ${t(`f.left.${left.unit}`, { count: left.count })}`}
      </Text>
      {job.stage === 'open' && job.deadline != null && (
        <Text size="sm" c="dimmed">
          {t('f.closes', {
            at: time(job.deadline),
            quorum: job.quorum,
            sites: job.sites.length,
          })}
        </Text>
      )}
      <Sites job={job} />
      <Figures job={job} />
    </Stack>
  );
}

const TONES: Partial<Record<Job['sites'][number]['activity'], string>> = {
  missing: 'bad',
  undecided: 'warn',
  sent: 'good',
};

function Sites({ job }: { job: Job }) {
  const { t } = useTranslation();
  return (
    <Scroll label={t('f.sites')}>
      <Table miw={420}>
        <Table.Thead>
          <Table.Tr>
            <Table.Th scope="col">{t('f.site')}</Table.Th>
            <Table.Th scope="col">{t('f.doing')}</Table.Th>
            <Table.Th scope="col">{t('f.images')}</Table.Th>
            <Table.Th scope="col">{t('f.counted')}</Table.Th>
          </Table.Tr>
        </Table.Thead>
        <Table.Tbody>
          {job.sites.map((site) => {
            const done = job.stage === 'done' && site.activity === 'waiting';
            return (
              <Table.Tr key={site.site}>
                <Table.Th scope="row" className="wrap">
                  {site.name}
                </Table.Th>
                <Table.Td className="wrap">
                  <span className={TONES[site.activity]}>
                    {t(`f.activity.${done ? 'done' : site.activity}`)}
                  </span>
                  {site.why && (
                    <Text size="sm" c="dimmed">
                      {site.why}
                    </Text>
                  )}
                </Table.Td>
                <Table.Td>{number(site.samples, 0)}</Table.Td>
                <Table.Td>
                  {site.counted} / {Math.min(job.round, job.rounds)}
                </Table.Td>
              </Table.Tr>
            );
          })}
        </Table.Tbody>
      </Table>
    </Scroll>
  );
}

function Figures({ job }: { job: Job }) {
  const { t } = useTranslation();
  const updates = useUpdates(job.job);
  const plan = usePlan(job.job);
  const charts = FIGURES.map((name) => ({
    name,
    lines: linesOf(name, job, updates.data ?? [], t('f.pooled')),
  })).filter(({ lines }) => lines.length > 0);
  return (
    <Stack gap="sm">
      <Title order={2} size="h4">
        {t('f.progress')}
      </Title>
      {charts.length === 0 ? (
        <Empty>{t('f.chart.none')}</Empty>
      ) : (
        <>
          <SimpleGrid cols={{ base: 1, md: 2 }} spacing="xl">
            {charts.map(({ name, lines }) => (
              <Chart
                key={name}
                title={t(`f.metric.${name}`)}
                note={t(`f.chart.${name}`)}
                lines={lines}
              />
            ))}
          </SimpleGrid>
          {plan.data && (
            <Text size="sm" c="dimmed">
              {t('f.chart.few', {
                count: Math.max(0, ...plan.data.metrics.map((metric) => metric.minimumImages)),
              })}
            </Text>
          )}
        </>
      )}
    </Stack>
  );
}

/** A job in a list: what for, and where it stands. */
export function JobLine({ job, children }: { job: Job; children?: React.ReactNode }) {
  const { text, tone } = useStage()(job);
  return (
    <Stack gap={4}>
      <Group gap="xs" justify="space-between">
        <Text fw={700} className="wrap" flex={1}>
          {job.purpose}
        </Text>
        {children && <Badge variant="outline">{children}</Badge>}
      </Group>
      <Text className={tone}>{text}</Text>
      <Text size="sm" c="dimmed" className="wrap">
        {job.coordinator_name} · {job.sites.map(({ name }) => name).join(', ')}
      </Text>
    </Stack>
  );
}
