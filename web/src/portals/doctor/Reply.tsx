// The answer: words and a basket of medicines, warnings beside them, a page to check, one signature.
import {
  Alert,
  Button,
  Card,
  Checkbox,
  Group,
  List,
  NativeSelect,
  SimpleGrid,
  Stack,
  Text,
  Textarea,
  TextInput,
  Title,
} from '@mantine/core';
import { IconAlertTriangle } from '@tabler/icons-react';
import { useMutation, useQueryClient } from '@tanstack/react-query';
import { useMemo, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { useMe } from '../../features/account/useMe';
import { answer, type Medicine, medicationRequest } from '../../features/care/care';
import type { Consultation } from '../../features/care/queries';
import { type Warning, warningsOf } from '../../features/care/warnings';
import type { About, Item } from '../../features/record/fhir';
import { usePerson } from '../../session/use';
import { Failure, Faults } from '../../ui/page';

const SYSTEMS = {
  RxNorm: 'http://www.nlm.nih.gov/research/umls/rxnorm',
  ATC: 'http://www.whocc.no/atc',
  PZN: 'http://fhir.de/CodeSystem/ifa/pzn',
} as const;

const BLANK: Medicine = {
  name: '',
  code: '',
  system: SYSTEMS.RxNorm,
  dose: '',
  frequency: '',
  duration: '',
};

export function Reply({
  one,
  api,
  about,
  items,
  cancel,
}: {
  one: Consultation;
  api: string;
  about: About;
  items: Item[];
  cancel: () => void;
}) {
  const { t } = useTranslation();
  const person = usePerson();
  const queries = useQueryClient();
  const me = useMe();
  const [text, setText] = useState('');
  const [basket, setBasket] = useState<Medicine[]>([]);
  const [draft, setDraft] = useState<Medicine>(BLANK);
  const [checking, setChecking] = useState(false);
  const [seen, setSeen] = useState(false);
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const warnings = useMemo(() => warningsOf(basket, items), [basket, items]);
  const patient = about.name ?? t('person.unknown');

  const sending = useMutation({
    mutationFn: async () => {
      const now = Date.now();
      const doctor = { reference: person.principal, display: me.data?.profile?.name ?? '' };
      const subject = { reference: one.alias, display: about.name ?? '' };
      const prescriptions = basket.map((medicine) =>
        medicationRequest(medicine, subject, doctor, now),
      );
      return answer(person, await person.at(api), one, text.trim(), prescriptions);
    },
    onSettled: () => queries.invalidateQueries({ queryKey: ['consultations'] }),
  });
  const add = (): void => {
    const found = [];
    if (!draft.name.trim()) found.push({ id: 'medicine', text: t('reply.needName') });
    if (!draft.dose.trim()) found.push({ id: 'dose', text: t('reply.needDose') });
    if (!draft.frequency.trim()) found.push({ id: 'frequency', text: t('reply.needFrequency') });
    setFaults(found);
    if (found.length > 0) return;
    setBasket([...basket, draft]);
    setDraft(BLANK);
    document.getElementById('medicine')?.focus();
  };
  const check = (): void => {
    const found = text.trim() ? [] : [{ id: 'answer', text: t('reply.needText') }];
    if (draft.name.trim()) found.push({ id: 'medicine', text: t('reply.notAdded') });
    setFaults(found);
    setSeen(false);
    if (found.length === 0) setChecking(true);
  };
  const fault = (id: string) => faults.find((f) => f.id === id)?.text;
  const field = (key: Exclude<keyof Medicine, 'system'>, id: string, required = false) => (
    <TextInput
      id={id}
      label={t(`reply.${key}`)}
      required={required}
      maxLength={200}
      value={draft[key]}
      error={fault(id)}
      onChange={(event) => setDraft({ ...draft, [key]: event.currentTarget.value })}
    />
  );

  if (checking)
    return (
      <Card withBorder>
        <Stack gap="sm">
          <Title order={2} size="h4">
            {t('reply.check', { name: patient })}
          </Title>
          <Text className="wrap" style={{ whiteSpace: 'pre-wrap' }}>
            {text}
          </Text>
          <Basket basket={basket} />
          <Warnings warnings={warnings} />
          {warnings.length > 0 && (
            <Checkbox
              label={t('reply.seen')}
              checked={seen}
              onChange={(event) => setSeen(event.currentTarget.checked)}
            />
          )}
          {sending.error && <Failure error={sending.error} />}
          <Group>
            <Button variant="default" onClick={() => setChecking(false)}>
              {t('back')}
            </Button>
            <Button
              className="long"
              loading={sending.isPending}
              disabled={warnings.length > 0 && !seen}
              onClick={() => sending.mutate()}
            >
              {t(basket.length > 0 ? 'reply.prescribe' : 'reply.send', { name: patient })}
            </Button>
          </Group>
        </Stack>
      </Card>
    );
  return (
    <Card withBorder>
      <Stack>
        <Title order={2} size="h4">
          {t('reply.title', { name: patient })}
        </Title>
        <Faults faults={faults} />
        <Textarea
          id="answer"
          label={t('answers.answer')}
          autosize
          minRows={4}
          maxLength={20_000}
          required
          value={text}
          error={fault('answer')}
          onChange={(event) => setText(event.currentTarget.value)}
        />
        <Title order={3} size="h5">
          {t('reply.medicines')}
        </Title>
        <Basket basket={basket} remove={(at) => setBasket(basket.filter((_, i) => i !== at))} />
        <Warnings warnings={warnings} />
        <SimpleGrid cols={{ base: 1, sm: 2 }}>
          {field('name', 'medicine', true)}
          <Group grow align="flex-end" wrap="nowrap">
            {field('code', 'code')}
            <NativeSelect
              label={t('reply.system')}
              value={draft.system}
              data={Object.entries(SYSTEMS).map(([label, value]) => ({ value, label }))}
              onChange={(event) => setDraft({ ...draft, system: event.currentTarget.value })}
            />
          </Group>
          {field('dose', 'dose', true)}
          {field('frequency', 'frequency', true)}
          {field('duration', 'duration')}
        </SimpleGrid>
        <Group>
          <Button variant="default" onClick={add}>
            {t('reply.add')}
          </Button>
        </Group>
        <Group>
          <Button variant="default" onClick={cancel}>
            {t('cancel')}
          </Button>
          <Button onClick={check}>{t('reply.toCheck')}</Button>
        </Group>
      </Stack>
    </Card>
  );
}

function Basket({ basket, remove }: { basket: Medicine[]; remove?: (at: number) => void }) {
  const { t } = useTranslation();
  if (basket.length === 0) return <Text c="dimmed">{t('reply.none')}</Text>;
  return (
    <List>
      {basket.map((medicine, at) => (
        <List.Item key={at} className="wrap">
          <Text span fw={600}>
            {medicine.name}
          </Text>{' '}
          {[medicine.code, medicine.dose, medicine.frequency, medicine.duration]
            .filter(Boolean)
            .join(', ')}{' '}
          {remove && (
            <Button
              size="compact-sm"
              variant="default"
              onClick={() => remove(at)}
              aria-label={t('reply.remove', { name: medicine.name })}
            >
              {t('remove')}
            </Button>
          )}
        </List.Item>
      ))}
    </List>
  );
}

function Warnings({ warnings }: { warnings: Warning[] }) {
  const { t } = useTranslation();
  if (warnings.length === 0) return null;
  return (
    <Alert
      color="red"
      variant="outline"
      role="alert"
      icon={<IconAlertTriangle aria-hidden />}
      title={t('warning.title')}
    >
      {warnings.map((warning) => (
        <Text key={warning.kind + warning.medicine + warning.found} className="wrap">
          {t(`warning.${warning.kind}`, { medicine: warning.medicine, found: warning.found })}
        </Text>
      ))}
      <Text size="sm">{t('warning.note')}</Text>
    </Alert>
  );
}
