// One's passkeys: each logs in and opens the records without the password.
import { Button, Card, Group, Stack, Text, TextInput, Title } from '@mantine/core';
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query';
import { type FormEvent, useState } from 'react';
import { useTranslation } from 'react-i18next';
import type { Schema } from '../../api/client';
import { dateTime } from '../../lib/format';
import { where } from '../../session/passkey';
import { usePerson } from '../../session/use';
import { Answer, Failure, Faults } from '../../ui/page';

const NAME_LIMIT = 64;

export function Passkeys() {
  const { t } = useTranslation();
  const person = usePerson();
  const place = where();
  const listed = useQuery({ queryKey: ['passkeys'], queryFn: () => person.passkeys() });
  return (
    <Card withBorder maw={640}>
      <Title order={2} size="h4" mb="sm">
        {t('passkey.title')}
      </Title>
      <Stack>
        <Text size="sm">{t('passkey.why')}</Text>
        <Answer query={listed}>
          {(items) =>
            items.length === 0 ? (
              <Text>{t('passkey.none')}</Text>
            ) : (
              <ul className="plain">
                {items.map((item) => (
                  <One key={item.credential} item={item} />
                ))}
              </ul>
            )
          }
        </Answer>
        {place.at === 'here' ? <Add /> : <Elsewhere />}
      </Stack>
    </Card>
  );
}

function One({ item }: { item: Schema['Passkey'] }) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const removing = useMutation({
    mutationFn: () => person.removePasskey(item.credential),
    onSuccess: () => queries.invalidateQueries({ queryKey: ['passkeys'] }),
  });
  const { name } = item;
  return (
    <li>
      <Group justify="space-between" gap="xs" py={4}>
        <div className="wrap">
          <Text fw={600} className="wrap">
            {name}
          </Text>
          <Text size="sm">
            {t('passkey.added', { at: dateTime(item.created) })}{' '}
            {item.used === undefined || item.used === null
              ? t('passkey.unused')
              : t('passkey.used', { at: dateTime(item.used) })}
          </Text>
          {!item.opens_keyring && <Text size="sm">{t('problem.passkey-no-door')}</Text>}
        </div>
        <Button
          variant="default"
          loading={removing.isPending}
          aria-label={t('passkey.removeOf', { name })}
          onClick={() => removing.mutate()}
        >
          {t('remove')}
        </Button>
      </Group>
      {removing.error && <Failure error={removing.error} />}
    </li>
  );
}

function Add() {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const [name, setName] = useState('');
  const [fault, setFault] = useState('');
  const adding = useMutation({
    mutationFn: () => person.addPasskey(name.trim()),
    onSuccess: () => setName(''),
    onSettled: () => queries.invalidateQueries({ queryKey: ['passkeys'] }),
  });
  const submit = (event: FormEvent) => {
    event.preventDefault();
    setFault(name.trim() ? '' : t('passkey.needName'));
    if (name.trim()) adding.mutate();
  };
  return (
    <form noValidate onSubmit={submit}>
      <Stack>
        <Faults faults={fault ? [{ id: 'passkey-name', text: fault }] : []} />
        {adding.error && <Failure error={adding.error} />}
        <TextInput
          id="passkey-name"
          label={t('passkey.name')}
          description={t('passkey.nameWhy')}
          autoComplete="off"
          maxLength={NAME_LIMIT / 2}
          value={name}
          error={fault}
          onChange={(event) => setName(event.currentTarget.value)}
        />
        <Button type="submit" variant="default" loading={adding.isPending}>
          {t('passkey.add')}
        </Button>
        <Text role="status">{adding.isSuccess ? t('passkey.done') : ''}</Text>
      </Stack>
    </form>
  );
}

/** Where passkeys can be used, when it is not here. */
export function Elsewhere() {
  const { t } = useTranslation();
  const place = where();
  if (place.at === 'here') return null;
  if (place.at === 'nowhere') return <Text size="sm">{t('passkey.nowhere')}</Text>;
  return (
    <Text size="sm">
      {t('passkey.byName')} <a href={place.href}>{t('passkey.open')}</a>
    </Text>
  );
}
