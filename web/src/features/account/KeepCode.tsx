// A recovery code that is shown once: printed or written down, then typed back to go on.
import { Alert, Button, Group, Stack, Text, TextInput } from '@mantine/core';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { Failure, Faults } from '../../ui/page';

const plain = (text: string) => text.toUpperCase().replace(/[^0-9A-Z]/g, '');

export function KeepCode({
  code,
  error,
  pending,
  kept,
}: {
  code: string;
  error?: unknown;
  pending: boolean;
  kept: () => void;
}) {
  const { t } = useTranslation();
  const [typed, setTyped] = useState('');
  const [fault, setFault] = useState('');
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const right = plain(typed).slice(-4) === plain(code).slice(-4);
    setFault(right ? '' : t('register.codeWrong'));
    if (right) kept();
  };
  return (
    <form noValidate onSubmit={submit}>
      <Stack>
        <Faults faults={fault ? [{ id: 'typed', text: fault }] : []} />
        {Boolean(error) && <Failure error={error} />}
        <Alert variant="outline" title={t('register.codeTitle')}>
          <Text>{t('register.codeWhy')}</Text>
        </Alert>
        <Text className="code" data-testid="recovery-code">
          {code}
        </Text>
        <Group className="no-print">
          <Button variant="default" onClick={() => print()}>
            {t('print')}
          </Button>
        </Group>
        <TextInput
          id="typed"
          className="no-print"
          label={t('register.codeType')}
          autoComplete="off"
          required
          value={typed}
          error={fault}
          onChange={(event) => setTyped(event.currentTarget.value)}
        />
        <Button type="submit" className="no-print" loading={pending}>
          {t('register.codeKept')}
        </Button>
      </Stack>
    </form>
  );
}
