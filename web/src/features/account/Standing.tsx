// Whether a profile may act yet, in words.
import { Alert, Text } from '@mantine/core';
import { IconCheck, IconClock, IconX } from '@tabler/icons-react';
import { useTranslation } from 'react-i18next';
import type { Schema } from '../../api/client';
import { dateTime } from '../../lib/format';

export function Standing({ me }: { me: Schema['Me'] }) {
  const { t } = useTranslation();
  const { standing } = me;
  const icons = { pending: IconClock, authorised: IconCheck, refused: IconX, revoked: IconX };
  const Icon = icons[standing.status];
  return (
    <Alert
      variant="outline"
      role="status"
      maw={640}
      color={
        standing.status === 'authorised'
          ? 'salus'
          : standing.status === 'pending'
            ? 'yellow'
            : 'red'
      }
      icon={<Icon aria-hidden />}
      title={t(`standing.${standing.status}`)}
    >
      <Text>{t(`standing.${standing.status}.text`)}</Text>
      {'reason' in standing && (
        <Text>{t('reason', { reason: t(`reason.${standing.reason}`) })}</Text>
      )}
      {'at' in standing && <Text c="dimmed">{dateTime(standing.at)}</Text>}
    </Alert>
  );
}
