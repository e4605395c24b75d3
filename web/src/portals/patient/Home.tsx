// The patient's start: standing, what waits, and the ways on.
import { Card, SimpleGrid, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { Standing } from '../../features/account/Standing';
import { useMe } from '../../features/account/useMe';
import {
  ownGrant,
  useAccesses,
  useConsultations,
  useOwnAliases,
} from '../../features/care/queries';
import type { Key } from '../../lib/i18n';
import { Answer, Page } from '../../ui/page';

export function Home() {
  const { t } = useTranslation();
  const me = useMe();
  return (
    <Answer query={me}>
      {(body) => (
        <Page title={t('home.hello', { name: body.profile?.name ?? '' })}>
          {body.standing.status === 'authorised' ? <Overview /> : <Standing me={body} />}
        </Page>
      )}
    </Answer>
  );
}

function Overview() {
  const { t } = useTranslation();
  const aliases = useOwnAliases();
  const accesses = useAccesses();
  const consultations = useConsultations();
  const granted = (aliases.data ?? []).filter(({ alias }) => ownGrant(accesses.data ?? [], alias));
  const answered = (consultations.data ?? []).filter((c) => c.answer);
  const record =
    aliases.data?.length === 0
      ? t('home.notLinked')
      : granted.length > 0
        ? t('home.open', { names: granted.map((g) => g.custodian_name).join(', ') })
        : t('home.askFirst');
  const cards: { to: string; title: Key; text: string }[] = [
    {
      to: granted.length > 0 ? '/patient/record' : '/patient/access',
      title: 'nav.record',
      text: record,
    },
    { to: '/patient/ask', title: 'nav.ask', text: t('home.ask') },
    {
      to: '/patient/consultations',
      title: 'nav.answers',
      text: t('home.answers', { count: answered.length }),
    },
    { to: '/patient/readers', title: 'nav.readers', text: t('home.readers') },
  ];
  return (
    <SimpleGrid cols={{ base: 1, sm: 2 }}>
      {cards.map(({ to, title, text }) => (
        <Card withBorder key={title} component={Link} to={to} className="card-link">
          <Title order={2} size="h4">
            {t(title)}
          </Title>
          <Text c="dimmed">{text}</Text>
        </Card>
      ))}
    </SimpleGrid>
  );
}
