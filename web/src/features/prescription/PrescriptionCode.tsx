// The printed code of one prescription, with what a pharmacy does with it.
import { Alert, Button, Group, Stack, Text, Title } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import encodeQR from 'qr';
import { useState } from 'react';
import { useTranslation } from 'react-i18next';
import { node } from '../../api/client';
import { learn } from '../../lib/i18n';
import { check } from '../../lib/words.check';
import type { Opened } from '../../records/open';
import { Answer } from '../../ui/page';
import { genesisOf } from './check';
import { CONSORTIUM_BYTES, encodeCode } from './code';

learn(check);

/** White modules around a code, as ISO/IEC 18004 asks for. */
const QUIET = 4;

/** An outline of a code's black modules, row by row. */
export function outline(rows: boolean[][]): string {
  let path = '';
  rows.forEach((row, y) => {
    for (let x = 0; x < row.length; x++) {
      if (!row[x]) continue;
      const from = x;
      while (row[x + 1]) x += 1;
      path += `M${from} ${y}h${x - from + 1}v1H${from}z`;
    }
  });
  return path;
}

export function PrescriptionCode({ opened, custodian }: { opened: Opened; custodian: string }) {
  const { t } = useTranslation();
  const { record } = opened.anchor;
  const code = useQuery({
    queryKey: ['prescription-code', record],
    enabled: Boolean(opened.statement),
    queryFn: async () => {
      const genesis = await genesisOf(node(location.origin));
      const { salt, body } = opened.content;
      const consortium = genesis.slice(0, CONSORTIUM_BYTES);
      return (await encodeCode({ consortium, custodian, record, salt, body })) ?? null;
    },
  });
  if (!opened.statement) return <Text>{t('rx.code.none')}</Text>;
  return (
    <Answer query={code}>
      {(text) =>
        text === null ? (
          <Alert color="yellow" variant="outline">
            {t('rx.code.long')}
          </Alert>
        ) : (
          <Printed text={text} />
        )
      }
    </Answer>
  );
}

function Printed({ text }: { text: string }) {
  const { t } = useTranslation();
  const [copied, setCopied] = useState(false);
  const address = `${location.origin}/check`;
  const rows = encodeQR(`${address}#${text}`, 'raw', { ecc: 'medium', border: QUIET });
  const size = rows.length;
  return (
    <Stack gap="xs">
      <Title order={3} size="h5">
        {t('rx.code.title')}
      </Title>
      <Group align="flex-start" gap="lg">
        <svg
          viewBox={`0 0 ${size} ${size}`}
          role="img"
          aria-label={t('rx.code.image')}
          className="qr"
          shapeRendering="crispEdges"
        >
          <rect width={size} height={size} fill="#fff" />
          <path d={outline(rows)} fill="#000" />
        </svg>
        <Stack gap="xs" style={{ flex: '1 1 14rem' }} className="wrap">
          <Text>{t('rx.code.text', { address })}</Text>
          <Text size="sm" c="dimmed">
            {t('rx.code.private')}
          </Text>
          <Group className="no-print">
            <Button
              variant="default"
              onClick={() =>
                void navigator.clipboard.writeText(text).then(
                  () => setCopied(true),
                  () => setCopied(false),
                )
              }
            >
              {t(copied ? 'rx.code.copied' : 'rx.code.copy')}
            </Button>
          </Group>
        </Stack>
      </Group>
    </Stack>
  );
}
