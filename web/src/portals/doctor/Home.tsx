// The doctor's start: standing while it waits, then the patients who shared something.
import { Badge, Card, Group, Stack, Switch, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Standing } from '../../features/account/Standing';
import { useMe } from '../../features/account/useMe';
import { useNames } from '../../features/care/names';
import { useConsultations } from '../../features/care/queries';
import { date, dateTime } from '../../lib/format';
import { Answer, Empty, Page } from '../../ui/page';

export function Home() {
  const { t } = useTranslation();
  const me = useMe();
  return (
    <Page title={t('nav.shared')}>
      <Answer query={me}>
        {(body) => (body.standing.status === 'authorised' ? <Shared /> : <Standing me={body} />)}
      </Answer>
    </Page>
  );
}

function Shared() {
  const { t } = useTranslation();
  const consultations = useConsultations();
  const name = useNames();
  const [all, setAll] = useState(false);
  return (
    <Answer query={consultations}>
      {(list) => {
        const open = list.filter((one) => !one.answer && one.until > Date.now());
        const shown = all ? list : open;
        return (
          <Stack>
            <Group justify="space-between">
              <Text role="status">{t('shared.open', { count: open.length })}</Text>
              <Switch
                label={t('shared.all')}
                checked={all}
                onChange={(event) => setAll(event.currentTarget.checked)}
              />
            </Group>
            {shown.length === 0 && <Empty>{t('shared.none')}</Empty>}
            {shown.map((one) => (
              <Card
                withBorder
                key={one.consultation}
                component={Link}
                to={`/doctor/consultations/${one.consultation}`}
                className="card-link"
              >
                <Group justify="space-between" align="flex-start">
                  <Title order={2} size="h4" className="wrap">
                    {t('person.alias', { number: one.alias.slice(0, 8).toUpperCase() })}
                  </Title>
                  <Badge variant="outline" color="gray" className={one.answer ? 'good' : 'warn'}>
                    {t(
                      one.answer
                        ? 'answers.answered'
                        : one.until > Date.now()
                          ? 'shared.waiting'
                          : 'shared.over',
                    )}
                  </Badge>
                </Group>
                <Text>
                  {t('shared.what', { count: one.records.length, name: name(one.custodian) })}
                </Text>
                <Text c="dimmed">
                  {t('answers.asked', { at: dateTime(one.opened) })} ·{' '}
                  {t('until', { at: date(one.until) })}
                </Text>
              </Card>
            ))}
          </Stack>
        );
      }}
    </Answer>
  );
}
