// Starting a job: a form with sensible values, a look at what it says, then the proposal.
import {
  Accordion,
  Button,
  Checkbox,
  Group,
  NativeSelect,
  NumberInput,
  SimpleGrid,
  Stack,
  Switch,
  Text,
  Textarea,
  Title,
} from '@mantine/core';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useNavigate } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { ok } from '../../api/client';
import { useNames } from '../../features/care/names';
import { ARCHITECTURES, STRATEGIES } from '../../features/training/plan';
import { type DataSet, useDataSets } from '../../features/training/queries';
import {
  type Draft,
  faultsOf,
  firstChoice,
  fits,
  NUMBERS,
  quorumOf,
  request,
} from '../../features/training/wish';
import { usePerson } from '../../session/use';
import { Answer, Empty, Failure, Faults, Page, Waiting } from '../../ui/page';

export function TrainingNew() {
  const { t } = useTranslation();
  const sets = useDataSets();
  return (
    <Page title={t('f.c.start')}>
      <Answer query={sets}>
        {(list) => (list.length === 0 ? <Empty>{t('f.c.noSets')}</Empty> : <Form sets={list} />)}
      </Answer>
    </Page>
  );
}

function Form({ sets }: { sets: DataSet[] }) {
  const { t } = useTranslation();
  const [draft, setDraft] = useState<Draft>(() => firstChoice(sets));
  const [checking, setChecking] = useState(false);
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const change = (part: Partial<Draft>): void => setDraft((old) => ({ ...old, ...part }));
  const check = (): void => {
    const found = faultsOf(draft).map((id) => ({
      id: `job-${id}`,
      text:
        id === 'purpose' || id === 'sets'
          ? t(`f.c.fault.${id}`)
          : t('f.c.fault.numbers', { name: t(`f.c.${id}`) }),
    }));
    setFaults(found);
    setChecking(found.length === 0);
  };
  if (checking) return <Check draft={draft} sets={sets} back={() => setChecking(false)} />;
  const faultOf = (id: string) => faults.find((fault) => fault.id === `job-${id}`)?.text;
  return (
    <Stack maw={720}>
      <Faults faults={faults} />
      <Textarea
        id="job-purpose"
        label={t('f.c.purpose')}
        description={t('f.c.purposeWhy')}
        value={draft.purpose}
        maxLength={500}
        autosize
        minRows={2}
        error={faultOf('purpose')}
        onChange={(event) => change({ purpose: event.currentTarget.value })}
      />
      <Sets sets={sets} draft={draft} change={change} fault={faultOf('sets')} />
      <NativeSelect
        label={t('f.plan.network')}
        value={draft.network}
        data={ARCHITECTURES.map((value) => ({ value, label: t(`f.network.${value}`) }))}
        onChange={(event) => change({ network: event.currentTarget.value as Draft['network'] })}
      />
      <NativeSelect
        label={t('f.plan.strategy')}
        value={draft.strategy}
        data={STRATEGIES.map((value) => ({ value, label: t(`f.strategy.${value}`) }))}
        onChange={(event) => change({ strategy: event.currentTarget.value as Draft['strategy'] })}
      />
      <SimpleGrid cols={{ base: 1, sm: 2 }}>
        {(['rounds', 'epochs', 'quorum', 'minutes'] as const).map((name) => (
          <Count key={name} name={name} draft={draft} change={change} fault={faultOf(name)} />
        ))}
      </SimpleGrid>
      <Accordion variant="separated" order={2}>
        <Accordion.Item value="more">
          <Accordion.Control>{t('f.c.more')}</Accordion.Control>
          <Accordion.Panel>
            <Stack>
              <SimpleGrid cols={{ base: 1, sm: 2 }}>
                {(['batch', 'rate', 'seed'] as const).map((name) => (
                  <Count
                    key={name}
                    name={name}
                    draft={draft}
                    change={change}
                    fault={faultOf(name)}
                  />
                ))}
              </SimpleGrid>
              <Switch
                label={t('f.c.weights')}
                checked={draft.weights}
                onChange={(event) => change({ weights: event.currentTarget.checked })}
              />
              <Switch
                label={t('f.c.flip')}
                checked={draft.flip}
                onChange={(event) => change({ flip: event.currentTarget.checked })}
              />
            </Stack>
          </Accordion.Panel>
        </Accordion.Item>
      </Accordion>
      <div>
        <Button onClick={check}>{t('f.c.check')}</Button>
      </div>
    </Stack>
  );
}

