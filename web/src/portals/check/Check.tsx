// A pharmacy checks a printed prescription, without an account.
import {
  Alert,
  Button,
  Card,
  FileButton,
  Group,
  List,
  Stack,
  Text,
  Textarea,
  Title,
} from '@mantine/core';
import { IconAlertTriangle, IconCircleCheck } from '@tabler/icons-react';
import { useMutation, useQuery } from '@tanstack/react-query';
import { type FormEvent, useEffect, useRef, useState } from 'react';
import { useTranslation } from 'react-i18next';
import { node } from '../../api/client';
import {
  checkCode,
  type Genuine,
  genesisOf,
  type Verdict,
} from '../../features/prescription/check';
import { itemOf, resourceOf } from '../../features/record/fhir';
import { hex } from '../../lib/bytes';
import { dateTime } from '../../lib/format';
import { Failure, Faults, Page } from '../../ui/page';
import { codeIn } from './picture';

/** The code of the address, which then forgets it: histories and bookmarks shall not keep it. */
function takeFragment(): string {
  const code = location.hash.slice(1);
  if (code) history.replaceState(history.state, '', location.pathname);
  return code;
}

export function Check() {
  const { t } = useTranslation();
  const [code, setCode] = useState('');
  const [faults, setFaults] = useState<{ id: string; text: string }[]>([]);
  const checking = useMutation({ mutationFn: checkCode });
  const { mutate, reset } = checking;
  useEffect(() => {
    const take = (): void => {
      const found = takeFragment();
      if (found) mutate(found);
    };
    take();
    addEventListener('hashchange', take);
    return () => removeEventListener('hashchange', take);
  }, [mutate]);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const found = code.trim() ? [] : [{ id: 'code', text: t('check.needCode') }];
    setFaults(found);
    if (found.length === 0) mutate(code);
  };
  const picture = async (file: File | null): Promise<void> => {
    if (!file) return;
    const found = await codeIn(file);
    setFaults(found ? [] : [{ id: 'code', text: t('check.noCode') }]);
    if (found) mutate(found);
  };
  if (checking.data)
    return (
      <Page title={t('check.title')}>
        <Told
          verdict={checking.data}
          again={() => {
            setCode('');
            reset();
          }}
        />
      </Page>
    );
  return (
    <Page title={t('check.title')}>
      <Text maw={720}>{t('check.text')}</Text>
      <Card withBorder maw={720}>
        <form noValidate onSubmit={submit}>
          <Stack>
            <Faults faults={faults} />
            {checking.error && <Failure error={checking.error} />}
            <Textarea
              id="code"
              label={t('check.code')}
              description={t('check.codeWhy')}
              autosize
              minRows={3}
              maxRows={8}
              autoComplete="off"
              spellCheck={false}
              value={code}
              error={faults[0]?.text}
              onChange={(event) => setCode(event.currentTarget.value)}
            />
            <Group>
              <Button type="submit" loading={checking.isPending}>
                {t('check.go')}
              </Button>
              <FileButton
                accept="image/png,image/jpeg,image/webp"
                inputProps={{ 'aria-label': t('check.picture') }}
                onChange={(file) => void picture(file)}
              >
                {(props) => (
                  <Button {...props} variant="default">
                    {t('check.choose')}
                  </Button>
                )}
              </FileButton>
            </Group>
            <Text size="sm" aria-live="polite">
              {checking.isPending ? t('check.working') : ''}
            </Text>
          </Stack>
        </form>
      </Card>
    </Page>
  );
}

function Told({ verdict, again }: { verdict: Verdict; again: () => void }) {
  const { t } = useTranslation();
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => box.current?.focus(), []);
  const { kind } = verdict;
  const good = kind === 'good';
  return (
    <Stack>
      <Alert
        ref={box}
        tabIndex={-1}
        maw={720}
        variant="outline"
        color={good ? 'green' : 'red'}
        role="alert"
        icon={good ? <IconCircleCheck aria-hidden /> : <IconAlertTriangle aria-hidden />}
        title={t(`check.${kind}`)}
      >
        <Text className="wrap">
          {t(`check.${kind}Why`, { why: kind === 'false' ? verdict.why : '' })}
        </Text>
      </Alert>
      {'opened' in verdict && <Contents genuine={verdict} former={kind === 'since'} />}
      <Group>
        <Button variant="default" onClick={again}>
          {t('check.another')}
        </Button>
      </Group>
    </Stack>
  );
}

const shown = (value: unknown): string => (typeof value === 'string' ? value : '');

function Contents({ genuine, former }: { genuine: Genuine; former: boolean }) {
  const { t } = useTranslation();
  const { opened, recorded, entry, members, quorum, asOf } = genuine;
  const item = itemOf(opened);
  const resource = resourceOf(opened);
  const number = opened.signer.slice(0, 6).toUpperCase();
  const facts: [word: string, text: string][] = [
    [t('person.patient'), shown(resource.subject?.display)],
    [
      t('check.by'),
      [shown(resource.requester?.display), t('check.number', { number })]
        .filter(Boolean)
        .join(', '),
    ],
    [t('check.at'), dateTime(recorded)],
    ...item.facts
      .filter(([fact]) => fact !== 'by')
      .map(([fact, text]): [string, string] => [t(`fact.${fact}`), text]),
  ];
  const at = dateTime(asOf);
  return (
    <Card withBorder maw={720}>
      <Stack gap="sm">
        <Title order={2} size="h3" className="wrap">
          {item.title}
        </Title>
        {facts
          .filter(([, text]) => text)
          .map(([word, text]) => (
            <div key={word} className="wrap">
              <Text size="sm" c="dimmed">
                {word}
              </Text>
              <Text>{text}</Text>
            </div>
          ))}
        <Title order={3} size="h5">
          {t('check.checked')}
        </Title>
        <List spacing={4}>
          <List.Item>{t('check.step.signed')}</List.Item>
          <List.Item>{t('check.step.recorded', { entry, quorum, members })}</List.Item>
          <List.Item>{t(former ? 'check.step.former' : 'check.step.doctor', { at })}</List.Item>
          <List.Item>{t('check.step.kept')}</List.Item>
        </List>
        <Title order={3} size="h5">
          {t('check.not')}
        </Title>
        <List spacing={4}>
          <List.Item>{t('check.not.used')}</List.Item>
          <List.Item>{t('check.not.person')}</List.Item>
          <List.Item>
            {t('check.not.page')} <Fingerprint />
          </List.Item>
        </List>
      </Stack>
    </Card>
  );
}

function Fingerprint() {
  const genesis = useQuery({
    queryKey: ['genesis'],
    queryFn: () => genesisOf(node(location.origin)),
  });
  if (!genesis.data) return null;
  return (
    <Text span className="mono">
      {hex(genesis.data)
        .slice(0, 32)
        .replace(/(.{4})(?=.)/g, '$1 ')}
    </Text>
  );
}
