// The start: what this is, and the two ways on.
import { Button, Card, Group, List, Text } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useTranslation } from 'react-i18next';
import { useSession } from '../../session/use';
import { homeOf, Redirect } from '../../shell';
import { Empty, Page } from '../../ui/page';

export function Start() {
  const { t } = useTranslation();
  const { person } = useSession();
  if (person) return <Redirect to={homeOf(person.role)} />;
  return (
    <Page title={t('start.title')}>
      <Text maw={640}>{t('start.text')}</Text>
      <Group>
        <Button component={Link} to="/login">
          {t('login.title')}
        </Button>
        <Button component={Link} to="/register" variant="default">
          {t('register.title')}
        </Button>
      </Group>
      <Card withBorder maw={640}>
        <List spacing="xs">
          <List.Item>{t('start.sealed')}</List.Item>
          <List.Item>{t('start.readers')}</List.Item>
          <List.Item>{t('start.proof')}</List.Item>
        </List>
      </Card>
      <Text>
        {t('start.pharmacy')} <Link to="/check">{t('start.check')}</Link>
      </Text>
    </Page>
  );
}

export function Lost() {
  const { t } = useTranslation();
  return (
    <Page title={t('lost.title')}>
      <Empty>
        <Text>{t('lost.text')}</Text>
        <Button component={Link} to="/" variant="default" mt="sm">
          {t('lost.back')}
        </Button>
      </Empty>
    </Page>
  );
}

/** For roles whose pages are not in this app. */
export function Elsewhere() {
  const { t } = useTranslation();
  return (
    <Page title={t('elsewhere.title')}>
      <Empty>
        <Text>{t('elsewhere.text')}</Text>
      </Empty>
    </Page>
  );
}
