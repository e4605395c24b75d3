// One job at this hospital: the plan and the decision on it, training as it happens, what the hospital
// gained, and every update that has left the site.
import { Button, Card, Group, Stack, Table, Text, Title } from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useParams } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Schema } from '../../api/client';
import { Lineage } from '../../features/training/Lineage';
import { PlanWords } from '../../features/training/PlanWords';
import { Progress } from '../../features/training/Progress';
import type { Plan } from '../../features/training/plan';
import {
  useCoordinatorEvents,
  useGain,
  useJob,
  usePlan,
  useUpdates,
} from '../../features/training/queries';
import type { Job, Update } from '../../features/training/series';
import { dateTime, number, size } from '../../lib/format';
import type { Decision } from '../../records/codes';
import { action } from '../../records/command';
import { usePerson } from '../../session/use';
import { Answer, Dialog, Empty, Failure, Page, Scroll } from '../../ui/page';

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
  const { organisation } = usePerson();
  const plan = usePlan(job.job);
  const own = job.sites.find(({ site }) => site === organisation);
  const undecided = own !== undefined && !own.decision && job.stage !== 'done';
  return (
    <Stack gap="xl">
      {own && (
        <Answer query={plan}>
          {(known) => <Deciding job={job} plan={known} decision={own.decision ?? undefined} />}
        </Answer>
      )}
      <Progress job={job} live={live} />
      {own && job.stage === 'done' && <Gain job={job} />}
      {own && <Left job={job} />}
      {!undecided && (
        <section>
          <Title order={2} size="h4" mb="sm">
            {t('f.plan')}
          </Title>
          <Answer query={plan}>
            {(known) => <PlanWords own plan={known} coordinator={job.coordinator_name} />}
          </Answer>
        </section>
      )}
      {job.stage === 'done' && (
        <section>
          <Title order={2} size="h4" mb="sm">
            {t('f.lineage')}
          </Title>
          <Lineage job={job.job} />
        </section>
      )}
    </Stack>
  );
}

function Deciding({ job, plan, decision }: { job: Job; plan: Plan; decision?: Decision }) {
  const { t } = useTranslation();
  const [asked, setAsked] = useState<Decision>();
  const [entry, setEntry] = useState<number>();
  const over = job.stage === 'done';
  return (
    <Stack gap="sm">
      <Text role="status">{entry === undefined ? '' : t('f.h.signed', { number: entry })}</Text>
      {decision ? (
        <Group>
          <Text fw={600}>{t(decision === 'approve' ? 'f.h.in' : 'f.h.out')}</Text>
          {!over && (
            <Button
              variant="default"
              onClick={() => setAsked(decision === 'approve' ? 'refuse' : 'approve')}
            >
              {t(decision === 'approve' ? 'f.h.leave' : 'f.h.rejoin')}
            </Button>
          )}
        </Group>
      ) : (
        !over && (
          <Card withBorder>
            <Stack>
              <Title order={2} size="h4" className="warn">
                {t('f.h.decide')}
              </Title>
              <PlanWords own plan={plan} coordinator={job.coordinator_name} />
              <Group>
                <Button onClick={() => setAsked('approve')}>{t('f.h.approve')}</Button>
                <Button variant="default" onClick={() => setAsked('refuse')}>
                  {t('f.h.refuse')}
                </Button>
              </Group>
            </Stack>
          </Card>
        )
      )}
      <Dialog
        title={t(asked === 'refuse' ? 'f.h.refuse.title' : 'f.h.approve.title', {
          purpose: job.purpose,
        })}
        opened={asked !== undefined}
        onClose={() => setAsked(undefined)}
      >
        {asked && (
          <Confirm
            job={job}
            plan={plan}
            decision={asked}
            decided={(number) => {
              setEntry(number);
              setAsked(undefined);
            }}
          />
        )}
      </Dialog>
    </Stack>
  );
}

function Confirm({
  job,
  plan,
  decision,
  decided,
}: {
  job: Job;
  plan: Plan;
  decision: Decision;
  decided: (entry: number) => void;
}) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const sign = useMutation({
    // What is signed is the plan whose words stand here, as this hospital's own node has it.
    mutationFn: () => person.submit(action.decideJob(job.job, plan.digest, decision)),
    onSuccess: async ({ entry }) => {
      await queries.invalidateQueries({ queryKey: ['job'] });
      await queries.invalidateQueries({ queryKey: ['jobs'] });
      decided(entry);
    },
  });
  return (
    <Stack>
      <Text>{t(`f.h.${decision}.text`)}</Text>
      {decision === 'approve' && <PlanWords own plan={plan} coordinator={job.coordinator_name} />}
      {sign.error && <Failure error={sign.error} />}
      <div>
        <Button loading={sign.isPending} onClick={() => sign.mutate()}>
          {t(`f.h.${decision}`)}
        </Button>
      </div>
    </Stack>
  );
}

function Gain({ job }: { job: Job }) {
  const { t } = useTranslation();
  const gain = useGain(job.job, true);
  return (
    <Stack gap="sm">
      <Title order={2} size="h4">
        {t('f.h.gain')}
      </Title>
      <Answer query={gain}>
        {(found) => (found ? <Gained gain={found} /> : <Empty>{t('f.h.gain.later')}</Empty>)}
      </Answer>
    </Stack>
  );
}

