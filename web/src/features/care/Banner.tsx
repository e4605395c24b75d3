// Whose records these are, always in sight: the protection against the wrong patient.
import { Group, Paper, Text } from '@mantine/core';
import { IconUser } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import { age, date } from '../../lib/format';
import type { About } from '../record/fhir';

export function Banner({ about, number }: { about: About; number: string }) {
  const { t } = useTranslation();
  const years = age(about.birthDate);
  const facts = [
    about.birthDate && `${t('person.born')} ${date(about.birthDate)}`,
    years !== undefined && t('person.age', { years }),
    about.gender,
    t('person.alias', { number: number.slice(0, 8).toUpperCase() }),
  ];
  return (
    <Paper withBorder p="sm" className="banner" role="region" aria-label={t('person.patient')}>
      <Group gap="sm" wrap="nowrap">
        <IconUser aria-hidden style={{ flexShrink: 0 }} />
        <div className="wrap">
          <Text fw={700} lineClamp={2}>
            {about.name ?? t('person.unknown')}
          </Text>
          <Text size="sm">{facts.filter(Boolean).join(' · ')}</Text>
        </div>
      </Group>
    </Paper>
  );
}
