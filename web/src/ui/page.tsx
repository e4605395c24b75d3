// What every page has: a heading that takes the focus, and its states: waiting, empty, refused, failed.
import { Alert, Button, Group, Loader, Modal, Stack, Text, Title } from '@mantine/core';
import { IconAlertTriangle, IconInfoCircle } from '@tabler/icons-react';
import type { UseQueryResult } from '@tanstack/react-query';
import { type ReactNode, useEffect, useRef } from 'react';
import { useTranslation } from 'react-i18next';
import { Problem, Unreachable } from '../api/client';
import { CryptoError } from '../crypto/error';
import { type Key, words } from '../lib/words';

export function Page({
  title,
  children,
  aside,
}: {
  title: string;
  children: ReactNode;
  aside?: ReactNode;
}) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    document.title = `${title} – Salus`;
  }, [title]);
  useEffect(() => {
    heading.current?.focus({ preventScroll: true });
  }, []);
  return (
    <Stack gap="lg" maw={1080}>
      <Group justify="space-between" align="flex-start" gap="sm">
        <Title
          order={1}
          size="h2"
          ref={heading}
          tabIndex={-1}
          className="wrap"
          style={{ outline: 'none' }}
        >
          {title}
        </Title>
        {aside}
      </Group>
      {children}
    </Stack>
  );
}

/** The words for something that went wrong: by the node's stable code, never a bare number. */
export function useFailureText(): (error: unknown) => { title: string; text: string } {
  const { t } = useTranslation();
  return (error) => {
    const known = error instanceof Problem || error instanceof Unreachable;
    // A mistake of ours is told to whoever looks for it; it holds no content of records.
    if (!known && !(error instanceof CryptoError)) console.error(error);
    const code =
      error instanceof Problem
        ? error.code
        : error instanceof Unreachable
          ? 'unreachable'
          : error instanceof CryptoError
            ? error.fault
            : 'unexpected';
    const key = `problem.${code}`;
    const text = key in words ? t(key as Key) : t('problem.other');
    if (error instanceof Problem && error.silent.length > 0) {
      const names = error.silent.map((member) => member.name).join(', ');
      return { title: t('problem.title'), text: `${text} ${t('problem.silent', { names })}` };
    }
    const detail = error instanceof Problem && !(key in words) ? told(error) : '';
    return { title: t('problem.title'), text: text + detail };
  };
}

/** What the node itself says of something that no text of ours covers. */
const told = ({ code, detail, fields }: Problem): string => {
  const why = [detail, ...fields.map((field) => field.detail)].filter(Boolean).join('; ');
  return why ? ` (${code}: ${why})` : ` (${code})`;
};

export function Failure({ error, retry }: { error: unknown; retry?: () => void }) {
  const { t } = useTranslation();
  const { title, text } = useFailureText()(error);
  return (
    <Alert
      color="red"
      variant="outline"
      role="alert"
      title={title}
      icon={<IconAlertTriangle aria-hidden />}
    >
      <Text className="wrap">{text}</Text>
      {retry && (
        <Button mt="sm" variant="default" onClick={retry}>
          {t('again')}
        </Button>
      )}
    </Alert>
  );
}

export function Waiting({ text }: { text?: string }) {
  const { t } = useTranslation();
  return (
    <Group role="status" gap="sm" py="md">
      <Loader size="sm" aria-hidden />
      <Text>{text ?? t('loading')}</Text>
    </Group>
  );
}

export function Empty({ children }: { children: ReactNode }) {
  return (
    <Group gap="sm" py="md" wrap="nowrap" align="flex-start">
      <IconInfoCircle aria-hidden style={{ flexShrink: 0 }} />
      <div>{children}</div>
    </Group>
  );
}

/** A query's answer, or the state in which it is. */
export function Answer<T>({
  query,
  children,
  waiting,
}: {
  query: UseQueryResult<T>;
  children: (data: T) => ReactNode;
  waiting?: string;
}) {
  if (query.data !== undefined) return <>{children(query.data)}</>;
  if (query.error) return <Failure error={query.error} retry={() => void query.refetch()} />;
  return <Waiting text={waiting} />;
}

/** Faults of a form: focused, each leading to its field (the same words stand there). */
export function Faults({ faults }: { faults: { id: string; text: string }[] }) {
  const { t } = useTranslation();
  const box = useRef<HTMLDivElement>(null);
  const words = faults.map((fault) => fault.text).join();
  useEffect(() => {
    if (words) box.current?.focus();
  }, [words]);
  if (faults.length === 0) return null;
  return (
    <Alert
      ref={box}
      tabIndex={-1}
      color="red"
      variant="outline"
      role="alert"
      title={t('form.problem')}
    >
      <ul className="plain">
        {faults.map(({ id, text }) => (
          <li key={id}>
            <a
              href={`#${id}`}
              onClick={(event) => {
                event.preventDefault();
                document.getElementById(id)?.focus();
              }}
            >
              {text}
            </a>
          </li>
        ))}
      </ul>
    </Alert>
  );
}

export function Dialog({
  title,
  opened,
  onClose,
  children,
}: {
  title: string;
  opened: boolean;
  onClose: () => void;
  children: ReactNode;
}) {
  const { t } = useTranslation();
  return (
    <Modal.Root opened={opened} onClose={onClose} size="lg" centered>
      <Modal.Overlay />
      <Modal.Content>
        {/* A dialog's header is no banner of the page. */}
        <Modal.Header role="presentation">
          <Modal.Title fw={700} lh="sm" className="wrap">
            {title}
          </Modal.Title>
          <Modal.CloseButton aria-label={t('close')} />
        </Modal.Header>
        <Modal.Body>{children}</Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}

/** What may be wider than a phone, to be scrolled by keys too. */
export function Scroll({ label, children }: { label: string; children: ReactNode }) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: a region that scrolls must take the focus
    <section className="scroll" aria-label={label} tabIndex={0}>
      {children}
    </section>
  );
}