type Own = Schema['OwnFigures'];

function Gained({ gain }: { gain: Schema['GainView'] }) {
  const { t } = useTranslation();
  const { together, alone } = gain;
  const difference = together.auc != null && alone.auc != null ? together.auc - alone.auc : null;
  const more = difference === null ? 0 : Math.round(Math.abs(difference) * 100);
  const overlap =
    together.auc_95 != null &&
    alone.auc_95 != null &&
    together.auc_95[0]! <= alone.auc_95[1]! &&
    alone.auc_95[0]! <= together.auc_95[1]!;
  const auc = ({ auc: value, auc_95: range }: Own): string =>
    value == null
      ? '–'
      : `${number(value, 3)}${range ? ` (${number(range[0]!, 3)} – ${number(range[1]!, 3)})` : ''}`;
  const percent = (share: number): string => `${number(share * 100, 1)} %`;
  const rows: [string, (own: Own) => string][] = [
    [t('f.h.gain.auc'), auc],
    [t('f.h.gain.accuracy'), (own) => percent(own.accuracy)],
    [t('f.h.gain.balanced'), (own) => percent(own.balanced_accuracy)],
  ];
  return (
    <Stack gap="xs">
      <Text>{t('f.h.gain.text', { images: gain.images, patients: gain.patients })}</Text>
      {difference !== null && (
        <Text fw={600}>
          {t(more === 0 ? 'f.h.gain.same' : difference > 0 ? 'f.h.gain.better' : 'f.h.gain.worse', {
            more,
          })}
        </Text>
      )}
      {more > 0 && overlap && <Text className="warn">{t('f.h.gain.unsure')}</Text>}
      <Scroll label={t('f.h.gain')}>
        <Table miw={420}>
          <Table.Thead>
            <Table.Tr>
              <Table.Th scope="col">{t('f.h.gain.figure')}</Table.Th>
              <Table.Th scope="col">{t('f.h.gain.together')}</Table.Th>
              <Table.Th scope="col">{t('f.h.gain.alone')}</Table.Th>
            </Table.Tr>
          </Table.Thead>
          <Table.Tbody>
            {rows.map(([name, show]) => (
              <Table.Tr key={name}>
                <Table.Th scope="row">{name}</Table.Th>
                <Table.Td>{show(together)}</Table.Td>
                <Table.Td>{show(alone)}</Table.Td>
              </Table.Tr>
            ))}
          </Table.Tbody>
        </Table>
      </Scroll>
    </Stack>
  );
}

function Left({ job }: { job: Job }) {
  const { t } = useTranslation();
  const { organisation } = usePerson();
  const updates = useUpdates(job.job);
  return (
    <Stack gap="sm">
      <Title order={2} size="h4">
        {t('f.h.left')}
      </Title>
      <Answer query={updates}>
        {(list) => {
          const ours = list.filter(({ site }) => site === organisation).reverse();
          if (ours.length === 0) return <Empty>{t('f.h.left.none')}</Empty>;
          const bytes = ours.reduce((sum, update) => sum + update.payload_bytes, 0);
          return (
            <>
              <Text>{t('f.h.left.sum', { count: ours.length, size: size(bytes) })}</Text>
              <Scroll label={t('f.h.left')}>
                <Table miw={900} striped>
                  <Table.Thead>
                    <Table.Tr>
                      {(
                        [
                          'f.round',
                          'when',
                          'f.h.left.bytes',
                          'f.images',
                          'f.h.left.figures',
                        ] as const
                      ).map((word) => (
                        <Table.Th scope="col" key={word}>
                          {t(word)}
                        </Table.Th>
                      ))}
                      <Table.Th scope="col">{t('f.h.left.digest')}</Table.Th>
                      <Table.Th scope="col">{t('f.h.left.counted')}</Table.Th>
                      <Table.Th scope="col">{t('f.h.left.entry')}</Table.Th>
                    </Table.Tr>
                  </Table.Thead>
                  <Table.Tbody>
                    {ours.map((update) => (
                      <Sent key={update.entry} update={update} />
                    ))}
                  </Table.Tbody>
                </Table>
              </Scroll>
            </>
          );
        }}
      </Answer>
    </Stack>
  );
}

function Sent({ update }: { update: Update }) {
  const { t } = useTranslation();
  const figures = update.metrics.map(({ name, value }) => `${name} ${number(value, 3)}`);
  return (
    <Table.Tr>
      <Table.Th scope="row">{update.round + 1}</Table.Th>
      <Table.Td>{dateTime(update.at)}</Table.Td>
      <Table.Td>{size(update.payload_bytes)}</Table.Td>
      <Table.Td>{number(update.samples, 0)}</Table.Td>
      <Table.Td>{figures.join(', ') || '–'}</Table.Td>
      <Table.Td className="mono">{update.payload}</Table.Td>
      <Table.Td>
        {update.counted == null ? t('f.open') : t(update.counted ? 'f.yes' : 'f.no')}
      </Table.Td>
      <Table.Td>{update.entry}</Table.Td>
    </Table.Tr>
  );
}
