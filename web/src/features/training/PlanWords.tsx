// A plan in plain words: what for, who, how long, what leaves a hospital and what stays.
import { Button, Stack, Text } from '@mantine/core';
import { type ReactNode, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { number, size } from '../../lib/format';
import { useNames } from '../care/names';
import type { Plan } from './plan';
import { roughly } from './series';

export function PlanWords({
  plan,
  coordinator,
  own = false,
}: {
  plan: Plan;
  coordinator: string;
  /** Whether it is read at one of its hospitals. */
  own?: boolean;
}) {
  const { t } = useTranslation();
  const who = useNames();
  const [exact, setExact] = useState(false);
  const least = Math.max(0, ...plan.metrics.map(({ minimumImages }) => minimumImages));
  const step = Math.max(0, ...plan.metrics.map((metric) => metric.step));
  const { count, unit } = roughly(plan.roundMs);
  const units = { seconds: 's', minutes: 'min', hours: 'h' };
  const figures = plan.metrics.map(({ name }) => (name === 'auc' ? 'AUC' : name));
  const known: Record<string, string> = {
    loss: t('f.figure.loss'),
    accuracy: t('f.figure.accuracy'),
  };
  return (
    <Stack gap="sm">
      <Line word={t('f.plan.purpose')}>{plan.purpose}</Line>
      <Line word={t(own ? 'f.plan.leaves' : 'f.plan.leavesEach')}>
        {t('f.plan.leaves.text', {
          values: number(plan.values, 0),
          size: size(plan.updateBytes),
          figures: figures.map((name) => known[name] ?? name).join(', '),
          step: number(step, 6),
          least,
        })}
      </Line>
      <Line word={t(own ? 'f.plan.stays' : 'f.plan.staysEach')}>{t('f.plan.stays.text')}</Line>
      <Line word={t('f.plan.who')}>{coordinator}</Line>
      <Line word={t('f.plan.with')}>
        {plan.roster
          .map(({ site, samples }) => t('f.plan.with.site', { name: who(site), count: samples }))
          .join('; ')}
      </Line>
      <Line word={t('f.plan.learns')}>
        {t('f.plan.learns.text', { classes: plan.classes.join(', '), size: plan.sizePx })}{' '}
        {t('f.plan.network')}: {t(`f.network.${plan.architecture}`)}.
      </Line>
      <Line word={t('f.plan.course')}>
        {t('f.plan.course.text', {
          rounds: plan.rounds,
          epochs: plan.epochs,
          time: `${count} ${units[unit]}`,
          quorum: plan.quorum,
          sites: plan.roster.length,
        })}
      </Line>
      <Line word={t('f.plan.strategy')}>{t(`f.strategy.${plan.strategy}`)}</Line>
      <div>
        <Button variant="default" aria-expanded={exact} onClick={() => setExact(!exact)}>
          {t('f.plan.exact')}
        </Button>
        {exact && (
          <Text size="sm" mt="xs">
            {t('f.plan.digest')} <span className="mono">{plan.digest}</span>
          </Text>
        )}
      </div>
    </Stack>
  );
}

function Line({ word, children }: { word: string; children: ReactNode }) {
  return (
    <div className="wrap">
      <Text size="sm" c="dimmed">
        {word}
      </Text>
      <Text>{children}</Text>
    </div>
  );
}