function Count({
  name,
  draft,
  change,
  fault,
}: {
  name: keyof typeof NUMBERS;
  draft: Draft;
  change: (part: Partial<Draft>) => void;
  fault?: string;
}) {
  const { t } = useTranslation();
  const { least, most, whole } = NUMBERS[name];
  return (
    <NumberInput
      id={`job-${name}`}
      label={t(`f.c.${name}`)}
      min={least}
      max={most}
      allowDecimal={!whole}
      hideControls
      value={draft[name]}
      error={fault}
      onChange={(value) => change({ [name]: value })}
    />
  );
}

function Sets({
  sets,
  draft,
  change,
  fault,
}: {
  sets: DataSet[];
  draft: Draft;
  change: (part: Partial<Draft>) => void;
  fault?: string;
}) {
  const { t } = useTranslation();
  const who = useNames();
  const chosen = sets.filter(({ data_set }) => draft.sets.includes(data_set));
  return (
    <Checkbox.Group
      id="job-sets"
      tabIndex={-1}
      label={t('f.c.sets')}
      description={t('f.c.oneSet')}
      value={draft.sets}
      error={fault}
      onChange={(next) => change({ sets: next, quorum: quorumOf(next.length) })}
    >
      <Stack gap="xs" mt="xs">
        {[...sets].reverse().map((set) => (
          <Checkbox
            key={set.data_set}
            value={set.data_set}
            disabled={!fits(set, chosen)}
            label={t('f.c.set', {
              name: who(set.owner),
              count: set.training_images.reduce((sum, n) => sum + n, 0),
              classes: set.classes.join(', '),
              size: set.size_px,
            })}
          />
        ))}
      </Stack>
    </Checkbox.Group>
  );
}

function Check({ draft, sets, back }: { draft: Draft; sets: DataSet[]; back: () => void }) {
  const { t } = useTranslation();
  const who = useNames();
  const person = usePerson();
  const queries = useQueryClient();
  const go = useNavigate();
  const propose = useMutation({
    mutationFn: () => ok(person.home.api.POST('/api/v1/jobs', { body: request(draft) })),
    onSuccess: async ({ job }) => {
      await queries.invalidateQueries({ queryKey: ['jobs'] });
      void go({ to: `/cloud/training/${job}` as never });
    },
  });
  const chosen = sets.filter(({ data_set }) => draft.sets.includes(data_set));
  const lines: [string, string][] = [
    [t('f.c.purpose'), draft.purpose],
    [t('f.c.sets'), chosen.map(({ owner }) => who(owner)).join(', ')],
    [t('f.plan.network'), t(`f.network.${draft.network}`)],
    [t('f.plan.strategy'), t(`f.strategy.${draft.strategy}`)],
    [t('f.c.rounds'), String(draft.rounds)],
    [t('f.c.epochs'), String(draft.epochs)],
    [t('f.c.quorum'), `${draft.quorum} / ${chosen.length}`],
    [t('f.c.minutes'), String(draft.minutes)],
  ];
  return (
    <Stack maw={720}>
      <Title order={2} size="h4">
        {t('f.c.check.title')}
      </Title>
      <Text>{t('f.c.check.text')}</Text>
      {lines.map(([word, text]) => (
        <div key={word} className="wrap">
          <Text size="sm" c="dimmed">
            {word}
          </Text>
          <Text>{text}</Text>
        </div>
      ))}
      {propose.error && <Failure error={propose.error} />}
      {propose.isPending ? (
        <Waiting text={t('f.c.working')} />
      ) : (
        <Group>
          <Button onClick={() => propose.mutate()}>
            {t('f.c.propose', { count: chosen.length })}
          </Button>
          <Button variant="default" onClick={back}>
            {t('f.c.change')}
          </Button>
        </Group>
      )}
    </Stack>
  );
}
