// Taking in many: which program does it, how, and why this page does not.
import { Button, Card, Group, List, Stack, Text, Title } from '@mantine/core';
import { Link } from '@tanstack/react-router';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Key } from '../../lib/i18n';
import { Page } from '../../ui/page';

const COMMANDS: [text: Key, command: string][] = [
  ['h.many.how1', 'salus intake --config node.toml /path/to/folder'],
  ['h.many.how2', 'salus intake --config node.toml --patient P-17 /path/to/files'],
];

export function Many() {
  const { t } = useTranslation();
  return (
    <Page title={t('nav.h.many')}>
      <Text maw={720}>{t('h.many.text')}</Text>
      <Card withBorder maw={820}>
        <Title order={2} size="h4" mb="sm">
          {t('h.many.how')}
        </Title>
        <Stack gap="md">
          {COMMANDS.map(([text, command]) => (
            <Command key={command} text={t(text)} command={command} />
          ))}
        </Stack>
      </Card>
      <Card withBorder maw={820}>
        <Title order={2} size="h4" mb="sm">
          {t('h.many.why')}
        </Title>
        <List spacing="xs">
          <List.Item>{t('h.many.why1')}</List.Item>
          <List.Item>{t('h.many.why2')}</List.Item>
          <List.Item>{t('h.many.why3')}</List.Item>
        </List>
      </Card>
      <Text>{t('h.many.one')}</Text>
      <Group>
        <Button component={Link} to="/hospital/intake" variant="default">
          {t('nav.h.intake')}
        </Button>
      </Group>
    </Page>
  );
}

function Command({ text, command }: { text: string; command: string }) {
  const { t } = useTranslation();
  const [copied, setCopied] = useState(false);
  return (
    <div>
      <Text>{text}</Text>
      <Group gap="sm" align="center">
        <Text className="mono" style={{ flex: '1 1 16rem' }}>
          {command}
        </Text>
        <Button
          size="compact-sm"
          variant="default"
          aria-label={`${t('h.many.copy')}: ${command}`}
          onClick={() => void navigator.clipboard.writeText(command).then(() => setCopied(true))}
        >
          {t(copied ? 'h.many.copied' : 'h.many.copy')}
        </Button>
      </Group>
    </div>
  );
}
